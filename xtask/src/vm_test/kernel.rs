//! Debian's kernels, downloaded and unpacked without being installed.
//!
//! They come from the archives that this system's apt has anyway; only the suite is another. apt gets
//! lists and a cache of our own, so that the system's stay as they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;

/// The keys of all of Debian's suites, in the package `debian-archive-keyring` of every Debian.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Depends on the suite's newest kernel. The cloud flavour has drivers for virtual machines only, and
/// is a third of the size.
const META_PACKAGE: &str = "linux-image-cloud-amd64";

/// A kernel that is tested.
#[derive(Debug)]
pub struct Kernel {
    /// Its series.
    pub series: &'static str,
    /// The suite that has it.
    pub suite: &'static str,
    /// Label of the archive that has the suite (`apt-get indextargets`).
    label: &'static str,
    /// Probes that it cannot have.
    pub lacks: &'static [&'static str],
    /// Whether its functions call programs, and it counts what these miss (since 5.12): then the entries of
    /// a few system calls are seen there, and not those of all.
    pub counts_misses: bool,
}

/// Tracepoints that came with 6.3.
const SINCE_6_3: &[&str] = &["sock_recv_length", "sock_send_length"];

/// The oldest that is supported, and those of the stable releases since.
pub const KERNELS: [Kernel; 3] = [
    Kernel {
        series: "5.10",
        suite: "bullseye-security",
        label: "Debian-Security",
        lacks: SINCE_6_3,
        counts_misses: false,
    },
    Kernel {
        series: "6.1",
        suite: "bookworm",
        label: "Debian",
        lacks: SINCE_6_3,
        counts_misses: true,
    },
    Kernel {
        series: "6.12",
        suite: "trixie",
        label: "Debian",
        lacks: &[],
        counts_misses: true,
    },
];

/// A kernel on this machine.
#[derive(Debug)]
pub struct Unpacked {
    /// What `uname -r` will say.
    pub release: String,
    /// The bootable image.
    pub image: PathBuf,
    /// Its modules.
    pub modules: PathBuf,
}

impl Kernel {
    /// Downloads the newest package of the suite, unless it is there, and unpacks it.
    pub fn fetch(&self, directory: &Path) -> Result<Unpacked> {
        let apt = Apt::new(self, directory)?;
        shell::run(&mut apt.command("apt-get", &["-q", "update"]))?;
        let package = apt.output("apt-cache", &["depends", META_PACKAGE])?;
        let package = package
            .lines()
            .find_map(|line| line.trim().strip_prefix("Depends: "))
            .with_context(|| format!("{} has no {META_PACKAGE}", self.suite))?;
        // Does nothing if the file is there already.
        shell::run(&mut apt.command("apt-get", &["-q", "download", package]))?;
        let about = apt.output("apt-cache", &["show", package])?;
        let file = about
            .lines()
            .find_map(|line| line.strip_prefix("Filename: ")?.rsplit('/').next())
            .with_context(|| {
                format!("apt-cache does not say how the file of {package} is called")
            })?;
        let root = directory.join("package");
        if root.exists() {
            fs::remove_dir_all(&root)
                .with_context(|| format!("could not remove {}", root.display()))?;
        }
        shell::run(
            Command::new("dpkg-deb")
                .arg("--extract")
                .arg(directory.join(file))
                .arg(&root),
        )?;
        unpacked(&root)
    }
}

/// Finds the parts of an unpacked package.
fn unpacked(root: &Path) -> Result<Unpacked> {
    let boot = root.join("boot");
    let names =
        fs::read_dir(&boot).with_context(|| format!("could not read {}", boot.display()))?;
    let release = names
        .flatten()
        .find_map(|entry| {
            Some(
                entry
                    .file_name()
                    .to_str()?
                    .strip_prefix("vmlinuz-")?
                    .to_owned(),
            )
        })
        .with_context(|| format!("{} holds no kernel", boot.display()))?;
    // Below /usr since Debian 13.
    let modules = ["usr/lib/modules", "lib/modules"]
        .map(|path| root.join(path).join(&release))
        .into_iter()
        .find(|path| path.is_dir())
        .with_context(|| format!("{} holds no modules", root.display()))?;
    Ok(Unpacked {
        image: boot.join(format!("vmlinuz-{release}")),
        release,
        modules,
    })
}

/// apt as if the system had one suite only.
#[derive(Debug)]
struct Apt {
    directory: PathBuf,
    options: Vec<String>,
}

impl Apt {
    fn new(kernel: &Kernel, directory: &Path) -> Result<Self> {
        let mirror = mirror(kernel)?;
        let (lists, cache) = (directory.join("lists"), directory.join("cache"));
        for path in [&lists, &cache] {
            fs::create_dir_all(path)
                .with_context(|| format!("could not create {}", path.display()))?;
        }
        let sources = directory.join("sources.list");
        let line = format!("deb [signed-by={KEYRING}] {mirror} {} main\n", kernel.suite);
        fs::write(&sources, line)
            .with_context(|| format!("could not write {}", sources.display()))?;
        let options = [
            format!("Dir::Etc::sourcelist={}", sources.display()),
            "Dir::Etc::sourceparts=-".into(),
            format!("Dir::State::lists={}", lists.display()),
            format!("Dir::Cache={}", cache.display()),
            // The user that apt downloads as may not be able to write below the target directory.
            "APT::Sandbox::User=root".into(),
        ];
        Ok(Self {
            directory: directory.to_owned(),
            options: options
                .into_iter()
                .flat_map(|option| ["-o".to_owned(), option])
                .collect(),
        })
    }

    fn command(&self, program: &str, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(&self.options)
            .args(words)
            .current_dir(&self.directory);
        command
    }

    fn output(&self, program: &str, words: &[&str]) -> Result<String> {
        shell::output_of(&mut self.command(program, words))
            .with_context(|| format!("`{program} {}` failed", words.join(" ")))
    }
}

/// Where this system's apt gets the archive from.
fn mirror(kernel: &Kernel) -> Result<String> {
    let targets = shell::output_of(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(LABEL) $(REPO_URI)",
        "MetaKey: main/binary-amd64/Packages",
    ]))
    .unwrap_or_default();
    let found = targets.lines().find_map(|line| {
        let (label, uri) = line.rsplit_once(' ')?;
        (label == kernel.label).then(|| uri.to_owned())
    });
    match found {
        Some(uri) => Ok(uri),
        None => bail!(
            "Linux {} comes from {}, and apt here knows no archive with the label {}; on Debian, \
             add it to /etc/apt/sources.list.d and run apt-get update",
            kernel.series,
            kernel.suite,
            kernel.label
        ),
    }
}
