//! A virtual machine that runs one kernel, the reference ship and `profile`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use harness::process::{Process, Terminal};
use harness::workspace;

use super::kernel::Unpacked;
use crate::shell;

/// What runs first in the machine.
const INIT: &str = include_str!("init.sh");

/// Size of the ship's disk. The image is sparse.
const PIER_BYTES: u64 = 512 << 20;

/// Size of the disk for what the machine says, likewise. A capture of seconds is a few MB.
const RESULTS_BYTES: u64 = 256 << 20;

/// How long a machine may take besides its capture: it boots in seconds where it has a CPU to itself.
const LIMIT: Duration = Duration::from_secs(600);

/// The programs that run in the machine. All are static: it has no libraries.
#[derive(Debug)]
pub struct Programs {
    /// Everything but the two below.
    pub busybox: PathBuf,
    /// `profile`.
    pub profile: PathBuf,
    /// The reference ship.
    pub ship: PathBuf,
}

/// Boots the kernel, waits until the machine has switched itself off, and gives the directory with
/// what it said.
pub fn run(
    kernel: &Unpacked,
    programs: &Programs,
    seconds: u64,
    directory: &Path,
) -> Result<PathBuf> {
    let initrd = initrd(kernel, programs, directory)?;
    let pier = image(directory, "pier.img", PIER_BYTES)?;
    shell::run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&pier))?;
    let disk = image(directory, "results.img", RESULTS_BYTES)?;
    let console = directory.join("console.log");
    // Emulated also where KVM could be had: everywhere the same, and no right is needed. Without the
    // word about its time stamp counters the kernel would take them for unreliable, as the emulated
    // processor does not promise anything, and account CPU time by a coarse clock.
    let words = format!("console=ttyS0 panic=-1 quiet tsc=reliable profile_seconds={seconds}");
    let mut command = Command::new("qemu-system-x86_64");
    command
        // CPUs take turns: side by side, emulated ones may still run code that the kernel has just patched
        // (a static key, as for counting the programs' time), and panic on its breakpoint.
        .args(["-accel", "tcg,thread=single"])
        .args(["-cpu", "max", "-smp", "2", "-m", "2G"])
        .args(["-nodefaults", "-no-user-config", "-no-reboot"])
        .args(["-display", "none", "-serial"])
        .arg(format!("file:{}", console.display()))
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(&initrd)
        .args(["-append", &words]);
    for disk in [&pier, &disk] {
        let drive = format!("file={},if=virtio,format=raw", disk.display());
        command.arg("-drive").arg(drive);
    }
    let status = Process::spawn(command.stdin(Stdio::null()), Terminal::Own)?
        .wait(LIMIT + Duration::from_secs(seconds))
        .with_context(|| format!("its console is in {}", console.display()))?;
    let results = empty(directory, "results")?;
    shell::run(
        Command::new("tar")
            .arg("-xf")
            .arg(&disk)
            .arg("-C")
            .arg(&results),
    )?;
    if !status.success() || !results.join("status").exists() {
        bail!(
            "the machine did not come to its end (QEMU: {status}); its console is in {}",
            console.display()
        );
    }
    Ok(results)
}

/// A sparse file of zeroes.
fn image(directory: &Path, name: &str, bytes: u64) -> Result<PathBuf> {
    let path = directory.join(name);
    fs::File::create(&path)
        .and_then(|file| file.set_len(bytes))
        .with_context(|| format!("could not create {}", path.display()))?;
    Ok(path)
}

/// A directory with nothing in it.
fn empty(directory: &Path, name: &str) -> Result<PathBuf> {
    let path = directory.join(name);
    if path.exists() {
        fs::remove_dir_all(&path)
            .with_context(|| format!("could not remove {}", path.display()))?;
    }
    fs::create_dir(&path).with_context(|| format!("could not create {}", path.display()))?;
    Ok(path)
}

/// The archive that the kernel unpacks as its root.
fn initrd(kernel: &Unpacked, programs: &Programs, directory: &Path) -> Result<PathBuf> {
    let root = empty(directory, "root")?;
    for name in ["bin", "dev", "pier", "proc", "results", "sys", "tmp"] {
        empty(&root, name)?;
    }
    let init = root.join("init");
    fs::write(&init, INIT)
        .and_then(|()| fs::set_permissions(&init, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("could not write {}", init.display()))?;
    copy(&programs.busybox, &root.join("bin/busybox"))?;
    copy(&programs.profile, &root.join("bin/profile"))?;
    copy(
        &programs.ship,
        &root.join("bin").join(workspace::SHIP_PROGRAM),
    )?;
    disk_drivers(kernel, &root)?;
    shell::run(
        Command::new(&programs.busybox)
            .args(["depmod", "-b"])
            .arg(&root)
            .arg(&kernel.release),
    )?;
    shell::run(
        Command::new("sh")
            .args(["-c", "find . | cpio --quiet -o -H newc -R 0:0 -O ../initrd"])
            .current_dir(&root),
    )?;
    Ok(directory.join("initrd"))
}

/// The machine's disks need them where the kernel has them as modules.
fn disk_drivers(kernel: &Unpacked, root: &Path) -> Result<()> {
    let target = root.join("lib/modules").join(&kernel.release);
    for file in ["modules.builtin", "modules.order"] {
        copy(&kernel.modules.join(file), &target.join(file))?;
    }
    for folder in ["kernel/drivers/virtio", "kernel/drivers/block"] {
        let source = kernel.modules.join(folder);
        let files = fs::read_dir(&source)
            .with_context(|| format!("could not read {}", source.display()))?;
        for file in files.flatten() {
            if file.file_name().to_string_lossy().starts_with("virtio") {
                copy(&file.path(), &target.join(folder).join(file.file_name()))?;
            }
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let made = to.parent().map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| fs::copy(from, to).map(drop))
        .with_context(|| format!("could not copy {} to {}", from.display(), to.display()))
}
