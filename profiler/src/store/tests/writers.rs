//! Writers that meet, are killed, or run out of room.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use super::{Scratch, all};
use crate::model::{Window, example};
use crate::store::{Store, StoreError};

const STORE: &str = "PROFILE_TEST_STORE";

/// Run by other tests in a process of its own: writes minute after minute, until it is ended.
#[test]
#[ignore = "runs until it is ended"]
fn victim() {
    let path = std::env::var_os(STORE).expect("the path of the store");
    let mut store = Store::create_or_open(path.as_ref()).expect("it opens");
    for minute in 0..100_000 {
        match store.append(&example::window(minute)) {
            Ok(()) => println!("\nwrote {minute}"),
            Err(error) => {
                println!("\nerror {error}");
                return;
            }
        }
    }
}

fn start_victim(scratch: &Scratch, shell: &str) -> Child {
    let test = std::env::current_exe().expect("this test's path");
    Command::new("sh")
        .args(["-c", &format!("{shell} exec \"$0\" \"$@\"")])
        .arg(test)
        .args([
            "--exact",
            "store::tests::writers::victim",
            "--ignored",
            "--nocapture",
        ])
        .env(STORE, scratch.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a process")
}

/// The words after `wrote` or `error`, line by line.
fn said(child: &mut Child, word: &str) -> impl Iterator<Item = String> {
    let word = format!("{word} ");
    let stdout = child.stdout.take().expect("a pipe");
    BufReader::new(stdout)
        .lines()
        .map_while(Result::ok)
        .filter_map(move |line| line.strip_prefix(&word).map(str::to_owned))
}

#[test]
fn there_is_one_writer_and_readers_do_not_mind() {
    let scratch = Scratch::new();
    let mut store = scratch.store();
    store.append(&example::window(0)).expect("there is room");
    let error = Store::create_or_open(&scratch.path())
        .map(drop)
        .expect_err("it is held");
    let words = format!("(process {})", std::process::id());
    assert!(matches!(error, StoreError::Held { .. }), "{error}");
    assert!(error.to_string().contains(&words), "{error}");

    let reader = scratch.reader();
    assert_eq!(all(&reader).len(), 1);
    store
        .append(&example::window(1))
        .expect("a reader holds nobody up");
    assert_eq!(all(&reader).len(), 2);
    store.close().expect("it closes");
    let mut store = scratch.store();
    store.append(&example::window(2)).expect("there is room");
    assert_eq!(all(&reader).len(), 3);
}

#[test]
fn a_killed_writer_loses_at_most_the_window_in_hand() {
    let scratch = Scratch::new();
    let mut written = 0;
    for after in [1, 7, 30] {
        let mut child = start_victim(&scratch, "");
        let mut last = 0;
        for minute in said(&mut child, "wrote").take(after) {
            last = minute.parse::<usize>().expect("a number") + 1;
        }
        // Somewhere inside of what comes next.
        std::thread::sleep(std::time::Duration::from_micros(900 * after as u64));
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        let before = written;
        written = all(&scratch.reader()).len();
        assert!(written >= before + last, "{written} of {before} + {last}");
    }
    // The lock went with the process, and the file is looked through.
    let mut store = scratch.store();
    store.append(&example::window(7)).expect("there is room");
    store.close().expect("it closes");
    assert_eq!(all(&scratch.reader()).len(), written + 1);
}

#[test]
fn a_full_store_refuses_a_window_and_keeps_the_others() {
    let scratch = Scratch::filled(0..20);
    let mut store = scratch.store();
    store
        .connection()
        .pragma_update(None, "max_page_count", 1)
        .expect("it is a limit");
    let mut stored = 20;
    let error = loop {
        match store.append(&example::window(stored)) {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    let expected: Vec<Window> = (0..stored).map(example::window).collect();
    assert!(all(&scratch.reader()) == expected);
    // There is room again.
    store
        .connection()
        .pragma_update(None, "max_page_count", 1 << 20)
        .expect("it is a limit");
    store
        .append(&example::window(stored))
        .expect("there is room");
    store.close().expect("it closes");
    assert_eq!(all(&scratch.reader()).len() as u64, stored + 1);
}

#[test]
fn a_limit_of_the_system_is_told_and_the_store_stays_readable() {
    let scratch = Scratch::new();
    // 2 MiB per file; writing beyond is an error instead of a signal.
    let mut child = start_victim(&scratch, "trap '' XFSZ; ulimit -f 4096;");
    let errors: Vec<String> = said(&mut child, "error").collect();
    child.wait().expect("it ends");
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].starts_with("no room to write to the store"),
        "{errors:?}"
    );
    assert!(!all(&scratch.reader()).is_empty());
    let mut store = scratch.store();
    store.append(&example::window(0)).expect("there is room");
}
