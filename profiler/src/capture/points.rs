//! What the programs attach to, and what is missing where one of them cannot.

/// A program that attaches to a tracepoint, and what is missing without it.
pub struct Tracepoint {
    /// Its name, which is the program's too.
    pub name: &'static str,
    /// Whether there is no report without it.
    pub required: bool,
    /// What is missing without it.
    pub without: &'static str,
    /// Whether only records tell what it tells: then it is left out where nothing is recorded.
    pub for_records: bool,
}

/// All of them.
pub const TRACEPOINTS: &[Tracepoint] = &[
    tracepoint("sched_switch", true, "thread budgets"),
    tracepoint("sched_wakeup", true, "thread budgets"),
    Tracepoint {
        for_records: true,
        ..tracepoint("sched_waking", false, "who woke a thread")
    },
    tracepoint(
        "sched_process_fork",
        false,
        "threads and processes started during the capture",
    ),
    tracepoint(
        "sched_process_exit",
        false,
        "threads that end during the capture",
    ),
    tracepoint(
        "mm_vmscan_direct_reclaim_begin",
        false,
        "time that threads had to free memory",
    ),
    tracepoint(
        "mm_vmscan_direct_reclaim_end",
        false,
        "time that threads had to free memory",
    ),
    tracepoint(
        "mm_vmscan_memcg_reclaim_begin",
        false,
        "time that threads had to free memory of their control group",
    ),
    tracepoint(
        "mm_vmscan_memcg_reclaim_end",
        false,
        "time that threads had to free memory of their control group",
    ),
    tracepoint(
        "mm_compaction_begin",
        false,
        "time that threads had to move pages",
    ),
    tracepoint(
        "mm_compaction_end",
        false,
        "time that threads had to move pages",
    ),
    tracepoint("signal_generate", false, "pages of the loom made dirty"),
    tracepoint(
        "mm_filemap_add_to_page_cache",
        false,
        "when and how long the ship stood still for a snapshot",
    ),
    tracepoint("block_bio_queue", false, "block I/O"),
    tracepoint(
        "block_split",
        false,
        "block I/O larger than the device takes at once",
    ),
    tracepoint(
        "block_rq_issue",
        false,
        "time that block I/O waited in the queue",
    ),
    tracepoint("block_rq_complete", false, "block I/O"),
    tracepoint("block_bio_complete", false, "block I/O on stacked devices"),
    tracepoint(
        "sock_recv_length",
        false,
        "datagrams received (kernel 6.3 and later)",
    ),
    tracepoint(
        SOCK_SEND_LENGTH,
        false,
        "datagrams sent (kernel 6.3 and later)",
    ),
    Tracepoint {
        for_records: true,
        ..tracepoint(
            SYS_ENTER,
            false,
            "how long the ship's events took, and where",
        )
    },
    tracepoint(
        "udp_fail_queue_rcv_skb",
        false,
        "datagrams lost at a full receive buffer",
    ),
];

const fn tracepoint(name: &'static str, required: bool, without: &'static str) -> Tracepoint {
    Tracepoint {
        name,
        required,
        without,
        for_records: false,
    }
}

/// The tracepoint that says what is sent into sockets (6.3 and later).
pub(super) const SOCK_SEND_LENGTH: &str = "sock_send_length";
/// The entries of all syscalls, of which a few tell the ship's events apart. For kernels that let none of
/// [`ENTRIES`] be attached.
pub(super) const SYS_ENTER: &str = "sys_enter";

/// A program that sees the entries of one system call, where the kernel lets programs be called by its
/// functions (x86_64 since 5.5, arm64 since 6.0, with `CONFIG_FUNCTION_TRACER`).
pub struct Entry {
    /// Its name, and that of the capture's status of it.
    pub name: &'static str,
    /// The call.
    pub call: &'static str,
    /// Whether only records tell what it tells.
    pub for_records: bool,
}

/// All of them.
pub const ENTRIES: &[Entry] = &[
    entry("enter_writev", "writev", false),
    entry("enter_epoll_pwait", "epoll_pwait", true),
    entry("enter_sigaltstack", "sigaltstack", true),
    entry("enter_fdatasync", "fdatasync", true),
];

const fn entry(name: &'static str, call: &'static str, for_records: bool) -> Entry {
    Entry {
        name,
        call,
        for_records,
    }
}

/// Name of the sampling program.
pub(super) const CPU_CLOCK: &str = "cpu_clock";
/// Program that goes on with a sample where [`CPU_CLOCK`] ends.
pub(super) const CPU_CLOCK_HOON: &str = "cpu_clock_hoon";
/// Name of the program for major faults, and what is missing without it.
pub(super) const PAGE_FAULT_MAJOR: (&str, &str) = (
    "page_fault_major",
    "which files and addresses major faults were for",
);
