//! The undo journal: on disk before the first change, replayed by whoever comes next.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use super::*;

/// A fake host, and a directory for the journal.
fn new() -> (FakeHost, tempfile::TempDir, UndoDirectory) {
    let fake = FakeHost::new();
    fake.put(SWAPPINESS, "60\n");
    fake.put(QUOTA, "20000 100000\n");
    let home = tempfile::tempdir().unwrap();
    let directory = UndoDirectory::new(home.path().join("undo"));
    (fake, home, directory)
}

fn journal(fake: &FakeHost) -> Journal {
    let changes = [
        file(SWAPPINESS, "60", "10"),
        file(QUOTA, "20000 100000", "max 100000"),
    ];
    Journal::new(&fake.host, "some-fix", "~zod", &changes).unwrap()
}

fn values(fake: &FakeHost) -> (String, String) {
    (fake.text(SWAPPINESS), fake.text(QUOTA))
}

fn before() -> (String, String) {
    ("60\n".to_owned(), "20000 100000\n".to_owned())
}

fn applied() -> (String, String) {
    ("10\n".to_owned(), "max 100000\n".to_owned())
}

#[test]
fn it_is_on_disk_before_the_first_change_and_goes_with_the_last_undo() {
    let (fake, _home, directory) = new();
    assert!(!directory.has_journal());
    let lock = directory.lock().unwrap();
    let mut trial = Applied::prepare(&fake.host, &lock, journal(&fake)).unwrap();
    assert!(directory.has_journal());
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(directory.journal_path()), 0o600);
    assert_eq!(lock.read().unwrap(), Some(journal(&fake)));
    assert_eq!(values(&fake), before());
    assert!(trial.switch(true).unwrap());
    assert!(!trial.switch(true).unwrap());
    assert_eq!(values(&fake), applied());
    assert!(trial.switch(false).unwrap());
    assert_eq!(values(&fake), before());
    assert!(directory.has_journal());
    trial.switch(true).unwrap();
    assert_eq!(trial.undo().unwrap(), []);
    assert_eq!(values(&fake), before());
    assert!(!directory.has_journal());
}

#[test]
fn what_is_kept_stays_and_needs_no_journal() {
    let (fake, _home, directory) = new();
    let lock = directory.lock().unwrap();
    let mut trial = Applied::prepare(&fake.host, &lock, journal(&fake)).unwrap();
    trial.switch(true).unwrap();
    trial.keep().unwrap();
    assert_eq!(values(&fake), applied());
    assert!(!directory.has_journal());
}

#[test]
fn a_panic_takes_everything_back() {
    let (fake, _home, directory) = new();
    let lock = directory.lock().unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut trial = Applied::prepare(&fake.host, &lock, journal(&fake)).unwrap();
        trial.switch(true).unwrap();
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    assert_eq!(values(&fake), before());
    assert!(!directory.has_journal());
}

#[test]
fn a_step_that_fails_takes_the_ones_before_it_back() {
    let (fake, _home, directory) = new();
    fake.put(QUOTA, "50000 100000\n");
    let lock = directory.lock().unwrap();
    let mut trial = Applied::prepare(&fake.host, &lock, journal(&fake)).unwrap();
    assert!(trial.switch(true).is_err());
    let left = trial.undo().unwrap();
    assert_eq!(fake.text(SWAPPINESS), "60\n");
    assert_eq!(fake.text(QUOTA), "50000 100000\n");
    assert_eq!(left.len(), 1);
    assert!(left[0].sentence.contains("somebody else"), "{left:?}");
}

/// Leaves a journal as a trial does that is killed between apply and verdict.
fn killed(fake: &FakeHost, directory: &UndoDirectory) {
    let lock = directory.lock().unwrap();
    let mut trial = Applied::prepare(&fake.host, &lock, journal(fake)).unwrap();
    trial.switch(true).unwrap();
    // Its destructor does not run.
    std::mem::forget(trial);
}

#[test]
fn what_a_killed_trial_left_is_replayed() {
    let (fake, _home, directory) = new();
    killed(&fake, &directory);
    assert_eq!(values(&fake), applied());
    let lock = directory.lock().unwrap();
    let left = lock.read().unwrap().unwrap();
    assert_eq!(replay(&fake.host, &lock, &left).unwrap(), []);
    assert_eq!(values(&fake), before());
    assert!(!directory.has_journal());
}

#[test]
fn a_value_that_somebody_changed_since_is_left_and_told() {
    let (fake, _home, directory) = new();
    killed(&fake, &directory);
    fake.put(SWAPPINESS, "1\n");
    let lock = directory.lock().unwrap();
    let journal = lock.read().unwrap().unwrap();
    let left = replay(&fake.host, &lock, &journal).unwrap();
    assert_eq!(left.len(), 1);
    assert!(
        left[0].sentence.contains("vm.swappiness is 1 by now"),
        "{left:?}"
    );
    assert!(!left[0].may_be_tried_again);
    assert_eq!(
        values(&fake),
        ("1\n".to_owned(), "20000 100000\n".to_owned())
    );
    assert!(!directory.has_journal());
}

#[test]
fn what_cannot_be_written_stays_in_the_journal() {
    let (fake, _home, directory) = new();
    killed(&fake, &directory);
    // A directory in its place cannot be read as a value.
    std::fs::remove_file(fake.path(SWAPPINESS)).unwrap();
    std::fs::create_dir(fake.path(SWAPPINESS)).unwrap();
    let lock = directory.lock().unwrap();
    let journal = lock.read().unwrap().unwrap();
    let left = replay(&fake.host, &lock, &journal).unwrap();
    assert!(left.len() == 1 && left[0].may_be_tried_again, "{left:?}");
    assert_eq!(fake.text(QUOTA), "20000 100000\n");
    assert!(directory.has_journal());
}

#[test]
fn after_another_boot_nothing_is_written() {
    let (fake, _home, directory) = new();
    killed(&fake, &directory);
    fake.put("/proc/sys/kernel/random/boot_id", "boot-2\n");
    let lock = directory.lock().unwrap();
    let journal = lock.read().unwrap().unwrap();
    assert_eq!(replay(&fake.host, &lock, &journal).unwrap(), []);
    assert_eq!(values(&fake), applied());
    assert!(!directory.has_journal());
}

#[test]
fn two_trials_never_run_at_once() {
    let (_fake, _home, directory) = new();
    let lock = directory.lock().unwrap();
    assert!(matches!(directory.lock(), Err(TrialError::Busy)));
    drop(lock);
    directory.lock().unwrap();
}

#[test]
fn a_journal_knows_whether_its_trial_runs() {
    let (fake, _home, _directory) = new();
    let journal = journal(&fake);
    assert!(journal.is_owned(&fake.host));
    fake.restart(std::process::id());
    assert!(!journal.is_owned(&fake.host));
}

#[test]
fn a_damaged_journal_is_told_and_kept() {
    let (fake, _home, directory) = new();
    killed(&fake, &directory);
    let lock = directory.lock().unwrap();
    let path = directory.journal_path();
    let whole = std::fs::read(&path).unwrap();
    let future = String::from_utf8(whole.clone()).unwrap();
    let future = future.replacen("\"version\":1", "\"version\":9", 1);
    for bytes in [&whole[..whole.len() / 2], b"", b"{}", future.as_bytes()] {
        std::fs::write(&path, bytes).unwrap();
        let error = lock.read().unwrap_err();
        assert!(matches!(error, TrialError::Damaged { .. }), "{error}");
        assert!(path.exists());
    }
    std::fs::write(&path, &whole).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert!(matches!(lock.read(), Err(TrialError::Damaged { .. })));
    assert_eq!(values(&fake), applied());
}

#[test]
fn no_link_is_followed_and_no_directory_of_others_is_used() {
    let (fake, home, directory) = new();
    let lock = directory.lock().unwrap();
    let secret = home.path().join("secret");
    std::fs::write(&secret, serde_json::to_string(&journal(&fake)).unwrap()).unwrap();
    symlink(&secret, directory.journal_path()).unwrap();
    assert!(matches!(lock.read(), Err(TrialError::Damaged { .. })));
    // Writing replaces the link.
    lock.write(&journal(&fake)).unwrap();
    lock.remove().unwrap();
    assert!(secret.exists());
    drop(lock);
    let linked = home.path().join("linked");
    symlink(home.path().join("undo"), &linked).unwrap();
    let open = home.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    for path in [linked, open, secret] {
        let locked = UndoDirectory::new(path).lock();
        assert!(
            matches!(locked, Err(TrialError::Directory { .. })),
            "{locked:?}"
        );
    }
}
