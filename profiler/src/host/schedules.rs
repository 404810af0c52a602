//! Whether this host packs or melds ships by the calendar: in cron's files, in timers of systemd, in the
//! settings of GroundSeg.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ReadError, Roots, entry_names, read_text};

/// Single files of cron (crontab(5), cron(8)).
const CRONTABS: [&str; 1] = ["/etc/crontab"];
/// Directories of crontabs, and of scripts that cron runs.
const CRON_DIRECTORIES: [&str; 7] = [
    "/etc/cron.d",
    "/etc/cron.hourly",
    "/etc/cron.daily",
    "/etc/cron.weekly",
    "/etc/cron.monthly",
    "/var/spool/cron/crontabs",
    "/var/spool/cron",
];
/// Where systemd looks for timers (systemd.unit(5)).
const TIMER_DIRECTORIES: [&str; 4] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
/// GroundSeg's settings, one file a ship; it packs and melds by `meld_schedule`.
const GROUNDSEG_PIERS: &str = "/opt/nativeplanet/groundseg/settings/pier";
/// A script that is larger than this is not looked into.
const MAX_SCRIPT_BYTES: u64 = 64 << 10;
/// Most characters of a command that are kept.
const MAX_COMMAND_CHARS: usize = 160;
/// Words without which `pack` and `meld` may mean anything.
const SHIP_WORDS: [&str; 9] = [
    "urbit",
    "vere",
    "click",
    "hood",
    "helm",
    "dojo",
    "lens",
    "pier",
    "groundseg",
];

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedules {
    /// Commands that pack or meld.
    pub found: Vec<Schedule>,
    /// Files and directories that may not be read: something may be there.
    pub unread: Vec<String>,
}

/// One command that packs or melds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// The file that says so.
    pub file: PathBuf,
    /// Its line, cut.
    pub command: String,
    /// Whether it packs.
    pub packs: bool,
    /// Whether it melds.
    pub melds: bool,
}

/// Looks through all of them. What is not there is no schedule.
pub fn schedules(roots: &Roots) -> Schedules {
    let mut all = Schedules::default();
    for file in CRONTABS {
        all.look(roots, Path::new(file), lines_of_crontab);
    }
    for directory in CRON_DIRECTORIES {
        for file in all.files(roots, directory, "") {
            all.look(roots, &file, lines_of_crontab);
        }
    }
    for directory in TIMER_DIRECTORIES {
        for timer in all.files(roots, directory, ".timer") {
            all.look_at_timer(roots, &timer);
        }
    }
    for settings in all.files(roots, GROUNDSEG_PIERS, ".json") {
        all.look_at_groundseg(roots, &settings);
    }
    all.found
        .sort_by(|a, b| (&a.file, &a.command).cmp(&(&b.file, &b.command)));
    // On most systems /lib is /usr/lib.
    all.found
        .dedup_by(|a, b| a.file.file_name() == b.file.file_name() && a.command == b.command);
    all
}

/// Lines that are neither empty nor comments.
fn lines_of_crontab(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim);
    let kept = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    kept.map(str::to_owned).collect()
}

impl Schedules {
    /// Files of a directory whose names end in `suffix`.
    fn files(&mut self, roots: &Roots, directory: &str, suffix: &str) -> Vec<PathBuf> {
        match entry_names(&roots.host_path(Path::new(directory))) {
            Ok(names) => names
                .iter()
                .filter(|name| name.to_string_lossy().ends_with(suffix))
                .map(|name| Path::new(directory).join(name))
                .filter(|path| roots.host_path(path).is_file())
                .collect(),
            Err(error) => {
                self.note(directory, &error);
                Vec::new()
            }
        }
    }

    fn note(&mut self, what: &str, error: &ReadError) {
        if !error.is_absent() {
            self.unread.push(what.to_owned());
        }
    }

    fn read(&mut self, roots: &Roots, file: &Path) -> Option<String> {
        match read_text(&roots.host_path(file)) {
            Ok(text) => Some(text),
            Err(error) => {
                self.note(&file.to_string_lossy(), &error);
                None
            }
        }
    }

    fn look(&mut self, roots: &Roots, file: &Path, lines: fn(&str) -> Vec<String>) {
        let Some(text) = self.read(roots, file) else {
            return;
        };
        for line in lines(&text) {
            self.add(roots, file, &line);
        }
    }

    /// The commands of the service that a timer starts: its own name, unless it names another.
    fn look_at_timer(&mut self, roots: &Roots, timer: &Path) {
        let Some(text) = self.read(roots, timer) else {
            return;
        };
        let named = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("Unit="));
        let service = match named {
            Some(name) => PathBuf::from(name.trim()),
            None => timer.with_extension("service"),
        };
        let Some(name) = service.file_name() else {
            return;
        };
        for directory in TIMER_DIRECTORIES {
            let service = Path::new(directory).join(name);
            if roots.host_path(&service).is_file() {
                self.look(roots, &service, |text| {
                    let commands = text.lines().filter_map(|line| {
                        let line = line.trim();
                        line.starts_with("Exec").then(|| line.split_once('='))?
                    });
                    commands.map(|(_, command)| command.to_owned()).collect()
                });
                return;
            }
        }
    }

    fn look_at_groundseg(&mut self, roots: &Roots, settings: &Path) {
        let Some(text) = self.read(roots, settings) else {
            return;
        };
        let Ok(settings_of) = serde_json::from_str::<serde_json::Value>(&text) else {
            return;
        };
        if settings_of["meld_schedule"] == true {
            self.found.push(Schedule {
                file: settings.to_path_buf(),
                command: "GroundSeg's schedule (meld_schedule)".to_owned(),
                packs: true,
                melds: true,
            });
        }
    }

    /// Adds a command that packs or melds, itself or by a script that it runs.
    fn add(&mut self, roots: &Roots, file: &Path, line: &str) {
        let mut text = line.to_owned();
        for script in scripts(line) {
            let path = roots.host_path(&script);
            let is_small = path
                .metadata()
                .is_ok_and(|metadata| metadata.is_file() && metadata.len() <= MAX_SCRIPT_BYTES);
            if is_small && let Some(script) = self.read(roots, &script) {
                text.push('\n');
                text.push_str(&lines_of_crontab(&script).join("\n"));
            }
        }
        let words: Vec<String> = text
            .split(|c: char| !c.is_ascii_alphanumeric())
            .map(str::to_ascii_lowercase)
            .collect();
        let has = |word: &str| words.iter().any(|one| one == word);
        if SHIP_WORDS.iter().any(|word| has(word)) && (has("pack") || has("meld")) {
            self.found.push(Schedule {
                file: file.to_path_buf(),
                command: line.chars().take(MAX_COMMAND_CHARS).collect(),
                packs: has("pack") || has("meld"),
                melds: has("meld"),
            });
        }
    }
}

/// Paths among the words of a command.
fn scripts(line: &str) -> Vec<PathBuf> {
    let words = line.split_whitespace();
    let bare = words.map(|word| word.trim_matches(['"', '\'', ';', '(', ')', '-', '+', '@', '!']));
    bare.filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, &str)]) -> Vec<(bool, bool)> {
        let tree = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let all = schedules(&Roots::under(tree.path()));
        assert!(all.unread.is_empty(), "{all:?}");
        all.found.iter().map(|one| (one.packs, one.melds)).collect()
    }

    #[test]
    fn schedules_are_found_where_hosts_keep_them() {
        let script = (
            "usr/local/bin/weekly.sh",
            "#!/bin/sh\nurbit pack /home/u/zod\n",
        );
        let service = "[Service]\nExecStart=/usr/bin/click -k /p '=/ |meld'\n";
        type Files<'a> = &'a [(&'a str, &'a str)];
        let cases: &[(Files<'_>, &[(bool, bool)])] = &[
            (
                &[("etc/crontab", "0 4 * * 0 u urbit pack /home/u/zod\n")],
                &[(true, false)],
            ),
            (
                &[("etc/crontab", "# 0 4 * * 0 u urbit pack /home/u/zod\n")],
                &[],
            ),
            (&[("etc/crontab", "0 4 * * 0 root tar --pack /home\n")], &[]),
            (
                &[
                    ("etc/cron.d/x", "0 4 * * 0 u /usr/local/bin/weekly.sh\n"),
                    script,
                ],
                &[(true, false)],
            ),
            (
                &[
                    (
                        "etc/systemd/system/zod.timer",
                        "[Timer]\nOnCalendar=weekly\n",
                    ),
                    ("etc/systemd/system/zod.service", service),
                ],
                &[(true, true)],
            ),
            (&[("etc/systemd/system/zod.service", service)], &[]),
            (
                &[(
                    "opt/nativeplanet/groundseg/settings/pier/zod.json",
                    r#"{"meld_schedule":true}"#,
                )],
                &[(true, true)],
            ),
            (
                &[(
                    "opt/nativeplanet/groundseg/settings/pier/zod.json",
                    r#"{"meld_schedule":false}"#,
                )],
                &[],
            ),
            (&[], &[]),
        ];
        for (files, expected) in cases {
            assert_eq!(of(files), *expected, "{files:?}");
        }
    }
}
