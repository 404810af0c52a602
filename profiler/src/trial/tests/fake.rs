//! A host of files with a ship of two processes, and a kernel that writes into them.

use std::io;
use std::path::{Path, PathBuf};

use crate::host::Roots;
use crate::ship::tests::tree::{Proc, Tree};
use crate::trial::{Calls, Host};

pub const KING: u32 = 700;
pub const MARS: u32 = 1200;

pub struct FakeHost {
    pub host: Host,
    tree: Tree,
}

impl FakeHost {
    pub fn new() -> Self {
        let tree = Tree::new();
        let roots = tree.roots();
        let fake = Self {
            host: Host {
                calls: Box::new(FakeKernel(roots.clone())),
                roots,
            },
            tree,
        };
        for tgid in [KING, MARS, std::process::id()] {
            fake.tree.process(Proc {
                tgid,
                ..Proc::default()
            });
        }
        let own = fake.text(&format!("/proc/{}/stat", std::process::id()));
        fake.put("/proc/self/stat", &own);
        fake.put("/proc/sys/kernel/random/boot_id", "boot-1\n");
        fake
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.tree.path(path)
    }

    pub fn put(&self, path: &str, text: &str) {
        self.tree.put(path, text);
    }

    pub fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap()
    }

    /// Adds a thread, like its process but for the nice value.
    pub fn thread(&self, tgid: u32, tid: u32, nice: i32) {
        for name in ["stat", "status"] {
            let text = self.text(&format!("/proc/{tgid}/{name}"));
            self.put(&format!("/proc/{tgid}/task/{tid}/{name}"), &text);
        }
        self.set_nice(tid, nice);
    }

    /// Another process with the same id.
    pub fn restart(&self, tgid: u32) {
        self.tree.process(Proc {
            tgid,
            ..Proc::default()
        });
        for name in ["", &format!("task/{tgid}/")] {
            let path = format!("/proc/{tgid}/{name}stat");
            let start = format!(" {} 1000 ", tgid * 10);
            let text = self.text(&path).replace(&start, " 77 1000 ");
            self.put(&path, &text);
        }
    }

    pub fn nice(&self, tid: u32) -> i32 {
        let path = stat(&self.host.roots, tid).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        text.split(' ').nth(NICE).unwrap().parse().unwrap()
    }

    pub fn set_nice(&self, tid: u32, nice: i32) {
        self.host.calls.set_nice(tid, nice).unwrap();
    }

    pub fn mount(&self, device: &str, options: &str) {
        self.put(
            "/proc/self/mountinfo",
            &format!("30 1 {device} / /piers {options} - ext4 /dev/sda1 rw\n"),
        );
    }
}

/// Place of the nice value in `stat`.
const NICE: usize = 18;

struct FakeKernel(Roots);

fn stat(roots: &Roots, tid: u32) -> io::Result<PathBuf> {
    let processes = std::fs::read_dir(&roots.proc)?.flatten();
    let paths = processes.map(|one| one.path().join(format!("task/{tid}/stat")));
    let mut found = paths.filter(|path| path.exists());
    found.next().ok_or_else(|| io::ErrorKind::NotFound.into())
}

impl Calls for FakeKernel {
    fn set_nice(&self, tid: u32, nice: i32) -> io::Result<()> {
        let path = stat(&self.0, tid)?;
        let text = std::fs::read_to_string(&path)?;
        let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        words[NICE] = nice.to_string();
        std::fs::write(path, words.join(" "))
    }

    fn set_cpus(&self, tid: u32, cpus: &[(u32, u32)]) -> io::Result<()> {
        let path = stat(&self.0, tid)?.with_file_name("status");
        let text = std::fs::read_to_string(&path)?;
        let (start, _) = text.split_once("Cpus_allowed_list:").unwrap();
        let list = crate::catalogue::affinity::list(cpus);
        std::fs::write(path, format!("{start}Cpus_allowed_list:\t{list}\n"))
    }

    fn set_atime(&self, mount_point: &Path, option: &str) -> io::Result<()> {
        assert_eq!(mount_point, Path::new("/piers"));
        let path = self.0.proc.join("self/mountinfo");
        let text = std::fs::read_to_string(&path)?;
        let (start, rest) = text.split_once("rw,").unwrap();
        let (_, rest) = rest.split_once(' ').unwrap();
        std::fs::write(path, format!("{start}rw,{option} {rest}"))
    }
}
