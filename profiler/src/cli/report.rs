//! `profile report`: the same report again.

use super::{DetailArg, ReportArgs, print, read_capture, report_of, status};
use crate::render::detail::{self, Detail};

pub(super) fn run(arguments: &ReportArgs) -> anyhow::Result<u8> {
    let capture = read_capture(&arguments.capture)?;
    let report = report_of(&capture);
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
