//! The files of baselines and journal, on a real file system.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

fn new() -> (tempfile::TempDir, Baselines) {
    let home = tempfile::tempdir().unwrap();
    let baselines = Baselines::new(home.path().join("state/baselines"));
    (home, baselines)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn where_they_are_depends_on_who_asks() {
    let of = |is_root: bool, xdg: Option<&str>, home: Option<&str>| {
        let found = default_directory(is_root, |name| {
            let value = if name == "HOME" { home } else { xdg };
            value.map(OsString::from)
        });
        found.map(|path| path.display().to_string())
    };
    for (is_root, xdg, home, expected) in [
        (true, Some("/x"), Some("/h"), Some(DIRECTORY_OF_ROOT)),
        (false, Some("/x"), Some("/h"), Some("/x/profile/baselines")),
        (
            false,
            Some("x"),
            Some("/h"),
            Some("/h/.local/state/profile/baselines"),
        ),
        (
            false,
            None,
            Some("/h"),
            Some("/h/.local/state/profile/baselines"),
        ),
        (false, None, None, None),
    ] {
        assert_eq!(of(is_root, xdg, home).as_deref(), expected);
    }
}

#[test]
fn what_is_saved_is_listed_read_and_removed() {
    let (_home, baselines) = new();
    assert_eq!(baselines.names().unwrap(), [""; 0]);
    let path = baselines.save("quiet", b"one").unwrap();
    baselines.save("busy.2", b"two").unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(baselines.directory()), 0o700);
    assert_eq!(baselines.names().unwrap(), ["busy.2", "quiet"]);
    assert_eq!(baselines.read("quiet").unwrap(), b"one");
    let error = baselines.save("quiet", b"three").unwrap_err();
    assert!(error.to_string().contains("already"), "{error}");
    assert_eq!(baselines.read("quiet").unwrap(), b"one");
    baselines.remove("quiet").unwrap();
    assert!(matches!(
        baselines.read("quiet"),
        Err(BaselineError::Unknown { .. })
    ));
    assert!(matches!(
        baselines.remove("quiet"),
        Err(BaselineError::Unknown { .. })
    ));
}

#[test]
fn names_are_no_paths() {
    let (_home, baselines) = new();
    for name in [
        "",
        "../x",
        "a/b",
        ".hidden",
        "-o",
        "a\nb",
        "a b",
        &"x".repeat(101),
    ] {
        for found in [
            baselines.save(name, b"").map(drop),
            baselines.read(name).map(drop),
            baselines.remove(name),
        ] {
            assert!(matches!(found, Err(BaselineError::NoName(_))), "{name:?}");
        }
    }
}

#[test]
fn no_link_is_followed_and_what_a_killed_writer_left_is_no_hindrance() {
    let (home, baselines) = new();
    baselines.save("first", b"one").unwrap();
    let secret = home.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let link = |name: &str| symlink(&secret, baselines.directory().join(name)).unwrap();
    link("linked.capture");
    assert!(matches!(
        baselines.read("linked"),
        Err(BaselineError::NoFile(_))
    ));
    assert!(matches!(
        baselines.save("linked", b"x"),
        Err(BaselineError::Taken { .. })
    ));
    link(".second.capture.partial");
    baselines.save("second", b"two").unwrap();
    link("journal.jsonl");
    assert!(matches!(baselines.journal(), Err(BaselineError::NoFile(_))));
    assert!(baselines.append("{}").is_err());
    assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
}

#[test]
fn a_torn_line_of_the_journal_keeps_to_itself() {
    let (_home, baselines) = new();
    assert_eq!(baselines.journal().unwrap(), "");
    baselines.append("one").unwrap();
    assert_eq!(mode(&baselines.journal_path()), 0o600);
    let mut torn = fs::OpenOptions::new()
        .append(true)
        .open(baselines.journal_path())
        .unwrap();
    torn.write_all(b"tw").unwrap();
    baselines.append("three").unwrap();
    assert_eq!(baselines.journal().unwrap(), "one\ntw\nthree\n");
}

#[test]
fn two_writers_never_meet() {
    let (_home, baselines) = new();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let baselines = baselines.clone();
            scope.spawn(move || baselines.append(&writer.to_string().repeat(5000)).unwrap());
        }
    });
    let text = baselines.journal().unwrap();
    assert_eq!(text.lines().count(), 8);
    assert!(text.lines().all(|line| line.len() == 5000));
}
