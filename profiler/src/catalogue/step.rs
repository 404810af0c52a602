//! What is done for a fix: steps as values. People see them as shell commands; who is asked to try a fix
//! out carries out those of the running host.

use serde::{Deserialize, Serialize};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Writes a value into a file of the kernel, below `/proc/sys` or `/sys`: it holds at once, and until
    /// the host (or the control group) is started again.
    WriteFile {
        /// Absolute path on the host.
        path: String,
        /// What is written, without a line's end.
        value: String,
        /// Written only where the file holds this now: for files of which one of several is meant.
        only_if: Option<String>,
    },
    /// Gives every thread of some processes a nice value.
    SetNice {
        /// The processes.
        tgids: Vec<u32>,
        /// The value, -20 (first) to 19.
        nice: i64,
    },
    /// Lets every thread of some processes run on some CPUs only.
    SetAffinity {
        /// The processes.
        tgids: Vec<u32>,
        /// The CPUs, as a list: `0-3,8`.
        cpus: String,
    },
    /// Mounts a file system again with another option.
    Remount {
        /// Where it is mounted.
        mount_point: String,
        /// The option, as `noatime`.
        option: String,
    },
    /// A command that a person runs: it makes a change last, or is beyond this host.
    Command(String),
    /// What a person does, in words.
    Advice(String),
}

impl Step {
    /// A kernel setting, by its dotted name.
    pub fn sysctl(name: &str, value: impl ToString) -> Self {
        Self::write(
            format!("/proc/sys/{}", name.replace('.', "/")),
            value.to_string(),
        )
    }

    /// A value for a file of the kernel.
    pub fn write(path: impl Into<String>, value: impl Into<String>) -> Self {
        Self::WriteFile {
            path: path.into(),
            value: value.into(),
            only_if: None,
        }
    }

    /// A command.
    pub fn command(text: impl Into<String>) -> Self {
        Self::Command(text.into())
    }

    /// Words.
    pub fn advice(text: impl Into<String>) -> Self {
        Self::Advice(text.into())
    }

    /// Whether it changes the running host at once and can be carried out without a person.
    pub fn is_live(&self) -> bool {
        !matches!(self, Self::Command(_) | Self::Advice(_))
    }

    /// As a shell command, or as words.
    pub fn text(&self) -> String {
        match self {
            Self::WriteFile {
                path,
                value,
                only_if,
            } => write_text(path, value, only_if.as_deref()),
            Self::SetNice { tgids, nice } => {
                let threads = threads(tgids);
                format!("for t in {threads}; do renice -n {nice} -p \"${{t##*/}}\"; done")
            }
            Self::SetAffinity { tgids, cpus } => tgids
                .iter()
                .map(|tgid| format!("taskset -a -c -p {} {tgid}", shell_quote(cpus)))
                .collect::<Vec<_>>()
                .join("; "),
            Self::Remount {
                mount_point,
                option,
            } => format!("mount -o remount,{option} {}", shell_quote(mount_point)),
            Self::Command(text) | Self::Advice(text) => text.clone(),
        }
    }
}

fn write_text(path: &str, value: &str, only_if: Option<&str>) -> String {
    let quoted = (shell_quote(value), shell_quote(path));
    let write = match path.strip_prefix("/proc/sys/") {
        // The name with dots is only another way to write the path.
        Some(name) if !name.contains('.') => {
            let assignment = format!("{}={value}", name.replace('/', "."));
            format!("sysctl -w {}", shell_quote(&assignment))
        }
        _ => format!("echo {} > {}", quoted.0, quoted.1),
    };
    match only_if {
        Some(old) => format!(
            "[ \"$(cat {})\" = {} ] && {write}",
            quoted.1,
            shell_quote(old)
        ),
        None => write,
    }
}

fn threads(tgids: &[u32]) -> String {
    let all: Vec<String> = tgids
        .iter()
        .map(|tgid| format!("/proc/{tgid}/task/*"))
        .collect();
    all.join(" ")
}

/// A change of the running host that can be tried out, and taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Makes it, in this order.
    pub apply: Vec<Step>,
    /// Takes it back, in this order.
    pub undo: Vec<Step>,
}

impl Trial {
    /// The live ones of some steps; nothing if there are none, or no way back from them.
    pub fn of(apply: &[Step], undo: &[Step]) -> Option<Self> {
        let live = |steps: &[Step]| -> Vec<Step> {
            steps
                .iter()
                .filter(|step| step.is_live())
                .cloned()
                .collect()
        };
        let (apply, undo) = (live(apply), live(undo));
        (!apply.is_empty() && apply.len() == undo.len()).then_some(Self { apply, undo })
    }
}

/// Keeps kernel settings over a restart of the host, in a file of our own: others may be there already.
pub fn keep_sysctls(file: &str, settings: &[(&str, String)]) -> Step {
    let lines: String = settings
        .iter()
        .map(|(name, value)| format!("{name}={value}\\n"))
        .collect();
    Step::command(format!("printf '{lines}' > {file}"))
}

/// A word as a shell reads it as one, whatever is in it.
pub fn shell_quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_shell_commands_whatever_is_in_a_name() {
        let cases = [
            (
                Step::sysctl("vm.swappiness", 10),
                "sysctl -w vm.swappiness=10",
            ),
            (
                Step::write("/sys/fs/cgroup/a b/cpu.max", "max 100000"),
                "echo 'max 100000' > '/sys/fs/cgroup/a b/cpu.max'",
            ),
            (
                Step::WriteFile {
                    path: "/sys/fs/cgroup/x/memory.high".to_owned(),
                    value: "2".to_owned(),
                    only_if: Some("1".to_owned()),
                },
                "[ \"$(cat /sys/fs/cgroup/x/memory.high)\" = 1 ] && echo 2 > /sys/fs/cgroup/x/memory.high",
            ),
            (
                Step::SetNice {
                    tgids: vec![7, 8],
                    nice: -10,
                },
                "for t in /proc/7/task/* /proc/8/task/*; do renice -n -10 -p \"${t##*/}\"; done",
            ),
            (
                Step::SetAffinity {
                    tgids: vec![7, 8],
                    cpus: "0-3,8".to_owned(),
                },
                "taskset -a -c -p 0-3,8 7; taskset -a -c -p 0-3,8 8",
            ),
            (
                Step::Remount {
                    mount_point: "/mnt/it's".to_owned(),
                    option: "noatime".to_owned(),
                },
                r"mount -o remount,noatime '/mnt/it'\''s'",
            ),
        ];
        for (step, text) in cases {
            assert!(step.is_live());
            assert_eq!(step.text(), text);
        }
    }

    #[test]
    fn only_what_can_be_taken_back_can_be_tried_out() {
        let (live, words) = (Step::sysctl("vm.swappiness", 10), Step::advice("restart"));
        let both = [live.clone(), words.clone()];
        let trial = Trial::of(&both, &both).unwrap();
        assert_eq!(trial.apply, std::slice::from_ref(&live));
        assert_eq!(Trial::of(&both, std::slice::from_ref(&words)), None);
        assert_eq!(Trial::of(&[words], &[live]), None);
    }

    #[test]
    fn quoted_words_stay_one_word() {
        assert_eq!(
            shell_quote("/sys/fs/cgroup/a.slice"),
            "/sys/fs/cgroup/a.slice"
        );
        assert_eq!(shell_quote("a b; rm -rf 'x'"), r"'a b; rm -rf '\''x'\'''");
        assert_eq!(shell_quote(""), "''");
    }
}
