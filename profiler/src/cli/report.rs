//! `profile report`: the same report again.

use super::{ReportArgs, print, read_capture, render, report_of, status};

pub(super) fn run(arguments: &ReportArgs) -> anyhow::Result<u8> {
    let capture = read_capture(&arguments.capture)?;
    let report = report_of(&capture);
    print(&render(&report, arguments.format)?)?;
    Ok(status(&report))
}
