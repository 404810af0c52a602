//! One process as procfs shows it: identity, scheduling, memory, files, namespaces and threads.

mod inside;
mod maps;
mod vdso;

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use procfs_core::ProcessCGroups;
use procfs_core::process::{Io, Limits, MountInfos, Schedstat, Stat, Status, Syscall};
use serde::{Deserialize, Serialize};

pub use inside::Inside;
pub use maps::{Map, MapName, MappedCode};

use super::{ReadError, Reading, Roots, numbered_entries, read_link, read_parsed, read_text};

/// Inodes of the namespaces that a host boots with (kernel `include/linux/proc_ns.h`,
/// `PROC_PID_INIT_INO` and `PROC_USER_INIT_INO`): every other one was made later, as for a container.
pub mod initial_namespace {
    /// The PID namespace that sees every process.
    pub const PID: u64 = 0xEFFF_FFFC;
    /// The user namespace whose capabilities hold for the kernel itself.
    pub const USER: u64 = 0xEFFF_FFFD;
}

/// Device and inode of a file: what stays the same whatever path it is reached by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileId {
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
}

impl FileId {
    /// Identity of the file that `path` leads to, following links.
    pub fn of(path: &Path) -> Result<Self, ReadError> {
        let metadata = std::fs::metadata(path).map_err(|error| ReadError::io(path, error))?;
        Ok((&metadata).into())
    }

    /// Identity of what `path` names itself, even if that is a link.
    pub fn of_link(path: &Path) -> Result<Self, ReadError> {
        let metadata =
            std::fs::symlink_metadata(path).map_err(|error| ReadError::io(path, error))?;
        Ok((&metadata).into())
    }
}

impl From<&Metadata> for FileId {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

/// The directory of one process or thread below a procfs mount.
#[derive(Debug, Clone)]
pub struct Process {
    tgid: u32,
    directory: PathBuf,
}

impl Process {
    /// The process `tgid`; it need not exist, every reader then answers [`ReadError::Absent`].
    pub fn new(roots: &Roots, tgid: u32) -> Self {
        Self {
            tgid,
            directory: roots.proc.join(tgid.to_string()),
        }
    }

    /// The process that reads.
    pub fn own(roots: &Roots) -> Self {
        Self {
            tgid: std::process::id(),
            directory: roots.proc.join("self"),
        }
    }

    /// Every process that procfs lists, in ascending order.
    pub fn all(roots: &Roots) -> Result<Vec<Self>, ReadError> {
        let tgids = numbered_entries(&roots.proc)?;
        Ok(tgids.iter().map(|&tgid| Self::new(roots, tgid)).collect())
    }

    /// The process id, in the PID namespace of the procfs mount.
    pub fn tgid(&self) -> u32 {
        self.tgid
    }

    /// A file of this process.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Whether procfs still lists it.
    pub fn exists(&self) -> bool {
        self.directory.is_dir()
    }

    /// `stat`: parent, comm, start time, nice, faults.
    pub fn stat(&self) -> Result<Stat, ReadError> {
        read_parsed(&self.path("stat"))
    }

    /// `status`: capabilities, namespace ids, allowed CPUs.
    pub fn status(&self) -> Result<Status, ReadError> {
        read_parsed(&self.path("status"))
    }

    /// The arguments it was started with; empty for kernel threads and zombies.
    pub fn arguments(&self) -> Result<Vec<String>, ReadError> {
        let text = read_text(&self.path("cmdline"))?;
        Ok(text.split_terminator('\0').map(str::to_owned).collect())
    }

    /// The executable's path as the process sees it; ends in ` (deleted)` when the file is gone.
    pub fn executable(&self) -> Result<PathBuf, ReadError> {
        read_link(&self.path("exe"))
    }

    /// Its memory mappings.
    pub fn maps(&self) -> Result<Vec<Map>, ReadError> {
        let path = self.path("maps");
        let bytes = std::fs::read(&path).map_err(|error| ReadError::io(&path, error))?;
        maps::parse(&path, &bytes)
    }

    /// Its code. A file that cannot be opened is left out, as is a vDSO that is not as long as that of
    /// `own`, the process that reads: then it is for other system calls.
    ///
    /// # Errors
    /// If the mappings cannot be read.
    pub fn mapped_code(&self, own: &Self) -> Result<Vec<MappedCode>, ReadError> {
        let maps = self.maps()?;
        let is_code = |map: &&Map| map.executable && (map.inode != 0 || map.name == MapName::Vdso);
        let opened = maps.iter().filter(is_code).filter_map(|map| {
            let (start, end) = map.address;
            let path = match &map.name {
                MapName::Path(path) => path.clone(),
                _ => PathBuf::new(),
            };
            Some(MappedCode {
                addresses: start..end,
                file_offset: map.offset,
                file: match map.name {
                    MapName::Vdso => own.vdso_of_length(end - start)?,
                    _ => self.mapped_file(map)?,
                },
                path,
            })
        });
        Ok(opened.collect())
    }

    /// Its root directory, opened: what paths that it uses begin at.
    pub fn root(&self) -> Option<File> {
        File::open(self.path("root")).ok()
    }

    /// The very file that is mapped, even if its name is gone or means another by now. Where the
    /// kernel does not hand it out, the executable is tried, and taken only if it is that file: the
    /// code of a library named by the executable's symbols would be named wrongly.
    fn mapped_file(&self, map: &Map) -> Option<File> {
        let (start, end) = map.address;
        let mapped = self.path("map_files").join(format!("{start:x}-{end:x}"));
        if let Ok(file) = File::open(mapped) {
            return Some(file);
        }
        let executable = File::open(self.path("exe")).ok()?;
        let id: FileId = (&executable.metadata().ok()?).into();
        let of_map = FileId {
            device: map.device,
            inode: map.inode,
        };
        (id == of_map).then_some(executable)
    }

    /// Its mounts.
    pub fn mounts(&self) -> Result<MountInfos, ReadError> {
        read_parsed(&self.path("mountinfo"))
    }

    /// Its cgroup in every hierarchy.
    pub fn cgroups(&self) -> Result<ProcessCGroups, ReadError> {
        read_parsed(&self.path("cgroup"))
    }

    /// Its resource limits.
    pub fn limits(&self) -> Result<Limits, ReadError> {
        read_parsed(&self.path("limits"))
    }

    /// Bytes that it read and wrote.
    pub fn io(&self) -> Result<Io, ReadError> {
        read_parsed(&self.path("io"))
    }

    /// Inode of a namespace (`pid`, `mnt`, `net`, `cgroup` …): equal inodes are the same namespace.
    pub fn namespace(&self, kind: &str) -> Result<u64, ReadError> {
        let path = self.path("ns").join(kind);
        let target = read_link(&path)?;
        // The link reads `net:[4026531840]`.
        target
            .to_str()
            .and_then(|text| text.split_once(":[")?.1.strip_suffix(']')?.parse().ok())
            .ok_or_else(|| ReadError::malformed(&path, target.display().to_string()))
    }

    /// Open files: descriptor and link text. Descriptors closed meanwhile are left out.
    pub fn open_files(&self) -> Result<BTreeMap<u32, PathBuf>, ReadError> {
        let directory = self.path("fd");
        Ok(numbered_entries(&directory)?
            .into_iter()
            .filter_map(|fd| Some((fd, read_link(&directory.join(fd.to_string())).ok()?)))
            .collect())
    }

    /// Inodes of its sockets.
    pub fn socket_inodes(&self) -> Result<Vec<u64>, ReadError> {
        Ok(self
            .open_files()?
            .values()
            .filter_map(|target| {
                target
                    .to_str()?
                    .strip_prefix("socket:[")?
                    .strip_suffix(']')?
                    .parse()
                    .ok()
            })
            .collect())
    }

    /// Ids of its threads, ascending; the first is not always the main one.
    pub fn thread_ids(&self) -> Result<Vec<u32>, ReadError> {
        numbered_entries(&self.path("task"))
    }

    /// One thread of this process, read with the same functions.
    pub fn thread(&self, tid: u32) -> Self {
        Self {
            tgid: tid,
            directory: self.directory.join("task").join(tid.to_string()),
        }
    }

    /// Name of the thread, at most 15 bytes.
    pub fn comm(&self) -> Result<String, ReadError> {
        Ok(read_text(&self.path("comm"))?.trim_end().to_owned())
    }

    /// On-CPU time, run-queue time and number of time slices of this thread (of the main thread,
    /// when asked of a process).
    pub fn schedstat(&self) -> Result<Schedstat, ReadError> {
        read_parsed(&self.path("schedstat"))
    }

    /// The system call that this thread is blocked in.
    pub fn syscall(&self) -> Result<Syscall, ReadError> {
        read_parsed(&self.path("syscall"))
    }
}

/// What a capture keeps of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessFacts {
    /// Process id.
    pub tgid: u32,
    /// Process id of the parent.
    pub parent_tgid: u32,
    /// Name of the main thread.
    pub comm: String,
    /// Start, in clock ticks (`sysconf(_SC_CLK_TCK)`) since boot.
    pub start_time_ticks: u64,
    /// Nice value of the main thread, −20 (first) to 19 (last).
    pub nice: i64,
    /// Resident set.
    pub resident_bytes: Reading<u64>,
    /// Pages of it that are on swap.
    pub swapped_bytes: Reading<u64>,
    /// CPUs that it may run on, as inclusive ranges.
    pub allowed_cpus: Reading<Vec<(u32, u32)>>,
    /// Memory mappings in use; `vm.max_map_count` is their limit.
    pub mappings_total: Reading<u64>,
    /// Threads.
    pub threads: Reading<Vec<ThreadFacts>>,
}

/// What a capture keeps of a thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadFacts {
    /// Thread id.
    pub tid: u32,
    /// Name, at most 15 bytes.
    pub comm: String,
    /// Nice value.
    pub nice: i64,
}

/// Reads what a capture keeps of a process.
///
/// # Errors
/// Only when `stat` cannot be read, which means that the process has ended.
pub fn process_facts(process: &Process) -> Result<ProcessFacts, ReadError> {
    let stat = process.stat()?;
    let status = process.status();
    let of_status = |kilobytes: fn(&Status) -> Option<u64>, field: &str| match &status {
        Ok(status) => match kilobytes(status) {
            Some(value) => Reading::Known(value * 1024),
            None => Reading::unknown(format!("status has no {field}")),
        },
        Err(error) => Reading::unknown(error.to_string()),
    };
    let allowed_cpus = match &status {
        Ok(status) => match &status.cpus_allowed_list {
            Some(ranges) => Reading::Known(ranges.clone()),
            None => Reading::unknown("status has no Cpus_allowed_list"),
        },
        Err(error) => Reading::unknown(error.to_string()),
    };
    Ok(ProcessFacts {
        tgid: process.tgid(),
        parent_tgid: stat.ppid.unsigned_abs(),
        comm: stat.comm,
        start_time_ticks: stat.starttime,
        nice: stat.nice,
        resident_bytes: of_status(|status| status.vmrss, "VmRSS"),
        swapped_bytes: of_status(|status| status.vmswap, "VmSwap"),
        allowed_cpus,
        mappings_total: count_lines(&process.path("maps")).into(),
        threads: threads(process).into(),
    })
}

/// The threads of a process. One that ends while it is read is left out.
pub fn threads(process: &Process) -> Result<Vec<ThreadFacts>, ReadError> {
    let tids = process.thread_ids()?;
    Ok(tids
        .into_iter()
        .filter_map(|tid| {
            let stat = process.thread(tid).stat().ok()?;
            Some(ThreadFacts {
                tid,
                comm: stat.comm,
                nice: stat.nice,
            })
        })
        .collect())
}

fn count_lines(path: &Path) -> Result<u64, ReadError> {
    let bytes = std::fs::read(path).map_err(|error| ReadError::io(path, error))?;
    Ok(bytes.iter().filter(|&&byte| byte == b'\n').count() as u64)
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    #[test]
    fn code_is_never_of_another_file_than_the_mapped_one() {
        let tree = tempfile::tempdir().unwrap();
        let process = Process::new(&Roots::under(tree.path()), 7);
        std::fs::create_dir_all(process.path("map_files")).unwrap();
        std::fs::write(process.path("exe"), "executable").unwrap();
        let id = FileId::of(&process.path("exe")).unwrap();
        let device = |device| {
            let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
            format!("{major:02x}:{minor:02x}")
        };
        let (own, inode) = (device(id.device), id.inode);
        let other = device(id.device + 1);
        // The executable, a library, a file of the same inode elsewhere, data, and one handed out.
        std::fs::write(
            process.path("maps"),
            format!(
                "1000-2000 r-xp 00001000 {own} {inode} /exe\n\
             2000-3000 r-xp 00000000 {own} {} /lib\n\
             3000-4000 r-xp 00000000 {other} {inode} /exe\n\
             4000-5000 rw-p 00002000 {own} {inode} /exe\n\
             5000-6000 r-xp 00000000 {other} 5 /gone (deleted)\n\
             6000-7000 r-xp 00000000 00:00 0 [vdso]\n",
                inode + 1,
            ),
        )
        .unwrap();
        std::fs::write(process.path("map_files/5000-6000"), "library").unwrap();
        let code = process.mapped_code(&process).unwrap();
        let found: Vec<(Range<u64>, u64, u64)> = code
            .iter()
            .map(|code| {
                let bytes = code.file.metadata().unwrap().len();
                (code.addresses.clone(), code.file_offset, bytes)
            })
            .collect();
        assert_eq!(
            found,
            [(0x1000..0x2000, 0x1000, 10), (0x5000..0x6000, 0, 7)]
        );
    }
}
