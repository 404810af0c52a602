//! Command lines: the king's, mars' (which is vere's, word for word), and the peer's.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use noun::Ship;

/// Environment variables by which the king tells mars what vere's command line has no room for.
pub mod env {
    /// File that gets mars' ground truth.
    pub const TRUTH: &str = "REFERENCE_SHIP_TRUTH";
    /// Heap pages of a new pier.
    pub const HEAP_PAGES: &str = "REFERENCE_SHIP_HEAP_PAGES";
    /// Bytes that it prints per event.
    pub const PRINT_BYTES: &str = "REFERENCE_SHIP_PRINT_BYTES";
    /// How its lists of hints are made.
    pub const HINTS: &str = "REFERENCE_SHIP_HINTS";
    /// Name of the ship in a new pier.
    pub const SHIP: &str = "REFERENCE_SHIP_NAME";
}

/// A ship with a workload of known size. Stops cleanly on SIGTERM. Mars is started by it; packets come from
/// `reference-ship peer`.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "reference-ship",
    version,
    after_help = "Examples:\n  \
        reference-ship --events-per-second 50 --compute-us 5000 --truth /dev/shm/truth.jsonl --seconds 30 ./zod\n  \
        reference-ship peer --port 34543 --packets-per-second 200 --bytes 1000 --seconds 10"
)]
pub struct KingOptions {
    /// Directory of the ship; made when missing
    pub pier: PathBuf,

    /// Size of the loom, as a power of two in bytes
    #[arg(long, value_name = "BEX", default_value_t = 31, value_parser = clap::value_parser!(u32).range(24..=34))]
    pub loom: u32,

    /// UDP port for Ames; 0 lets the kernel choose
    #[arg(short = 'p', long = "port", value_name = "PORT", default_value_t = 0)]
    pub port: u16,

    /// Version of vere whose processes, messages and commits the ship has
    #[arg(long, value_name = "GENERATION", value_enum, default_value_t)]
    pub generation: Generation,

    /// Name of the ship in a new pier
    #[arg(long, value_name = "NAME", default_value = "~zod")]
    pub ship: Ship,

    /// Timer events per second
    #[arg(long, value_name = "F", default_value_t = 20.0)]
    pub events_per_second: f64,

    /// Computing per event, in microseconds of CPU
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 2000)]
    pub compute_us: u64,

    /// Clean loom pages (16 KiB) written to per event
    #[arg(long, value_name = "PAGES", default_value_t = 4)]
    pub dirty_pages: u64,

    /// Text that mars prints per event, through the king, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub print_bytes: usize,

    /// Heap of a new pier, in loom pages (16 KiB)
    #[arg(long, value_name = "PAGES", default_value_t = 1024)]
    pub heap_pages: u32,

    /// Computing in the king per packet received, in microseconds of CPU
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 0)]
    pub king_compute_us: u64,

    /// Mesa peeks per second, to the ships that packets came from, in turn
    #[arg(long, value_name = "F", default_value_t = 0.0)]
    pub peeks_per_second: f64,

    /// Receive buffer asked for the Ames socket, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 2 << 20)]
    pub rcvbuf: u32,

    /// Share of events that fail once and are then noted by a second event, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub bail_share: f64,

    /// How the lists of hints of a computation are made
    #[arg(long, value_name = "SHAPE", value_enum, default_value_t)]
    pub hints: Hints,

    /// Time between snapshots, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub snap_seconds: u64,

    /// Run time in seconds; 0 is until SIGTERM
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub seconds: u64,

    /// File for the ground truth as JSON lines; mars writes its part to FILE.mars. Best on a tmpfs, off the ship's disk
    #[arg(long, value_name = "FILE")]
    pub truth: Option<PathBuf>,
}

/// Which of vere's arrangements the ship has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Generation {
    /// vere 4.6: mars commits, and answers when that is done
    #[default]
    Mars,
    /// vere 3.5: the serf answers at once, the king commits and holds the effects back
    Serf,
}

/// How the lists of hints of a computation are made: all but the first three are damaged memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Hints {
    /// As vere makes them
    #[default]
    Sound,
    /// The same, by a kernel that leaves no labels on the spin page
    Unlabelled,
    /// As vere makes them, each piece begun and ended again after some microseconds, in the same memory
    Churn,
    /// A list that leads back into itself
    Loop,
    /// A list of which a part lies where nothing is mapped
    Unmapped,
    /// A list that ends in a number
    Number,
    /// 600 hints
    Many,
    /// 20 roads inside each other
    Roads,
    /// Version words of no known layout
    Layout,
}

/// What the king passes to mars, with vere's names.
#[derive(Debug, Clone, Parser)]
#[command(name = "work")]
pub struct MarsOptions {
    /// The pier, as an absolute path
    #[arg(long)]
    pub snap_dir: PathBuf,
    /// vere's flag word
    #[arg(long)]
    pub runtime_config: u32,
    /// Entries of the transient memo cache
    #[arg(long)]
    pub temporary_cache_size: u32,
    /// Size of the loom, as a power of two in bytes
    #[arg(long)]
    pub loom: u32,
    /// Loom pages to drop from memory after an event
    #[arg(long)]
    pub toss: u32,
    /// Entries of the persistent memo cache
    #[arg(long)]
    pub persistent_cache_size: u32,
    /// Seconds between snapshots
    #[arg(long)]
    pub snap_time: u64,
    /// Size of the event log's map, in bytes
    #[arg(long)]
    pub lmdb_map_size: usize,
}

/// What the king passes to a serf (vere 3.5 `lord.c:1250-1276`).
#[derive(Debug, Clone, Parser)]
#[command(name = "serf")]
pub struct SerfOptions {
    /// The pier
    pub pier: PathBuf,
    /// A key that nothing is encrypted with
    pub key: String,
    /// vere's flag word
    pub flags: u32,
    /// Entries of the transient memo cache
    pub temporary_cache_size: u32,
    /// Size of the loom, as a power of two in bytes
    pub loom: u32,
    /// Event to load a portable state at; 0 is none
    pub roc: u64,
    /// File for pages that have no room in memory; 0 is none
    pub ephemeral: String,
    /// Loom pages to drop from memory after an event
    pub toss: u32,
    /// Entries of the persistent memo cache
    pub persistent_cache_size: u32,
}

/// Sends valid Ames and Mesa packets from several ships to a port of this machine, and prints how many, as JSON.
#[derive(Debug, Clone, Parser)]
#[command(name = "reference-ship peer")]
pub struct PeerOptions {
    /// UDP port of the ship
    #[arg(long)]
    pub port: u16,

    /// Packets per second
    #[arg(long, value_name = "F", default_value_t = 100.0)]
    pub packets_per_second: f64,

    /// Size of a packet, in bytes of UDP payload
    #[arg(long, value_name = "BYTES", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(64..=1472))]
    pub bytes: u32,

    /// Run time in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub seconds: u64,

    /// Time after which a peek is answered, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub answer_ms: u64,

    /// Packets sent back to back; the rate stays the same
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub bursts: u32,
}
