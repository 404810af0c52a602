//! `profile report`: the same report again.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::Context as _;

use super::{DetailArg, ReportArgs, print, report_of, status};
use crate::capture::file;
use crate::model::Capture;
use crate::render::detail::{self, Detail};

pub(super) fn run(arguments: &ReportArgs) -> anyhow::Result<u8> {
    let report = report_of(&read(&arguments.capture)?);
    let detail = arguments.detail.map(|detail| match detail {
        DetailArg::Events => Detail::Events,
        DetailArg::Ames => Detail::Ames,
        DetailArg::Files => Detail::Files,
        DetailArg::Fixes => Detail::Fixes,
    });
    match detail {
        Some(detail) => print(&detail::render(&report, detail))?,
        None => print(&super::render(&report, arguments.format)?)?,
    }
    Ok(status(&report))
}

/// Reads a capture.
pub(super) fn read(path: &Path) -> anyhow::Result<Capture> {
    let shown = path.display();
    let opened = File::open(path).with_context(|| format!("cannot open the capture {shown}"))?;
    file::read(&mut BufReader::new(opened))
        .with_context(|| format!("cannot read the capture {shown}"))
}
