//! Reports as the tests read them, and the ships they are made of.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use harness::faults::MemoryLimit;
use harness::process::is_running;
use harness::profile::{Outcome, Profile};
use harness::scratch::Scratch;
use harness::ship::{RunningShip, ShipOptions};
use harness::workspace;
use rustix::process::Pid;
use serde_json::Value;

use crate::kernel::wait_for_capture;

/// Exit status: done.
pub const DONE: i32 = 0;
/// Exit status: failed, and one sentence says why.
pub const FAILED: i32 = 1;
/// Exit status: done, but something was lost or could not be measured.
pub const INCOMPLETE: i32 = 3;

/// Captures from this size on are no fixtures.
const FIXTURE_BYTES: usize = 300 << 10;

/// A user without any rights, and a group: `nobody` and `nogroup` on Debian.
pub const NOBODY: u32 = 65534;

/// The causes, in the order of the report.
const CAUSES: [&str; 5] = ["disk", "cpu", "memory", "ames", "unexplained"];
/// Roles whose time the verdict is about.
const ATTRIBUTED_ROLES: [&str; 3] = ["king", "mars", "commit_worker"];

/// A ship whose pier is in memory, so that this machine's disk has no part in what it does.
#[derive(Debug)]
pub struct ShipInMemory {
    // Ended before its pier goes.
    pub ship: RunningShip,
    _home: Scratch,
}

impl ShipInMemory {
    /// Starts it.
    pub fn start(options: &ShipOptions) -> Self {
        let home = Scratch::in_memory("pier").unwrap();
        let ship = options.start_in(home.path()).unwrap();
        Self { ship, _home: home }
    }
}

/// Ships that are tried with little memory.
const SWAPPING_SHIPS: usize = 6;
/// Less than the pages that a [`swapping_ship`] writes to and that are charged to its group, of which there
/// are 16 MiB in the end.
const SWAPPING_BYTES: u64 = 8 << 20;

/// A ship that has to swap. Where all of its pages were just used, the kernel may kill it instead; then
/// another is tried, once `settle` is through.
pub fn swapping_ship(
    place: &Path,
    options: &ShipOptions,
    settle: impl Fn(&RunningShip),
) -> (RunningShip, MemoryLimit) {
    let options = ShipOptions {
        dirty_pages: Some(64),
        ..options.clone()
    };
    (0..SWAPPING_SHIPS)
        .find_map(|_| {
            let ship = options.start_in(place).unwrap();
            let limit = MemoryLimit::start(SWAPPING_BYTES, &ship.pids()).unwrap();
            settle(&ship);
            let is_alive = is_running(ship.mars_pid());
            is_alive.then_some((ship, limit))
        })
        .unwrap()
}

/// The deep dive as sudo starts it for a user whose id and group are `caller`; without one, as root
/// itself does.
pub fn deep_dive_under_sudo(
    ship: &Path,
    seconds: u64,
    output: &Path,
    caller: Option<u32>,
) -> Outcome {
    let mut command = Command::new(workspace::profile_binary().unwrap());
    command.arg("--ship").arg(ship);
    command.args(["--seconds", &seconds.to_string()]);
    command.arg("-o").arg(output);
    for name in ["SUDO_UID", "SUDO_GID"] {
        command.env_remove(name);
        command.envs(caller.map(|id| (name, id.to_string())));
    }
    finish(&mut command)
}

/// A copy of `profile` where every user can start it.
#[derive(Debug)]
pub struct Unprivileged {
    program: PathBuf,
    _home: Scratch,
}

impl Unprivileged {
    /// Copies it.
    pub fn new() -> Self {
        let home = Scratch::new("unprivileged").unwrap();
        let program = home.path().join("profile");
        fs::copy(workspace::profile_binary().unwrap(), &program).unwrap();
        for path in [home.path(), &program] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self {
            program,
            _home: home,
        }
    }

    /// Runs it as [`NOBODY`] if we are root, and as who we are otherwise.
    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Outcome {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir("/");
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        finish(&mut command)
    }
}

/// Runs a command to its end.
fn finish(command: &mut Command) -> Outcome {
    let output = command.stdin(Stdio::null()).output().unwrap();
    Outcome {
        status: output.status,
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// It failed with one line that holds all of `words`, and printed no data.
pub fn assert_fails(outcome: &Outcome, words: &[&str]) {
    assert_eq!(outcome.code(), Some(FAILED), "{outcome:?}");
    assert_eq!(outcome.stdout, "");
    assert_one_line(outcome, words);
}

/// The last thing it said is one line of an error that holds all of `words`.
pub fn assert_one_line(outcome: &Outcome, words: &[&str]) {
    let mut errors = outcome
        .stderr
        .lines()
        .filter(|line| line.starts_with("profile: "));
    let (Some(line), None) = (errors.next(), errors.next()) else {
        panic!("not exactly one error: {outcome:?}")
    };
    assert_eq!(outcome.stderr.lines().last(), Some(line));
    for word in words {
        assert!(line.contains(word), "{word:?} is not in {line:?}");
    }
}

/// Names of everything in a directory, in order.
pub fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A report, as `--format json` prints it.
#[derive(Debug)]
pub struct Report(pub Value);

impl Report {
    /// The deep dive of a pier. It must be whole, and its sums must be exact. With `RECORD_CAPTURES`
    /// set, its capture becomes the fixture of that name, unless it is too large for one.
    pub fn of_scene(name: &str, pier: &Path, seconds: u64) -> Self {
        Self::of_scene_with(name, pier, seconds, || {})
    }

    /// The same; `meanwhile` happens once the capture has begun.
    pub fn of_scene_with(name: &str, pier: &Path, seconds: u64, meanwhile: impl FnOnce()) -> Self {
        let home = Scratch::new("scene").unwrap();
        let output = home.path().join("run");
        let profile = Profile::deep_dive(pier, seconds).json().output(&output);
        let running = profile.start().unwrap();
        wait_for_capture(&running);
        meanwhile();
        let outcome = running.finish().unwrap();
        assert_eq!(outcome.code(), Some(DONE), "{}", outcome.stderr);
        let capture = fs::read(output.join("capture")).unwrap();
        if std::env::var_os("RECORD_CAPTURES").is_some() && capture.len() < FIXTURE_BYTES {
            let fixtures = workspace::root().join("profiler/tests/fixtures");
            let fixture = fixtures.join(name).with_extension("capture");
            fs::write(fixture, capture).unwrap();
        }
        let report = Self::of(&outcome);
        assert_eq!(report.strings("incomplete"), [""; 0]);
        assert_eq!(report.0["window"]["ended"], "time_is_up");
        report
    }

    /// What a run printed. Its sums must be exact, whatever happened.
    pub fn of(outcome: &Outcome) -> Self {
        let report = Self(outcome.json().unwrap());
        report.assert_closed();
        report
    }

    /// An array of strings.
    pub fn strings(&self, field: &str) -> Vec<&str> {
        let values = self.0[field].as_array().unwrap();
        values.iter().map(|one| one.as_str().unwrap()).collect()
    }

    /// The objects of an array.
    pub fn list(&self, field: &str) -> &[Value] {
        self.0[field].as_array().unwrap()
    }

    /// The member of a list whose field `key` is `value`.
    pub fn find(&self, list: &str, key: &str, value: &str) -> Option<&Value> {
        self.list(list).iter().find(|one| one[key] == value)
    }

    /// Kind and cause of the verdict.
    pub fn verdict(&self) -> (&str, Option<&str>) {
        let verdict = &self.0["verdict"];
        (verdict["kind"].as_str().unwrap(), verdict["cause"].as_str())
    }

    /// The verdict's sentence.
    pub fn sentence(&self) -> &str {
        self.0["verdict"]["sentence"].as_str().unwrap()
    }

    /// Share of a leaf, 0 if it took no time.
    pub fn leaf_ratio(&self, leaf: &str) -> f64 {
        let mut parts = self
            .list("shares")
            .iter()
            .flat_map(|share| share["parts"].as_array().unwrap());
        parts
            .find(|part| part["leaf"] == leaf)
            .map_or(0.0, |part| part["ratio"].as_f64().unwrap())
    }

    /// Names of the fixes that would help, the best first.
    pub fn helpful_fixes(&self) -> Vec<&str> {
        self.list("fixes")
            .iter()
            .filter(|fix| fix["answer"].get("would_help").is_some())
            .map(|fix| fix["id"].as_str().unwrap())
            .collect()
    }

    /// `fix` is the first to make, and says how; what would not help says why.
    pub fn assert_first_fix(&self, fix: &str) {
        assert_eq!(self.helpful_fixes().first(), Some(&fix), "{self}");
        let first = &self.list("fixes")[0];
        assert_eq!(first["id"], fix);
        assert_ne!(first["current"], Value::Null);
        let apply = first["apply"].as_array().unwrap();
        assert!(!apply.is_empty(), "{first:#}");
        // What only takes effect by a restart changes nothing that could be taken back.
        if *apply != ["restart the ship"] {
            assert!(!first["undo"].as_array().unwrap().is_empty(), "{first:#}");
        }
        self.assert_every_fix_has_a_reason();
    }

    /// Every entry of the catalogue is there and says why it would help or would not.
    pub fn assert_every_fix_has_a_reason(&self) {
        let fixes = self.list("fixes");
        let mut ids: Vec<&str> = fixes
            .iter()
            .map(|fix| fix["id"].as_str().unwrap())
            .collect();
        ids.sort_unstable();
        for id in [
            "cpu-quota",
            "disk-class",
            "io-limit",
            "io-scheduler",
            "nice",
            "rmem-max",
        ] {
            assert!(ids.contains(&id), "{id} is not among {ids:?}");
        }
        for fix in fixes {
            assert_ne!(fix["reason"].as_str().unwrap(), "", "{fix:#}");
            assert_ne!(fix["source"].as_str().unwrap(), "", "{fix:#}");
        }
    }

    /// A finding.
    pub fn finding(&self, id: &str) -> Option<&Value> {
        self.find("findings", "id", id)
    }

    /// Every budget is closed: the parts sum to the whole, to the nanosecond.
    fn assert_closed(&self) {
        let mut busy_ns = 0;
        for thread in self.list("threads") {
            let blocked = thread["blocked"].as_array().unwrap();
            let idle_ns: u64 = blocked
                .iter()
                .filter(|wait| wait["idle"] == true)
                .map(|wait| number(wait, "total_ns"))
                .sum();
            assert_eq!(idle_ns, number(thread, "idle_ns"), "{thread:#}");
            let blocked_ns: u64 = blocked.iter().map(|wait| number(wait, "total_ns")).sum();
            let parts = ["on_cpu_ns", "run_queue_ns", "unexplained_ns"];
            let sum = blocked_ns + parts.map(|part| number(thread, part)).iter().sum::<u64>();
            assert_eq!(sum, number(thread, "wall_ns"), "{thread:#}");
            if ATTRIBUTED_ROLES.contains(&thread["role"].as_str().unwrap()) {
                busy_ns += sum - idle_ns;
            }
        }
        // Shares are of the events' time, where they could be followed.
        let times = &self.0["event_times"];
        if !times.is_null() {
            busy_ns = number(&times["all"], "total_ns");
            let phases = times["phases"].as_array().unwrap();
            let phases_ns: u64 = phases.iter().map(|p| number(&p["times"], "total_ns")).sum();
            assert_eq!(phases_ns, busy_ns, "{times:#}");
            for event in times["worst"].as_array().unwrap() {
                let parts = event["parts"].as_array().unwrap();
                let parts_ns: u64 = parts.iter().map(|part| number(part, "total_ns")).sum();
                assert_eq!(parts_ns, number(event, "duration_ns"), "{event:#}");
            }
        }
        assert_eq!(number(&self.0, "busy_ns"), busy_ns);
        let shares = self.list("shares");
        let causes: Vec<&str> = shares
            .iter()
            .map(|s| s["cause"].as_str().unwrap())
            .collect();
        assert_eq!(causes, CAUSES);
        let share_ns: u64 = shares.iter().map(|share| number(share, "total_ns")).sum();
        assert_eq!(share_ns, busy_ns, "{self}");
        let ratio: f64 = shares.iter().map(|s| s["ratio"].as_f64().unwrap()).sum();
        // Of nothing, every share is zero.
        let whole = if busy_ns == 0 { 0.0 } else { 1.0 };
        assert!((ratio - whole).abs() < 1e-9, "the shares sum to {ratio}");
        for share in shares {
            let parts = share["parts"].as_array().unwrap();
            let parts_ns: u64 = parts.iter().map(|part| number(part, "total_ns")).sum();
            assert_eq!(parts_ns, number(share, "total_ns"), "{share:#}");
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

/// A field that is a whole number.
pub fn number(value: &Value, field: &str) -> u64 {
    value[field]
        .as_u64()
        .unwrap_or_else(|| panic!("{field} is no number in {value:#}"))
}

/// Takes the pages of mars' image from memory, so that it has to read them again.
pub fn evict_image(ship: &RunningShip) {
    harness::faults::memory::evict_image(ship).unwrap();
}

/// A process id as system calls take it.
pub fn process(pid: u32) -> Option<Pid> {
    Pid::from_raw(pid.cast_signed())
}

/// On-CPU and run-queue time of all threads of some processes (`/proc/PID/task/TID/schedstat`, ns).
pub fn schedstat(pids: &[u32]) -> (u64, u64) {
    let mut sums = (0, 0);
    for pid in pids {
        for tid in names_in(Path::new(&format!("/proc/{pid}/task"))) {
            let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat")).unwrap();
            let numbers: Vec<u64> = text
                .split_whitespace()
                .map(|number| number.parse().unwrap())
                .collect();
            sums.0 += numbers[0];
            sums.1 += numbers[1];
        }
    }
    sums
}
