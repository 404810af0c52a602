//! Every flamegraph in a browser: no script fails, search, zoom and reset do what they say, and names
//! that are code run nowhere.
//!
//! A script is put into the picture that uses it as a person does, and writes what it saw into the
//! document, which the browser prints at its end.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use profiler::model::Capture;
use profiler::render::flamegraph::{KINDS, Picture, render};

use crate::made::{AMES, GALL, add_hoon, capture, hostile};

/// As Debian calls it, and as others do.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// What the script must have seen.
const EXPECTED: &str = "errors: none; drawn: all; tooltip: a name; search: found, marked; reset: unmarked; \
    zoom: wider, others hidden; unzoom: as before";

/// Uses the picture. Begins before the picture's own script, so that it hears all errors.
const SCRIPT: &str = include_str!("use.js");

/// A browser; nothing, after having said why, if there is none.
fn browser() -> Option<&'static str> {
    let found = BROWSERS.into_iter().find(|name| {
        let mut command = Command::new(name);
        let version = command
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        version.status().is_ok_and(|status| status.success())
    });
    if found.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI is set, so every test has to run: there is no {}",
            BROWSERS[0]
        );
        eprintln!(
            "skipped: there is no {}; install the package chromium",
            BROWSERS[0]
        );
    }
    found
}

/// What the script saw in a picture.
fn seen(browser: &str, home: &Path, svg: &str) -> String {
    let (before, after) = svg.split_at(svg.find("<script").expect("a script"));
    let probe = format!("<script><![CDATA[{SCRIPT}]]></script>");
    let picture = home.join("picture.svg");
    fs::write(&picture, [before, &probe, after].concat()).expect("a picture");
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            // What the script waits for takes no real time.
            "--virtual-time-budget=5000",
            "--dump-dom",
        ])
        .arg(format!(
            "--user-data-dir={}",
            home.join("browser").display()
        ))
        .arg(format!("file://{}", picture.display()))
        .stdin(Stdio::null())
        .output()
        .expect("a browser that starts");
    let dom = String::from_utf8_lossy(&output.stdout);
    let seen = dom
        .split_once("data-seen=\"")
        .and_then(|(_, rest)| rest.split_once('"'));
    let Some((seen, _)) = seen else {
        let said = String::from_utf8_lossy(&output.stderr);
        panic!("the script wrote nothing; {}: {said}", output.status);
    };
    seen.to_owned()
}

#[test]
fn pictures_can_be_searched_and_zoomed_in_a_browser() {
    let Some(browser) = browser() else { return };
    let home = tempfile::tempdir().expect("a directory");
    let with_hoon = |name: &str| -> Capture {
        let mut capture = capture(name);
        add_hoon(&mut capture, &[GALL, AMES]);
        capture
    };
    let (disk, cold, healthy, hostile) = (
        with_hoon("disk"),
        with_hoon("cold"),
        with_hoon("healthy"),
        hostile(),
    );
    let mut opened = 0;
    for (kind, file) in KINDS {
        for (capture, baseline) in [
            (&disk, None),
            (&cold, None),
            (&hostile, None),
            (&hostile, Some(&healthy)),
        ] {
            let mut picture = Picture::of(capture, kind);
            picture.baseline = baseline;
            let Ok(svg) = render(&picture) else { continue };
            let svg = String::from_utf8(svg).expect("text");
            assert_eq!(seen(browser, home.path(), &svg), EXPECTED, "{file}");
            opened += 1;
        }
    }
    assert!(
        opened >= KINDS.len() * 2,
        "only {opened} pictures were opened"
    );
}
