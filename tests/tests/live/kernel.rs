//! What a running `profile` has in the kernel: its programs and maps, by number.
//!
//! Numbers, not names: the kernel never gives one out twice in a test's time, so other profilers on
//! this machine do not matter.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use aya::maps::{Array, HashMap, Map, MapData};
use harness::bpf::{map_numbers, program_numbers};
use harness::process::{is_running, poll_until};
use harness::profile::RunningProfile;
use profiler_common::sched::{WaitKey, Waits};
use rustix::time::{ClockId, clock_gettime};

/// How long attaching may take. The verifier needs most of it.
const ATTACH_LIMIT: Duration = Duration::from_secs(60);
/// How long after its beginning a capture is taken to have read the kernel's counters.
const READ_NS: u64 = 200_000_000;
/// How long the kernel may take to free what nobody holds any more; it waits for running programs.
const FREE_LIMIT: Duration = Duration::from_secs(20);

/// Programs and maps of one process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    programs: BTreeSet<u32>,
    /// With their `enum bpf_map_type`.
    maps: BTreeMap<u32, u32>,
}

/// Of `enum bpf_map_type` (include/uapi/linux/bpf.h).
const BPF_MAP_TYPE_PROG_ARRAY: u32 = 3;

impl Footprint {
    /// What the file descriptors of a process hold (`Documentation/bpf`: fdinfo names the numbers).
    fn of(pid: u32) -> Self {
        let mut footprint = Self::default();
        for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))
            .into_iter()
            .flatten()
        {
            let Ok(path) = entry.map(|entry| entry.path()) else {
                continue;
            };
            let text = fs::read_to_string(path).unwrap_or_default();
            let number = |name| {
                let mut values = text.lines().filter_map(|line| line.strip_prefix(name));
                values.next()?.trim().parse::<u32>().ok()
            };
            footprint.programs.extend(number("prog_id:"));
            footprint
                .maps
                .extend(number("map_id:").zip(number("map_type:")));
        }
        footprint
    }

    /// Fills the map of waits with entries of nobody, so that no new wait has room.
    pub fn fill_waits(&self) {
        let map = self.map("SCHED_WAITS").unwrap();
        let room = map.info().unwrap().max_entries();
        let map = Map::HashMap(map);
        let mut waits: HashMap<_, [u8; size_of::<WaitKey>()], [u8; size_of::<Waits>()]> =
            HashMap::try_from(map).unwrap();
        for number in 0..=room {
            let mut key = [0xff; size_of::<WaitKey>()];
            key[4..8].copy_from_slice(&number.to_ne_bytes());
            if waits.insert(key, [0; size_of::<Waits>()], 0).is_err() {
                return;
            }
        }
        panic!("a map of {room} took as many more");
    }

    /// A map of it, by its name.
    fn map(&self, name: &str) -> Option<MapData> {
        self.maps.iter().find_map(|(id, kind)| {
            // Never a map of programs: when its last descriptor is closed the kernel empties it
            // later, and closing one again until then leaves it there for ever
            // (`prog_array_map_clear` in kernel/bpf/arraymap.c takes a reference, whether or not
            // `schedule_work` takes the work that gives it back).
            if *kind == BPF_MAP_TYPE_PROG_ARRAY {
                return None;
            }
            // Another one may be gone since its number was read.
            let map = MapData::from_id(*id).ok()?;
            (map.info().ok()?.name_as_str()? == name).then_some(map)
        })
    }

    /// Waits until nothing of it is left, as `bpftool prog` and `bpftool map` would list it.
    pub fn assert_gone(&self) {
        assert!(!self.programs.is_empty() && !self.maps.is_empty());
        poll_until("the kernel to free what was loaded", FREE_LIMIT, || {
            let programs = program_numbers().unwrap();
            let maps = map_numbers().unwrap();
            let mut left = self.clone();
            left.programs.retain(|id| programs.contains(id));
            left.maps.retain(|id, _| maps.contains(id));
            Ok(if left == Self::default() {
                Ok(())
            } else {
                Err(format!("{left:?} are left"))
            })
        })
        .unwrap();
    }
}

/// Waits until the capture has begun, and gives what it has in the kernel then.
pub fn wait_for_capture(profile: &RunningProfile) -> Footprint {
    let pid = profile.pid();
    poll_until("the capture to begin", ATTACH_LIMIT, || {
        assert!(is_running(pid), "`profile` ended before its capture began");
        let footprint = Footprint::of(pid);
        let window = window(&footprint);
        Ok(match window {
            Some(window) if window.is_open() => Ok(footprint),
            window => Err(format!("the window is {window:?}")),
        })
    })
    .unwrap()
}

/// Whether the capture that [`wait_for_capture`] saw begin still goes on.
pub fn is_capturing(profile: &RunningProfile, footprint: &Footprint) -> bool {
    is_running(profile.pid()) && window(footprint).is_some_and(|window| window.is_open())
}

/// The capture's window (`profiler_common::ship::Window`): zero before it is set, `u64::MAX` for an
/// end that is not known yet.
#[derive(Debug)]
struct Window {
    start_ktime_ns: u64,
    end_ktime_ns: u64,
}

impl Window {
    /// Whether it has begun, long enough ago for the kernel's counters to be read, and has no end yet.
    fn is_open(&self) -> bool {
        let now = clock_gettime(ClockId::Monotonic);
        let now_ns = now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs();
        let begun_ns = now_ns.saturating_sub(self.start_ktime_ns);
        self.start_ktime_ns > 0 && begun_ns >= READ_NS && self.end_ktime_ns == u64::MAX
    }
}

fn window(footprint: &Footprint) -> Option<Window> {
    let map = footprint.map("SHIP_WINDOW")?;
    let map: Array<_, [u64; 2]> = Array::try_from(Map::Array(map)).ok()?;
    let [start_ktime_ns, end_ktime_ns] = map.get(&0, 0).ok()?;
    Some(Window {
        start_ktime_ns,
        end_ktime_ns,
    })
}
