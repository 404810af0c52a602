//! `profile report`: the same report again.

use std::fs::File;
use std::io::BufReader;

use anyhow::Context as _;

use super::{ReportArgs, print, render, report_of, status};
use crate::capture::file;

pub(super) fn run(arguments: &ReportArgs) -> anyhow::Result<u8> {
    let path = arguments.capture.display();
    let opened = File::open(&arguments.capture)
        .with_context(|| format!("cannot open the capture {path}"))?;
    let capture = file::read(&mut BufReader::new(opened))
        .with_context(|| format!("cannot read the capture {path}"))?;
    let report = report_of(&capture);
    print(&match arguments.fixes {
        true => crate::render::fixes::all(&report),
        false => render(&report, arguments.format)?,
    })?;
    Ok(status(&report))
}
