//! Names for addresses, found by a process of its own that ends at once: symbol tables take more memory
//! than a process may that stays for months.
//!
//! The child is this very executable (`/proc/self/exe`). It is handed the opened code of the ship as
//! file descriptors, and its question and answer lie in two files in memory, so that neither waits for
//! the other. It gives up what it does not need of the privileges that are left (see
//! [`super::privileges`]).

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::privileges;
use super::symbols::{Executables, OpenCode, kernel_ranges};
use crate::model::{Addresses, NamedRanges};

/// The hidden command that answers.
pub const COMMAND: &str = "name-addresses";
/// How long the child may take.
const LIMIT: Duration = Duration::from_secs(20);
/// How often it is looked whether it has ended.
const POLL: Duration = Duration::from_millis(5);

/// Why nothing could be named.
#[derive(Debug, Error)]
pub enum NamingError {
    /// A file in memory, or the child, could not be made.
    #[error("cannot start a process that names addresses: {0}")]
    Start(#[from] std::io::Error),
    /// It did not answer.
    #[error("the process that names addresses {0}")]
    Child(String),
    /// What it wrote, or was asked, makes no sense.
    #[error("the process that names addresses was not understood: {0}")]
    Json(#[from] serde_json::Error),
}

/// What the child is asked.
#[derive(Debug, Serialize, Deserialize)]
struct Question {
    addresses: Addresses,
    code: Vec<Code>,
}

/// A mapping of code: its process, addresses, place in the file, and where the file and what was split off
/// it are open.
#[derive(Debug, Serialize, Deserialize)]
struct Code {
    tgid: u32,
    start: u64,
    end: u64,
    file_offset: u64,
    fd: i32,
    debug_fd: Option<i32>,
}

/// Names addresses in a child, and waits for it.
///
/// # Errors
/// If the child does not answer.
pub fn name(executables: &Executables, addresses: Addresses) -> Result<NamedRanges, NamingError> {
    let errno = |error: rustix::io::Errno| NamingError::Start(error.into());
    // Copies that stay open across `exec`; closed here as soon as the child has them.
    let mut handed_over = Vec::new();
    let mut code = Vec::new();
    for (tgid, of_process) in executables.code() {
        if !addresses.user.contains_key(&tgid) {
            continue;
        }
        let mut hand_over = |file: &File| {
            let file = rustix::io::dup(file).map_err(errno)?;
            let fd = file.as_raw_fd();
            handed_over.push(file);
            Ok::<i32, NamingError>(fd)
        };
        code.push(Code {
            tgid,
            start: of_process.addresses.start,
            end: of_process.addresses.end,
            file_offset: of_process.file_offset,
            fd: hand_over(&of_process.file)?,
            debug_fd: of_process.debug_file.as_ref().map(hand_over).transpose()?,
        });
    }
    let in_memory = |name| memfd_create(name, MemfdFlags::CLOEXEC).map(File::from);
    let mut question = in_memory("question").map_err(errno)?;
    let mut answer = in_memory("answer").map_err(errno)?;
    question.write_all(&serde_json::to_vec(&Question { addresses, code })?)?;
    question.rewind()?;
    let mut child = Command::new("/proc/self/exe")
        .arg0("profile")
        .arg(COMMAND)
        .stdin(question)
        .stdout(answer.try_clone()?)
        .stderr(Stdio::null())
        .spawn()?;
    drop(handed_over);
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() > LIMIT {
            child.kill()?;
            child.wait()?;
            return Err(NamingError::Child(format!(
                "took longer than {} s",
                LIMIT.as_secs()
            )));
        }
        std::thread::sleep(POLL);
    };
    if !status.success() {
        return Err(NamingError::Child(format!("ended with {status}")));
    }
    let mut text = Vec::new();
    answer.rewind()?;
    answer.read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// The child's part: from the question to the answer.
///
/// # Errors
/// If the question makes no sense, or the answer cannot be written.
pub fn answer(question: impl std::io::Read, answer: impl std::io::Write) -> anyhow::Result<()> {
    privileges::keep_for_naming()?;
    // Whatever an executable holds, it is not read forever.
    let seconds = LIMIT.as_secs();
    let limit = Rlimit {
        current: Some(seconds),
        maximum: Some(seconds),
    };
    setrlimit(Resource::Cpu, limit)?;
    let Question { addresses, code } = serde_json::from_reader(question)?;
    let mut executables = Executables::default();
    for tgid in addresses.user.keys() {
        let of_process = code.iter().filter(|code| code.tgid == *tgid);
        let opened = of_process.filter_map(|code| {
            let open = |fd: i32| File::open(format!("/proc/self/fd/{fd}")).ok();
            Some(OpenCode {
                addresses: code.start..code.end,
                file_offset: code.file_offset,
                file: open(code.fd)?,
                debug_file: code.debug_fd.and_then(open),
            })
        });
        executables.add(*tgid, opened);
    }
    let mut named = executables.ranges(&addresses.user);
    match kernel_ranges(&addresses.kernel) {
        Ok(kernel) => named.kernel = kernel,
        Err(error) => {
            named.errors.insert(0, error.to_string());
        }
    }
    Ok(serde_json::to_writer(answer, &named)?)
}

/// CPU time of all children that have ended.
pub fn children_cpu_ns() -> u64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the kernel fills in the structure that it is given; all zeroes are one as well.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
        usage.assume_init()
    };
    let ns = |time: libc::timeval| {
        time.tv_sec.unsigned_abs() * crate::model::NS_PER_S + time.tv_usec.unsigned_abs() * 1000
    };
    ns(usage.ru_utime) + ns(usage.ru_stime)
}
