//! `profile report`: the same report again.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::Context as _;

use super::{ReportArgs, print, render, report_of, status};
use crate::capture::file;
use crate::model::Capture;

pub(super) fn run(arguments: &ReportArgs) -> anyhow::Result<u8> {
    let report = report_of(&read(&arguments.capture)?);
    print(&render(&report, arguments.format)?)?;
    Ok(status(&report))
}

/// Reads a capture.
pub(super) fn read(path: &Path) -> anyhow::Result<Capture> {
    let shown = path.display();
    let opened = File::open(path).with_context(|| format!("cannot open the capture {shown}"))?;
    file::read(&mut BufReader::new(opened))
        .with_context(|| format!("cannot read the capture {shown}"))
}
