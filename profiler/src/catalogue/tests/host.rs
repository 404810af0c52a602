//! A host as a tree of files, with a ship that is set up as most are: from there each test changes one
//! thing.

use std::os::unix::fs::symlink;
use std::path::Path;

use crate::host::Roots;
use crate::ship::tests::tree::Tree;

/// Ids of king and mars, as the recorded capture of a quiet ship has them.
pub const KING: u32 = 2385;
pub const MARS: u32 = 2386;
/// The pier.
pub const PIER: &str = "/piers/zod";

/// One change of the tree.
pub enum Edit {
    /// Writes a file.
    Put(&'static str, &'static str),
    /// Replaces a text in a file.
    Replace(&'static str, &'static str, &'static str),
    /// Removes a file or a directory.
    Remove(&'static str),
}

const FILES: &[(&str, &str)] = &[
    (
        "proc/meminfo",
        "MemTotal: 16000000 kB\nMemFree: 12000000 kB\nMemAvailable: 14000000 kB\nBuffers: 1 kB\n\
         Cached: 1 kB\nSwapCached: 0 kB\nActive: 1 kB\nInactive: 1 kB\nSwapTotal: 0 kB\n\
         SwapFree: 0 kB\nDirty: 0 kB\nWriteback: 0 kB\nAnonPages: 1 kB\nMapped: 1 kB\nShmem: 1 kB\n\
         Slab: 1 kB\nSReclaimable: 1 kB\nSUnreclaim: 1 kB\nKernelStack: 1 kB\nPageTables: 1 kB\n\
         NFS_Unstable: 0 kB\nBounce: 0 kB\nCommitLimit: 1 kB\nCommitted_AS: 1 kB\n\
         VmallocTotal: 1 kB\nVmallocUsed: 1 kB\nVmallocChunk: 0 kB\n",
    ),
    ("proc/swaps", "Filename Type Size Used Priority\n"),
    ("proc/uptime", "1000.00 3000.00\n"),
    (
        "proc/stat",
        "cpu  1000 0 1000 390000 100 0 0 0 0 0\ncpu0 1000 0 1000 390000 100 0 0 0 0 0\n\
         intr 1\nctxt 1\nbtime 1\nprocesses 1\nprocs_running 1\nprocs_blocked 0\nsoftirq 1\n",
    ),
    (
        "proc/diskstats",
        "   8       0 sda 9 0 9 9 9 0 9 9 0 9 9 0 0 0 0 9 9\n",
    ),
    ("proc/sys/kernel/osrelease", "6.1.0-18-amd64\n"),
    ("proc/sys/kernel/sched_autogroup_enabled", "0\n"),
    ("proc/sys/net/core/rmem_max", "212992\n"),
    ("proc/sys/net/core/wmem_max", "212992\n"),
    ("proc/sys/net/ipv4/tcp_congestion_control", "cubic\n"),
    ("proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n"),
    ("proc/sys/vm/dirty_background_bytes", "0\n"),
    ("proc/sys/vm/dirty_background_ratio", "10\n"),
    ("proc/sys/vm/dirty_ratio", "20\n"),
    ("proc/sys/vm/max_map_count", "65530\n"),
    ("proc/sys/vm/overcommit_memory", "0\n"),
    ("proc/sys/vm/swappiness", "60\n"),
    ("sys/devices/system/cpu/online", "0-3\n"),
    (
        "sys/kernel/mm/transparent_hugepage/enabled",
        "always [madvise] never\n",
    ),
    ("sys/devices/pci0/ata1/block/sda/dev", "8:0\n"),
    ("sys/devices/pci0/ata1/block/sda/queue/rotational", "0\n"),
    (
        "sys/devices/pci0/ata1/block/sda/queue/scheduler",
        "[none] mq-deadline\n",
    ),
    ("sys/fs/cgroup/cgroup.controllers", "cpu io memory\n"),
    ("sys/fs/cgroup/ships/cpu.max", "max 100000\n"),
    (
        "sys/fs/cgroup/ships/cpu.stat",
        "nr_periods 10\nnr_throttled 4\nthrottled_usec 9\n",
    ),
    ("sys/fs/cgroup/ships/cpu.weight", "100\n"),
    ("sys/fs/cgroup/ships/io.max", ""),
    ("sys/fs/cgroup/ships/memory.max", "max\n"),
    ("sys/fs/cgroup/ships/memory.high", "max\n"),
    ("sys/fs/cgroup/ships/memory.current", "1000\n"),
];

const MOUNTS: &str = "\
27 1 8:0 / / rw,relatime - ext4 /dev/sda rw\n\
30 27 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";

const LIMITS: &str = "\
Limit                     Soft Limit           Hard Limit           Units     \n\
Max cpu time              unlimited            unlimited            seconds   \n\
Max file size             unlimited            unlimited            bytes     \n\
Max data size             unlimited            unlimited            bytes     \n\
Max stack size            8388608              unlimited            bytes     \n\
Max core file size        0                    unlimited            bytes     \n\
Max resident set          unlimited            unlimited            bytes     \n\
Max processes             95000                95000                processes \n\
Max open files            1048576              1048576              files     \n\
Max locked memory         8388608              8388608              bytes     \n\
Max address space         unlimited            unlimited            bytes     \n\
Max file locks            unlimited            unlimited            locks     \n\
Max pending signals       95000                95000                signals   \n\
Max msgqueue size         819200               819200               bytes     \n\
Max nice priority         0                    0                    \n\
Max realtime priority     0                    0                    \n\
Max realtime timeout      unlimited            unlimited            us        \n";

const UDP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
   1: 00000000:8627 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 555 2 0 0\n";

/// The host with these changes.
pub fn host(edits: &[Edit]) -> (Tree, Roots) {
    let tree = Tree::new();
    tree.ship(KING, PIER);
    tree.put(&format!("{PIER}/.urb/log/0i0/data.mdb"), "x");
    tree.put(&format!("{PIER}/.urb/chk/image.bin"), "x");
    for (path, text) in FILES {
        tree.put(path, text);
    }
    for process in ["self".to_owned(), KING.to_string(), MARS.to_string()] {
        tree.put(&format!("proc/{process}/mountinfo"), MOUNTS);
        tree.put(&format!("proc/{process}/limits"), LIMITS);
        tree.put(
            &format!("proc/{process}/schedstat"),
            "990000000 1000000 7\n",
        );
        tree.put(&format!("proc/{process}/smaps"), "");
    }
    tree.put(&format!("proc/{KING}/net/udp"), UDP);
    tree.open_file(KING, 9, "socket:[555]");
    tree.open_file(MARS, 9, "/dev/null");
    let by_number = tree.path("sys/dev/block");
    std::fs::create_dir_all(&by_number).unwrap();
    symlink("../../devices/pci0/ata1/block/sda", by_number.join("8:0")).unwrap();
    for edit in edits {
        match edit {
            Edit::Put(path, text) => tree.put(path, text),
            Edit::Replace(path, from, to) => replace(&tree.path(path), from, to),
            Edit::Remove(path) => {
                let path = tree.path(path);
                match path.is_dir() {
                    true => std::fs::remove_dir_all(&path).unwrap(),
                    false => std::fs::remove_file(&path).unwrap(),
                }
            }
        }
    }
    let roots = tree.roots();
    (tree, roots)
}

fn replace(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{}: {text}", path.display());
    std::fs::write(path, text.replace(from, to)).unwrap();
}
