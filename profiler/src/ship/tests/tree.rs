//! A host as a tree of files, as far as discovery looks at one.

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use crate::host::Roots;

/// PID and mount namespace of the host and of a container, as inodes.
pub const HOST: u64 = 4_026_531_836;
pub const CONTAINER: u64 = 4_026_532_500;

/// A host under construction.
pub struct Tree {
    root: tempfile::TempDir,
}

/// What a process of the tree looks like; each field has a plain value for a host's process.
#[derive(Clone)]
pub struct Proc<'a> {
    pub tgid: u32,
    pub parent: u32,
    pub comm: &'a str,
    pub arguments: &'a str,
    pub executable: &'a str,
    pub state: char,
    /// Ids in nested namespaces, outermost first.
    pub namespace_ids: &'a [u32],
    /// Where its root directory is, below the tree's.
    pub root: &'a str,
}

impl Default for Proc<'_> {
    fn default() -> Self {
        Self {
            tgid: 0,
            parent: 1,
            comm: "urbit",
            arguments: "urbit",
            executable: "/usr/bin/urbit",
            state: 'S',
            namespace_ids: &[],
            root: "",
        }
    }
}

impl Tree {
    pub fn new() -> Self {
        let tree = Self {
            root: tempfile::tempdir().unwrap(),
        };
        tree.put("proc/locks", "");
        tree.namespaces("proc/self", HOST);
        tree
    }

    pub fn roots(&self) -> Roots {
        Roots::under(self.root.path())
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    pub fn put(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn link(&self, path: &str, target: impl AsRef<Path>) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    /// Moves the reader into a container, which sees none of the host's locks.
    pub fn read_from_a_container(&self) {
        std::fs::remove_dir_all(self.path("proc/self/ns")).unwrap();
        self.namespaces("proc/self", CONTAINER);
    }

    fn namespaces(&self, process: &str, inode: u64) {
        for kind in ["pid", "mnt"] {
            self.link(&format!("{process}/ns/{kind}"), format!("{kind}:[{inode}]"));
        }
        self.link(&format!("{process}/ns/net"), "net:[4026531840]");
    }

    /// An empty pier; its path as given is below the tree.
    pub fn pier(&self, path: &str) -> PathBuf {
        std::fs::create_dir_all(self.path(path).join(".urb/log/0i0")).unwrap();
        self.path(path).canonicalize().unwrap()
    }

    /// A pier in a container's volume, which its root `/containers/1` has at `/urbit` and the host
    /// at `/var/volumes/zod/_data`.
    pub fn volume(&self) -> PathBuf {
        let pier = self.pier("/containers/1/urbit/zod");
        self.link("var/volumes/zod/_data", self.path("/containers/1/urbit"));
        pier
    }

    /// Makes a process see this machine's files, so that the text of its links is also where they
    /// lead; its paths are then not of the tree.
    pub fn see_the_real_root(&self, tgid: u32) {
        let root = format!("proc/{tgid}/root");
        std::fs::remove_file(self.path(&root)).unwrap();
        self.link(&root, "/");
    }

    /// Adds a process, or replaces the one of the same id.
    pub fn process(&self, process: Proc) {
        let Proc {
            tgid,
            comm,
            state,
            parent,
            ..
        } = process;
        let directory = format!("proc/{tgid}");
        let _ = std::fs::remove_dir_all(self.path(&directory));
        let arguments = format!("{}\0", process.arguments.replace(' ', "\0"));
        self.put(&format!("{directory}/cmdline"), arguments);
        let stat = format!(
            "{tgid} ({comm}) {state} {parent} 1 1 0 -1 4194560 100 0 3 0 10 5 0 0 20 -5 1 0 {start} 1000 10 \
             18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
            start = u64::from(tgid) * 10,
        );
        let own = [tgid];
        let ids = if process.namespace_ids.is_empty() {
            &own
        } else {
            process.namespace_ids
        };
        let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
        let status = STATUS
            .replace("COMM", comm)
            .replace("TGID", &tgid.to_string())
            .replace("NSIDS", &ids.join("\t"));
        for directory in [directory.clone(), format!("{directory}/task/{tgid}")] {
            self.put(&format!("{directory}/stat"), &stat);
            self.put(&format!("{directory}/status"), &status);
            self.put(&format!("{directory}/comm"), format!("{comm}\n"));
        }
        self.put(&format!("{directory}/maps"), "");
        self.put(&format!("{directory}/cgroup"), "0::/ships\n");
        self.put(&format!("{directory}/net/udp"), "header\n");
        std::fs::create_dir_all(self.path(&format!("{directory}/fd"))).unwrap();
        self.link(&format!("{directory}/exe"), process.executable);
        self.link(&format!("{directory}/root"), self.path(process.root));
        self.link(&format!("{directory}/cwd"), "/home");
        let namespace = if process.namespace_ids.len() > 1 {
            CONTAINER
        } else {
            HOST
        };
        self.namespaces(&directory, namespace);
    }

    /// A v4 ship: king `tgid`, mars `tgid + 1`, on the pier `inside` of the root `root`.
    pub fn ship_in(&self, tgid: u32, root: &str, inside: &str, namespace_ids: [&[u32]; 2]) {
        let king = format!("urbit -p 34343 {inside}");
        let mars = format!(
            "urbit work --snap-dir {inside} --runtime-config 128 --loom 31 --snap-time 120"
        );
        let [of_king, of_mars] = namespace_ids;
        let process = |tgid, parent, arguments, namespace_ids| Proc {
            tgid,
            parent,
            arguments,
            namespace_ids,
            root,
            ..Proc::default()
        };
        self.process(process(tgid, 1, &king, of_king));
        self.process(process(tgid + 1, tgid, &mars, of_mars));
    }

    /// A v4 ship of the host on a new pier.
    pub fn ship(&self, tgid: u32, pier: &str) -> PathBuf {
        let path = self.pier(pier);
        self.ship_in(tgid, "", pier, [&[], &[]]);
        path
    }

    /// Maps a spin stack of this name into a process.
    pub fn spin_stack(&self, tgid: u32, name: &str) {
        self.put(
            &format!("proc/{tgid}/maps"),
            format!("7f0000000000-7f0000004000 rw-s 00000000 00:19 42 /dev/shm/spin_stack_page_{name}_1\n"),
        );
    }

    pub fn thread(&self, tgid: u32, tid: u32, comm: &str) {
        let stat = format!(
            "{tid} ({comm}) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 9 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0\n"
        );
        self.put(&format!("proc/{tgid}/task/{tid}/stat"), stat);
    }

    pub fn open_file(&self, tgid: u32, fd: u32, target: impl AsRef<Path>) {
        self.link(&format!("proc/{tgid}/fd/{fd}"), target);
    }

    /// Writes the pier's lock file, and what `/proc/locks` says when `holder` has the lock.
    pub fn lock(&self, pier: &Path, text: &str, holder: Option<u32>) {
        let file = pier.join(".vere.lock");
        std::fs::write(&file, text).unwrap();
        let metadata = std::fs::metadata(&file).unwrap();
        let (major, minor) = (
            rustix::fs::major(metadata.dev()),
            rustix::fs::minor(metadata.dev()),
        );
        if let Some(tgid) = holder {
            self.put_lock(tgid, &format!("{major:02x}:{minor:02x}"), metadata.ino());
        }
    }

    pub fn put_lock(&self, tgid: u32, device: &str, inode: u64) {
        self.put(
            "proc/locks",
            format!(
                "1: FLOCK  ADVISORY  WRITE 99 00:14:5 0 EOF\n\
                 2: POSIX  ADVISORY  WRITE {tgid} {device}:{inode} 0 0\n"
            ),
        );
    }
}

const STATUS: &str = "\
Name:\tCOMM
Umask:\t0022
State:\tS (sleeping)
Tgid:\tTGID
Ngid:\t0
Pid:\tTGID
PPid:\t1
TracerPid:\t0
Uid:\t1000\t1000\t1000\t1000
Gid:\t1000\t1000\t1000\t1000
FDSize:\t64
Groups:\t
NStgid:\tNSIDS
NSpid:\tNSIDS
VmRSS:\t  50000 kB
VmSwap:\t      0 kB
Threads:\t1
SigQ:\t0/96335
SigPnd:\t0000000000000000
ShdPnd:\t0000000000000000
SigBlk:\t0000000000000000
SigIgn:\t0000000000000000
SigCgt:\t0000000000000000
CapInh:\t0000000000000000
CapPrm:\t0000000000000000
CapEff:\t0000000000000000
Seccomp:\t0
Cpus_allowed:\tff
Cpus_allowed_list:\t0-7
";
