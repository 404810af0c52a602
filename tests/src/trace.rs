//! The kernel's own trace of some events, by an instance of tracefs of our own: an account that does
//! not pass through any program of ours.

use std::fs;
use std::path::{Path, PathBuf};

use crate::undo::Undo;
use crate::{Error, Result, scratch};

/// Where tracefs is (Documentation/trace/ftrace.rst).
const TRACEFS: &str = "/sys/kernel/tracing";
/// Room for lines, for each CPU. What does not fit is counted, and fails the trace.
const BUFFER_KIB: &str = "8192";

/// Some events while they are traced. Dropping it ends that.
#[derive(Debug)]
pub struct Trace {
    instance: PathBuf,
    _undo: Undo,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceLine {
    /// Name of the thread that ran.
    pub comm: String,
    /// The thread that ran.
    pub tid: u32,
    /// What the event says.
    pub text: String,
}

impl Trace {
    /// Traces events such as `block/block_rq_complete`, each as far as its filter says; an empty
    /// filter lets everything through.
    pub fn start(events: &[(&str, &str)]) -> Result<Self> {
        if !Path::new(TRACEFS).join("events").is_dir() {
            return Err(Error::Missing {
                what: format!("tracefs at {TRACEFS}"),
                remedy: format!("mount -t tracefs nodev {TRACEFS}"),
            });
        }
        let instance = Path::new(TRACEFS)
            .join("instances")
            .join(scratch::name("trace"));
        fs::create_dir(&instance).map_err(Error::path("create", &instance))?;
        let removed = instance.clone();
        let undo = Undo::new(format!("remove {}", instance.display()), move || {
            fs::remove_dir(&removed).map_err(Error::path("remove", &removed))
        });
        let trace = Self {
            instance,
            _undo: undo,
        };
        trace.write("buffer_size_kb", BUFFER_KIB)?;
        for (event, filter) in events {
            if !filter.is_empty() {
                trace.write(&format!("events/{event}/filter"), filter)?;
            }
            trace.write(&format!("events/{event}/enable"), "1")?;
        }
        Ok(trace)
    }

    /// Everything that was traced so far, without ending it.
    pub fn lines(&self) -> Result<Vec<TraceLine>> {
        let path = self.instance.join("trace");
        let text = fs::read_to_string(&path).map_err(Error::path("read", &path))?;
        let lost = |head: &str| {
            // `# entries-in-buffer/entries-written: 12/12   #P:2`
            let numbers = head.strip_prefix("# entries-in-buffer/entries-written: ")?;
            let (kept, written) = numbers.split_whitespace().next()?.split_once('/')?;
            (kept != written).then(|| numbers.to_owned())
        };
        if let Some(detail) = text.lines().find_map(lost) {
            return Err(Error::Unexpected {
                what: path.display().to_string(),
                detail: format!("not everything fitted into its buffer: {detail}"),
            });
        }
        text.lines()
            .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
            .map(|line| {
                parse(line).ok_or_else(|| Error::Unexpected {
                    what: path.display().to_string(),
                    detail: format!("a line that is not understood: {line}"),
                })
            })
            .collect()
    }

    fn write(&self, file: &str, value: &str) -> Result<()> {
        let path = self.instance.join(file);
        fs::write(&path, value).map_err(Error::path("write", &path))
    }
}

/// A line such as ` jbd2/loop0-8-712  [001] .....  5123.400001: block_rq_issue: 7,0 …`.
fn parse(line: &str) -> Option<TraceLine> {
    let (task, rest) = line.split_once(" [")?;
    let (comm, tid) = task.trim().rsplit_once('-')?;
    // The time is the first word that ends in a colon; names hold none before it.
    let (_, text) = rest.split_once(": ")?;
    Some(TraceLine {
        comm: comm.to_owned(),
        tid: tid.parse().ok()?,
        text: text.to_owned(),
    })
}

/// Removes traces whose maker is gone.
pub(crate) fn remove_stale() -> Result<()> {
    let instances = Path::new(TRACEFS).join("instances");
    for entry in fs::read_dir(instances).into_iter().flatten().flatten() {
        if scratch::is_stale(&entry.file_name().to_string_lossy()) {
            let path = entry.path();
            fs::remove_dir(&path).map_err(Error::path("remove", &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate;

    #[test]
    fn lines_are_told_apart() {
        let line =
            "   jbd2/loop0-8-712     [001] ..... 51.400001: block_bio_queue: 7,0 WS 1 + 8 [x]";
        let parsed = parse(line).unwrap();
        assert_eq!((parsed.comm.as_str(), parsed.tid), ("jbd2/loop0-8", 712));
        assert_eq!(parsed.text, "block_bio_queue: 7,0 WS 1 + 8 [x]");
        assert_eq!(parse("CPU:1 [LOST 5 EVENTS]"), None);
    }

    #[test]
    fn signals_are_seen_and_nothing_is_left() {
        let Some(_live) = gate::need_root() else {
            return;
        };
        let own = std::process::id();
        let trace = Trace::start(&[("signal/signal_generate", &format!("pid == {own}"))]).unwrap();
        let handled = rustix::process::Signal::CHILD;
        let pid = rustix::process::getpid();
        rustix::process::kill_process(pid, handled).unwrap();
        let lines = trace.lines().unwrap();
        let sent = lines.iter().find(|line| line.text.contains("sig=17 "));
        assert!(sent.is_some(), "{lines:?}");
        let instance = trace.instance.clone();
        drop(trace);
        assert!(!instance.exists());
    }
}
