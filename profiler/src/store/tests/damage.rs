//! Whatever happens to the bytes of a store: what is read is right, or there is an error.

use std::fs;

use super::Scratch;
use crate::model::example::{self, Dice};
use crate::model::{Window, WindowSum};
use crate::store::{Range, Store, StoreError};

fn read(scratch: &Scratch) -> Result<(Vec<Window>, WindowSum), StoreError> {
    let reader = Store::read_only(&scratch.path())?;
    reader.ships()?;
    let mut sum = WindowSum::default();
    let stacks = reader.for_each(Range::ALL, None, |window| sum.add_window(&window))?;
    sum.stacks = stacks;
    Ok((reader.windows(Range::ALL, None)?, sum))
}

#[test]
fn flipped_bytes_give_an_error_or_right_data() {
    let scratch = Scratch::new();
    let mut store = scratch.store();
    for minute in 0..3 {
        let mut window = example::window(minute);
        for stacks in window.stacks.values_mut() {
            stacks.top.truncate(8);
        }
        store.append(&window).expect("there is room");
    }
    store.close().expect("it closes");
    let whole = fs::read(scratch.path()).expect("it reads");
    let expected = read(&scratch).expect("it is whole");
    let mut dice = Dice::new(1);
    let (mut wrong, mut fine) = (0, 0);
    // All of the header, and some of everything else.
    let anywhere: Vec<usize> = (0..300)
        .map(|_| dice.below(whole.len() as u64) as usize)
        .collect();
    for offset in (0..100).chain(anywhere) {
        let mut flipped = whole.clone();
        flipped[offset] ^= 1 << dice.below(8);
        fs::write(scratch.path(), &flipped).expect("it writes");
        match read(&scratch) {
            Ok(found) => {
                assert!(found == expected, "byte {offset} gave other values");
                fine += 1;
            }
            Err(_) => wrong += 1,
        }
        // What it changes does not matter, only that it ends well.
        if offset % 3 == 0
            && let Ok(mut store) = Store::create_or_open(&scratch.path())
        {
            let _ = store.append(&example::window(3));
        }
        for suffix in ["-wal", "-shm", "-journal"] {
            let _ = fs::remove_file(super::super::place::beside(&scratch.path(), suffix));
        }
    }
    println!("{wrong} flips were found, {fine} did not matter");
    assert!(wrong > 100 && fine > 0);
}

#[test]
fn a_store_that_was_cut_off_is_damaged() {
    let scratch = Scratch::filled(0..10);
    let whole = fs::read(scratch.path()).expect("it reads");
    for length in [100, 4_096, whole.len() / 2, whole.len() - 4_096] {
        fs::write(scratch.path(), &whole[..length]).expect("it writes");
        let error = read(&scratch).map(drop).expect_err("it is cut off");
        assert!(
            matches!(error, StoreError::Damaged { .. } | StoreError::NotAStore(_)),
            "{length}: {error}"
        );
    }
}

#[test]
fn a_page_that_went_bad_is_found_before_writing_after_a_crash() {
    let scratch = Scratch::filled(0..30);
    let mut bytes = fs::read(scratch.path()).expect("it reads");
    let page = bytes.len() / 2 / 4_096 * 4_096;
    bytes[page..page + 64].fill(0xff);
    fs::write(scratch.path(), &bytes).expect("it writes");
    // A log that nobody moved is the mark of a crash.
    fs::write(super::super::place::beside(&scratch.path(), "-wal"), "x").expect("it writes");
    let error = Store::create_or_open(&scratch.path())
        .map(drop)
        .expect_err("it is damaged");
    assert!(error.to_string().contains("is damaged ("), "{error}");
}
