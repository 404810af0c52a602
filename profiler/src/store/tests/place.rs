//! What may be at the store's path.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use rusqlite::Connection;
use rustix::fs::{CWD, FileType, Mode};

use super::{Scratch, all};
use crate::model::example;
use crate::store::{Store, StoreError};

/// Both ways of opening fail with an error that holds `words`.
fn refused(path: &Path, words: &str) {
    for error in [
        Store::create_or_open(path).map(drop).expect_err("writing"),
        Store::read_only(path).map(drop).expect_err("reading"),
    ] {
        let text = error.to_string();
        assert!(text.contains(words), "{text}");
        assert!(!text.contains('\n') && !text.ends_with('.'), "{text}");
    }
}

#[test]
fn only_its_owner_may_read_it_and_what_is_beside_it() {
    let scratch = Scratch::new();
    let mut store = scratch.store();
    store.append(&example::window(0)).expect("there is room");
    let mut files = 0;
    for entry in fs::read_dir(scratch.folder.path()).expect("it reads") {
        let metadata = entry.expect("it reads").metadata().expect("it reads");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        files += 1;
    }
    // The store, its log, the log's index, the lock.
    assert_eq!(files, 4);
}

#[test]
fn what_is_no_file_is_refused() {
    let scratch = Scratch::new();
    let path = scratch.path();
    let folder = scratch.folder.path();
    refused(folder, "is a directory");
    symlink(folder.join("elsewhere"), &path).expect("a link");
    refused(&path, "is a symbolic link");
    assert!(!folder.join("elsewhere").exists());
    fs::remove_file(&path).expect("it was there");
    rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).expect("a FIFO");
    refused(&path, "is a FIFO");
    fs::remove_file(&path).expect("it was there");
    assert!(!folder.join("store.db.lock").exists());

    symlink("elsewhere", folder.join("store.db-wal")).expect("a link");
    refused(&path, "store.db-wal is a symbolic link");
    fs::remove_file(folder.join("store.db-wal")).expect("it was there");
    symlink("elsewhere", folder.join("store.db.lock")).expect("a link");
    assert!(matches!(
        Store::create_or_open(&path),
        Err(StoreError::NotAFile { .. })
    ));
    assert!(!folder.join("elsewhere").exists());
    refused(&folder.join("missing/store.db"), "No such file");
    assert!(matches!(
        Store::read_only(&path),
        Err(StoreError::Missing(_))
    ));
}

#[test]
fn a_link_to_its_folder_is_followed() {
    let scratch = Scratch::filled(0..1);
    let link = scratch.folder.path().join("link");
    symlink(scratch.folder.path(), &link).expect("a link");
    let reader = Store::read_only(&link.join("store.db")).expect("it opens");
    assert_eq!(all(&reader).len(), 1);
    drop(Store::create_or_open(&link.join("store.db")).expect("it opens"));
}

#[test]
fn other_files_are_refused_and_left_as_they_are() {
    let scratch = Scratch::new();
    let path = scratch.path();
    for content in [&b"x"[..], &[b'x'; 9_000]] {
        fs::write(&path, content).expect("it writes");
        refused(&path, "is no store of profile");
        assert_eq!(fs::read(&path).expect("it reads"), content);
    }
    fs::remove_file(&path).expect("it was there");
    let foreign = Connection::open(&path).expect("it opens");
    foreign
        .execute_batch("CREATE TABLE window (id); PRAGMA user_version = 1")
        .expect("it writes");
    drop(foreign);
    let before = fs::read(&path).expect("it reads");
    refused(&path, "is no store of profile");
    assert_eq!(fs::read(&path).expect("it reads"), before);
}

#[test]
fn a_newer_schema_is_named_with_ours() {
    let scratch = Scratch::filled(0..1);
    let newer = Connection::open(scratch.path()).expect("it opens");
    newer
        .pragma_update(None, "user_version", 7)
        .expect("it writes");
    drop(newer);
    refused(
        &scratch.path(),
        "schema version 7, and this profile knows version 1",
    );
}

#[test]
fn foreign_tables_under_our_mark_are_refused() {
    let scratch = Scratch::filled(0..1);
    let changed = Connection::open(scratch.path()).expect("it opens");
    changed
        .execute_batch("CREATE VIEW mine AS SELECT * FROM window; CREATE INDEX i ON leaf (cause)")
        .expect("it writes");
    drop(changed);
    assert_eq!(all(&scratch.reader()).len(), 1);
    let changed = Connection::open(scratch.path()).expect("it opens");
    changed
        .execute_batch("ALTER TABLE window RENAME COLUMN cut_short TO cut")
        .expect("it writes");
    drop(changed);
    refused(&scratch.path(), "is damaged");
}

#[test]
fn an_empty_file_becomes_a_store() {
    let scratch = Scratch::new();
    fs::write(scratch.path(), "").expect("it writes");
    let error = Store::read_only(&scratch.path())
        .map(drop)
        .expect_err("empty");
    assert!(matches!(error, StoreError::NotAStore(_)), "{error}");
    scratch
        .store()
        .append(&example::window(0))
        .expect("there is room");
    assert_eq!(all(&scratch.reader()).len(), 1);
}
