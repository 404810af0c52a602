//! `profile completions` and `profile man`, both made from the definition of the command line.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Cli, DONE, print};

/// Everybody may read a manual.
const MODE: u32 = 0o644;

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Directory for a page for each command, such as /usr/local/share/man/man1. Left out: the
    /// main page goes to stdout.
    #[arg(short = 'o', long, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub(super) fn completions(arguments: &CompletionsArgs) -> anyhow::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "profile", &mut script);
    print(&String::from_utf8(script)?)?;
    Ok(DONE)
}

pub(super) fn man(arguments: &ManArgs) -> anyhow::Result<u8> {
    let mut command = Cli::command().disable_help_subcommand(true);
    // Gives each command its whole name, and those below it theirs.
    command.build();
    let Some(directory) = &arguments.output else {
        print(&page(command)?)?;
        return Ok(DONE);
    };
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make the directory {}", directory.display()))?;
    let below = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    for command in std::iter::once(&command).chain(below) {
        let name = Man::new(command.clone()).get_filename();
        let path = directory.join(name);
        write(&path, page(command.clone())?.as_bytes())
            .with_context(|| format!("cannot write the page {}", path.display()))?;
    }
    Ok(DONE)
}

fn page(command: Command) -> anyhow::Result<String> {
    let mut text = Vec::new();
    Man::new(command).render(&mut text)?;
    let text = String::from_utf8(text)?;
    // Examples are a table: its lines are neither joined nor stretched.
    Ok(text
        .replace(".SH EXTRA\n", ".SH EXAMPLES\n.nf\n")
        .replace(".SH VERSION\n", ".fi\n.SH VERSION\n"))
}

/// Writes a new file in the place of an old one, never through a link that somebody put there.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(MODE).open(path)?;
    // Whatever the umask.
    file.set_permissions(fs::Permissions::from_mode(MODE))?;
    file.write_all(text)
}
