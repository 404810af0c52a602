//! What a process' arguments say: which of vere's commands it runs, on which pier, and how mars
//! is configured. Mars' arguments are a complete record of its configuration
//! (vere `pkg/vere/lord.c`, `_lord_boot` and `u3_lord_init`).

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Which arrangement of king and Nock process a ship has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Generation {
    /// v4.0 and later: mars owns the event log (`work --snap-dir …`).
    Mars,
    /// Up to v3.5: `serf <pier> …`; the king owns the event log.
    Serf,
    /// Only the king runs, which looks the same in both.
    Unknown,
}

/// What a process with given arguments is to a ship.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The Nock process of a ship.
    Mars(Box<MarsArguments>),
    /// One of vere's commands that run once, on a pier that no ship may be using.
    Utility(String),
    /// Anything else; a king is told by its child, or by its executable.
    Other,
}

/// The arguments of a Nock process, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarsArguments {
    /// `work`/`boot`, or the older `serf`.
    pub generation: Generation,
    /// Whether a new ship is being booted.
    pub booting: bool,
    /// The pier as given; absolute from v4.0, before that it may be relative.
    pub pier: PathBuf,
    /// The rest.
    pub config: MarsConfig,
}

/// The configuration that mars was started with. `None`: the arguments do not say, so vere's
/// default holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarsConfig {
    /// Loom size as a power of two.
    pub loom_bex: Option<u8>,
    /// Seconds between snapshots.
    pub snap_time_s: Option<u64>,
    /// The flag word of `--runtime-config`.
    pub runtime_flags: Option<RuntimeFlags>,
    /// Size of the event log's memory map, which is also its largest size.
    pub lmdb_map_bytes: Option<u64>,
    /// Entries of the memoization cache of one event (`-C`).
    pub temporary_cache_entries: Option<u64>,
    /// Entries of the persistent memoization cache (`-M`).
    pub persistent_cache_entries: Option<u64>,
    /// Pages tossed by `--toss`; 0 is off.
    pub toss: Option<u64>,
    /// Last event to replay, when replay was asked for.
    pub play_until: Option<u64>,
    /// The swap file of `--swap`.
    pub ephemeral_file: Option<PathBuf>,
}

impl MarsConfig {
    /// Size of the loom, where its exponent is known and sane.
    pub fn loom_bytes(&self) -> Option<u64> {
        1_u64.checked_shl(u32::from(self.loom_bex?))
    }
}

/// vere's execution flags (`enum u3o_flag`, `pkg/noun/options.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RuntimeFlags(pub u32);

impl RuntimeFlags {
    /// `-P`: vere's own profiler.
    pub const PROFILE: Self = Self(0x2);
    /// `-v`.
    pub const VERBOSE: Self = Self(0x10);
    /// Hashing of the jet battery is off; normal.
    pub const HASHLESS: Self = Self(0x80);
    /// `-j`: JSON trace.
    pub const TRACE: Self = Self(0x100);
    /// `--no-demand`: the snapshot is read into memory at the start instead of page by page.
    pub const NO_DEMAND: Self = Self(0x200);
    /// `--swap`: dirty pages go to a file.
    pub const SWAP: Self = Self(0x1000);
    /// `--toss`.
    pub const TOSS: Self = Self(0x2000);

    const NAMES: [(Self, &'static str); 7] = [
        (Self::PROFILE, "profile"),
        (Self::VERBOSE, "verbose"),
        (Self::HASHLESS, "hashless"),
        (Self::TRACE, "trace"),
        (Self::NO_DEMAND, "no-demand"),
        (Self::SWAP, "swap"),
        (Self::TOSS, "toss"),
    ];

    /// Whether all bits of `flag` are set.
    pub fn contains(self, flag: Self) -> bool {
        self.0 & flag.0 == flag.0
    }

    /// Names of the set flags; bits without a name here are given in hexadecimal.
    pub fn names(self) -> Vec<String> {
        let mut names = Vec::new();
        let mut unnamed = self.0;
        for (flag, name) in Self::NAMES {
            if self.contains(flag) {
                names.push(name.to_owned());
                unnamed &= !flag.0;
            }
        }
        if unnamed != 0 {
            names.push(format!("{unnamed:#x}"));
        }
        names
    }
}

/// Commands that run once and end (vere `pkg/vere/main.c`, the dispatch over `argv[1]`).
const UTILITIES: [&str; 20] = [
    "chop", "cram", "dock", "eval", "grab", "info", "mass", "meld", "melt", "next", "pack", "play",
    "prep", "queu", "roll", "vere", "vile", "boot", "serf", "work",
];

/// Decodes the arguments of a process.
pub fn command(arguments: &[String]) -> Command {
    let [_, word, rest @ ..] = arguments else {
        return Command::Other;
    };
    let mars = match word.as_str() {
        "work" | "boot" => named_arguments(word == "boot", rest),
        "serf" => positional_arguments(rest),
        _ => None,
    };
    match mars {
        Some(mars) => Command::Mars(Box::new(mars)),
        None if UTILITIES.contains(&word.as_str()) => Command::Utility(word.clone()),
        None => Command::Other,
    }
}

/// v4: `work --snap-dir DIR --loom 31 …`, options in any order, `--name value` or `--name=value`.
fn named_arguments(booting: bool, arguments: &[String]) -> Option<MarsArguments> {
    let mut config = MarsConfig::default();
    let mut pier = None;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let Some(option) = argument.strip_prefix("--") else {
            continue;
        };
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            // A following option is not this one's value: not every option takes one.
            None => match rest.as_slice().first() {
                Some(next) if !next.starts_with("--") => (option, rest.next().cloned()),
                _ => (option, None),
            },
        };
        let Some(value) = value else { continue };
        match name {
            "snap-dir" => pier = Some(PathBuf::from(value)),
            "loom" => config.loom_bex = value.parse().ok(),
            "snap-time" => config.snap_time_s = value.parse().ok(),
            "runtime-config" => config.runtime_flags = value.parse().ok().map(RuntimeFlags),
            "lmdb-map-size" => config.lmdb_map_bytes = value.parse().ok(),
            "temporary-cache-size" => config.temporary_cache_entries = value.parse().ok(),
            "persistent-cache-size" => config.persistent_cache_entries = value.parse().ok(),
            "toss" => config.toss = value.parse().ok(),
            "play-until" => config.play_until = value.parse().ok(),
            "ephemeral-file" => config.ephemeral_file = Some(PathBuf::from(value)),
            _ => {}
        }
    }
    Some(MarsArguments {
        generation: Generation::Mars,
        booting,
        pier: pier?,
        config,
    })
}

/// Up to v3.5: `serf PIER KEY FLAGS MEMO LOOM ROC [EPH TOSS [PERSIST]]`.
fn positional_arguments(arguments: &[String]) -> Option<MarsArguments> {
    let [pier, _key, flags, memo, loom, _roc, rest @ ..] = arguments else {
        return None;
    };
    let given = |index: usize| rest.get(index).filter(|value| value.as_str() != "0");
    Some(MarsArguments {
        generation: Generation::Serf,
        booting: false,
        pier: PathBuf::from(pier),
        config: MarsConfig {
            loom_bex: loom.parse().ok(),
            runtime_flags: flags.parse().ok().map(RuntimeFlags),
            temporary_cache_entries: memo.parse().ok(),
            ephemeral_file: given(0).map(PathBuf::from),
            toss: rest.get(1).and_then(|value| value.parse().ok()),
            persistent_cache_entries: rest.get(2).and_then(|value| value.parse().ok()),
            ..MarsConfig::default()
        },
    })
}

/// Paths in a king's own arguments that may be its pier, likeliest first: the directory of
/// `<pier>/.run`, else any argument that is no option, from the last one back (vere
/// `pkg/vere/main.c`, `_main_getopt`). The caller looks which of them is a pier.
pub fn king_pier_candidates(arguments: &[String]) -> Vec<PathBuf> {
    let Some((program, options)) = arguments.split_first() else {
        return Vec::new();
    };
    let program = Path::new(program);
    if program.file_name().is_some_and(|name| name == ".run") {
        return program
            .parent()
            .map(Path::to_path_buf)
            .into_iter()
            .collect();
    }
    let mut candidates: Vec<PathBuf> = options
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .map(PathBuf::from)
        .collect();
    candidates.reverse();
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    fn mars(line: &str) -> MarsArguments {
        match command(&split(line)) {
            Command::Mars(mars) => *mars,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn v4_arguments_are_a_complete_record() {
        let mars = mars(
            "/home/a/zod/.run work --snap-dir /home/a/zod --runtime-config 4752 \
             --temporary-cache-size 50000 --loom 32 --toss 0 --persistent-cache-size 40000 \
             --snap-time 120 --lmdb-map-size 1099511627776 --ephemeral-file /home/a/l.bin",
        );
        assert_eq!(mars.generation, Generation::Mars);
        assert!(!mars.booting);
        assert_eq!(mars.pier, Path::new("/home/a/zod"));
        assert_eq!(
            mars.config,
            MarsConfig {
                loom_bex: Some(32),
                snap_time_s: Some(120),
                runtime_flags: Some(RuntimeFlags(4752)),
                lmdb_map_bytes: Some(1 << 40),
                temporary_cache_entries: Some(50_000),
                persistent_cache_entries: Some(40_000),
                toss: Some(0),
                play_until: None,
                ephemeral_file: Some("/home/a/l.bin".into()),
            }
        );
        assert_eq!(mars.config.loom_bytes(), Some(4 << 30));
        // 4752 = 0x1290
        assert_eq!(
            RuntimeFlags(4752).names(),
            ["verbose", "hashless", "no-demand", "swap"]
        );
        assert_eq!(RuntimeFlags(0x480).names(), ["hashless", "0x400"]);
    }

    #[test]
    fn v3_arguments_are_positional() {
        let serf = mars("urbit serf zod 0:0 128 50000 31 0 0 0 50000");
        assert_eq!(serf.generation, Generation::Serf);
        assert_eq!(serf.pier, Path::new("zod"));
        assert_eq!(serf.config.loom_bex, Some(31));
        assert_eq!(serf.config.runtime_flags, Some(RuntimeFlags::HASHLESS));
        assert_eq!(serf.config.persistent_cache_entries, Some(50_000));
        assert_eq!(serf.config.ephemeral_file, None);
        // v2.0 stops after ROC.
        assert_eq!(
            mars("urbit serf /p 0:0 128 50000 31 0").pier,
            Path::new("/p")
        );
    }

    #[test]
    fn boot_is_mars_and_utilities_are_not() {
        assert!(mars("urbit boot --snap-dir=/p --loom=31").booting);
        for word in ["pack", "meld", "play", "work", "serf"] {
            assert_eq!(
                command(&split(&format!("urbit {word} zod"))),
                Command::Utility(word.to_owned())
            );
        }
        assert_eq!(command(&split("vim work.txt")), Command::Other);
        assert_eq!(command(&split("urbit")), Command::Other);
        assert_eq!(command(&[]), Command::Other);
    }

    #[test]
    fn the_king_names_its_pier() {
        let candidates = |line| king_pier_candidates(&split(line));
        assert_eq!(candidates("/p/zod/.run -t"), [Path::new("/p/zod")]);
        assert_eq!(
            candidates("urbit -p 34343 zod -t"),
            [Path::new("zod"), Path::new("34343")]
        );
        assert!(king_pier_candidates(&[]).is_empty());
    }
}
