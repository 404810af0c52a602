//! Commands that make a change last, as the ship is run here: by a systemd unit, in a container, by hand.

use super::Situation;
use super::step::{Step, shell_quote};
use crate::host::runner::Runner;

/// A file of our own beside those of others.
const SCHEDULER_RULE: &str = "/etc/udev/rules.d/90-profile-io-scheduler.rules";

/// What is to last.
#[derive(Debug, Clone, Copy)]
pub enum Lasting {
    /// The CPU quota is that of so many CPUs, which are all there are.
    CpuQuota(u32),
    /// No limit on I/O.
    IoLimits,
    /// A nice value.
    Nice(i64),
    /// All CPUs, of which there are so many.
    AllCpus(u32),
    /// A limit on memory.
    Memory {
        /// In MiB.
        mib: u64,
    },
    /// A flag of vere with its value, or without it vere's default.
    Flag(&'static str, Option<u64>),
}

impl Lasting {
    /// Name of the drop-in, and its lines.
    fn drop_in(self) -> Option<(&'static str, String)> {
        match self {
            Self::CpuQuota(_) => Some(("cpu-quota", "CPUQuota=".to_owned())),
            Self::IoLimits => Some((
                "io-limit",
                "IOReadBandwidthMax=\\nIOWriteBandwidthMax=\\nIOReadIOPSMax=\\nIOWriteIOPSMax="
                    .to_owned(),
            )),
            Self::Nice(nice) => Some(("nice", format!("Nice={nice}"))),
            Self::AllCpus(_) => Some(("affinity", "CPUAffinity=\\nAllowedCPUs=".to_owned())),
            Self::Memory { mib } => {
                Some(("memory", format!("MemoryMax={mib}M\\nMemoryHigh=infinity")))
            }
            Self::Flag(..) => None,
        }
    }

    /// Arguments of `docker update`, which Podman takes too.
    fn container_update(self) -> Option<String> {
        match self {
            Self::CpuQuota(cpus) => Some(format!("--cpus {cpus}")),
            Self::AllCpus(cpus) => Some(format!("--cpuset-cpus 0-{}", cpus.saturating_sub(1))),
            // Docker's own default is as much swap again.
            Self::Memory { mib } => Some(format!(
                "--memory {mib}m --memory-swap {}m",
                mib.saturating_mul(2)
            )),
            Self::IoLimits | Self::Nice(_) | Self::Flag(..) => None,
        }
    }

    /// In words, where there is no command for it.
    fn words(self) -> String {
        match self {
            Self::CpuQuota(_) => "without a CPU quota".to_owned(),
            Self::IoLimits => "without its I/O limits (--device-…)".to_owned(),
            Self::Nice(nice) => format!("with the nice value {nice}"),
            Self::AllCpus(_) => "on all CPUs".to_owned(),
            Self::Memory { mib } => format!("with {mib} MiB of memory"),
            Self::Flag(name, Some(value)) => format!("with {name} {value}"),
            Self::Flag(name, None) => format!("without {name}"),
        }
    }
}

/// What makes a change last.
pub fn keep(situation: &Situation<'_>, lasting: &Lasting) -> Vec<Step> {
    let lasting = *lasting;
    match runner(situation) {
        Some(Runner::Unit { name, of_user, .. }) => match lasting.drop_in() {
            Some((file, lines)) => vec![Step::command(drop_in(name, *of_user, file, &lines))],
            None => vec![Step::advice(format!(
                "for good: systemctl{} edit --full {}: in ExecStart= {}; then restart it",
                if *of_user { " --user" } else { "" },
                shell_quote(name),
                lasting.words()
            ))],
        },
        Some(found @ (Runner::Docker { .. } | Runner::Podman { .. })) => {
            let program = match found {
                Runner::Podman { .. } => "podman",
                _ => "docker",
            };
            let container = shell_quote(found.container());
            vec![match lasting.container_update() {
                Some(arguments) => {
                    Step::command(format!("{program} update {arguments} {container}"))
                }
                None => Step::advice(format!(
                    "for good: make the container {container} again, {}",
                    lasting.words()
                )),
            }]
        }
        Some(Runner::GroundSeg { ship, .. }) => vec![Step::advice(match lasting {
            Lasting::Flag(..) => {
                format!(
                    "in GroundSeg, the settings of {ship}: start it {}",
                    lasting.words()
                )
            }
            _ => format!(
                "GroundSeg makes the container of {ship} anew: start it again {}, each time",
                lasting.words()
            ),
        })],
        Some(Runner::Bare) => vec![Step::advice(bare(lasting))],
        // What runs it is not known.
        Some(Runner::Container { .. }) | None => vec![Step::advice(match lasting.drop_in() {
            Some(("io-limit", _)) => {
                "for good: no IO…Max= in the ship's unit, no --device-… of Docker".to_owned()
            }
            Some((_, lines)) => {
                let line = lines.split("\\n").next().unwrap_or_default();
                let update = lasting.container_update();
                let update = update.map_or(String::new(), |arguments| {
                    format!(", or docker update {arguments} CONTAINER")
                });
                format!("for good: {line} in the ship's unit{update}")
            }
            None => format!("restart the ship {}", lasting.words()),
        })],
    }
}

fn bare(lasting: Lasting) -> String {
    match lasting {
        Lasting::Nice(nice) => format!("for good: start the ship by nice -n {nice} …"),
        Lasting::Flag(..) => format!("restart the ship {}", lasting.words()),
        _ => format!(
            "for good: whoever set the limit has to start the ship {}",
            lasting.words()
        ),
    }
}

/// What takes it back.
pub fn forget(situation: &Situation<'_>, lasting: &Lasting) -> Vec<Step> {
    let Some(Runner::Unit { name, of_user, .. }) = runner(situation) else {
        return Vec::new();
    };
    let Some((file, _)) = lasting.drop_in() else {
        return Vec::new();
    };
    let path = drop_in_path(name, *of_user, file);
    vec![Step::command(format!("rm {path} && {}", reload(*of_user)))]
}

fn drop_in(unit: &str, of_user: bool, file: &str, lines: &str) -> String {
    let path = drop_in_path(unit, of_user, file);
    format!(
        "mkdir -p {} && printf '[Service]\\n{lines}\\n' > {path} && {}",
        drop_in_directory(unit, of_user),
        reload(of_user)
    )
}

fn drop_in_directory(unit: &str, of_user: bool) -> String {
    match of_user {
        false => shell_quote(&format!("/etc/systemd/system/{unit}.d")),
        // Not quoted whole: the shell has to know where home is.
        true => format!(
            "~/.config/systemd/user/{}",
            shell_quote(&format!("{unit}.d"))
        ),
    }
}

fn drop_in_path(unit: &str, of_user: bool, file: &str) -> String {
    format!(
        "{}/90-profile-{file}.conf",
        drop_in_directory(unit, of_user)
    )
}

fn reload(of_user: bool) -> &'static str {
    match of_user {
        false => "systemctl daemon-reload",
        true => "systemctl --user daemon-reload",
    }
}

/// Restarts the ship.
pub fn restart(situation: &Situation<'_>) -> Step {
    match runner(situation) {
        Some(Runner::Unit { name, of_user, .. }) => Step::command(format!(
            "systemctl{} restart {}",
            if *of_user { " --user" } else { "" },
            shell_quote(name)
        )),
        Some(found @ Runner::Docker { .. }) => {
            Step::command(format!("docker restart {}", shell_quote(found.container())))
        }
        Some(found @ Runner::Podman { .. }) => {
            Step::command(format!("podman restart {}", shell_quote(found.container())))
        }
        Some(Runner::GroundSeg { ship, .. }) => {
            Step::advice(format!("in GroundSeg, restart {ship}"))
        }
        _ => Step::advice("restart the ship"),
    }
}

/// Moves the pier to another place.
pub fn moving(situation: &Situation<'_>, to: &str) -> Vec<Step> {
    let pier = shell_quote(&situation.meta().ship.pier.reachable.display().to_string());
    vec![
        Step::advice(format!(
            "stop the ship, then copy its pier: rsync -aHAX --sparse {pier}/ {to}"
        )),
        Step::advice(
            "start it from the new place and delete the old pier only when it runs: never run both",
        ),
    ]
}

/// Keeps an I/O scheduler over restarts of the host.
pub fn keep_scheduler(disk: &str, scheduler: &str) -> Step {
    let rule = format!(
        "ACTION==\"add|change\", KERNEL==\"{disk}\", ATTR{{queue/scheduler}}=\"{scheduler}\""
    );
    Step::command(format!("echo {} > {SCHEDULER_RULE}", shell_quote(&rule)))
}

/// Takes that back.
pub fn forget_scheduler() -> Step {
    Step::command(format!("rm {SCHEDULER_RULE}"))
}

fn runner<'a>(situation: &Situation<'a>) -> Option<&'a Runner> {
    situation.setup().ok()?.runner.known()
}
