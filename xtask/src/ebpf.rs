//! `cargo xtask build-ebpf`: the eBPF programs from source.
//!
//! Two toolchains do: a `rustc` with a prebuilt `core` for the BPF target (Debian's `rustc-web`), or
//! rustup's nightly with `rust-src`, which builds `core` as well. Both link with `bpf-linker`, which
//! has to be built against the LLVM that `rustc` has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use harness::workspace;

use crate::consent::Consent;
use crate::{host, shell};

#[path = "../../profiler/build/source_hash.rs"]
mod source_hash;

/// Little-endian BPF, which all our hosts are.
const TARGET: &str = "bpfel-unknown-none";

/// Release of `bpf-linker` that is installed; it links for LLVM 21 to 23.
const LINKER_VERSION: &str = "0.13.0";

/// Debian's packages of a `rustc` that has the BPF target.
const RUSTC_PACKAGES: [&str; 2] = ["rustc-web", "libstd-rust-web-dev-bpf"];

/// How the programs are compiled.
#[derive(Debug)]
enum Compiler {
    /// A `rustc` whose sysroot has `core` for the target.
    Prebuilt(PathBuf),
    /// rustup's nightly, which builds `core` from `rust-src`.
    Nightly,
}

impl Compiler {
    fn rustc(&self) -> Command {
        match self {
            Self::Prebuilt(rustc) => Command::new(rustc),
            Self::Nightly => nightly("rustc"),
        }
    }
}

#[derive(Debug)]
struct Toolchain {
    compiler: Compiler,
    linker: PathBuf,
}

/// Whether the programs can be built here without installing anything.
pub fn is_available() -> bool {
    find_compiler().is_some() && find_linker().is_some()
}

/// Builds the programs, after installing what is missing, and writes object and hash to
/// `profiler/ebpf`.
pub fn build(consent: &Consent) -> Result<()> {
    let toolchain = toolchain(consent)?;
    let root = workspace::root();
    // Before the build, so that an edit during it makes the object stale instead of unnoticed.
    let hash = source_hash::source_hash(root).context("could not read the eBPF sources")?;
    let target_dir = workspace::target_dir().join("ebpf");
    shell::run(&mut compile(&toolchain, &target_dir))?;
    let built = target_dir.join(TARGET).join("release").join("profiler");
    let directory = root.join("profiler/ebpf");
    let object = directory.join("profiler.bpf.o");
    fs::create_dir_all(&directory)
        .with_context(|| format!("could not create {}", directory.display()))?;
    fs::copy(&built, &object)
        .with_context(|| format!("could not copy {} to {}", built.display(), object.display()))?;
    strip(&toolchain.compiler, &object)?;
    let recorded = directory.join("sources.sha256");
    fs::write(&recorded, format!("{hash}\n"))
        .with_context(|| format!("could not write {}", recorded.display()))?;
    eprintln!("built {}", object.display());
    Ok(())
}

/// The command that compiles and links. Paths of this machine are kept out of the object, so that
/// the same sources give the same object in every checkout.
fn compile(toolchain: &Toolchain, target_dir: &Path) -> Command {
    let root = workspace::root();
    let flags = [
        format!("-Clinker={}", toolchain.linker.display()),
        "-Cdebuginfo=2".into(),
        "-Clink-arg=--btf".into(),
        format!("--cfg=bpf_target_arch=\"{}\"", std::env::consts::ARCH),
        format!("--remap-path-prefix={}=.", root.display()),
        format!("--remap-path-prefix={}=cargo", cargo_home().display()),
    ];
    let mut command = match &toolchain.compiler {
        Compiler::Prebuilt(rustc) => {
            let mut command = workspace::cargo();
            // `core` for this target counts as unstable, whoever has built it.
            command
                .arg("build")
                .env("RUSTC", rustc)
                .env("RUSTC_BOOTSTRAP", "1");
            command
        }
        Compiler::Nightly => {
            let mut command = nightly("cargo");
            command.args(["build", "-Zbuild-std=core"]);
            command
        }
    };
    command
        .current_dir(root.join("profiler-ebpf"))
        .args(["--release", "--target", TARGET, "--target-dir"])
        .arg(target_dir)
        // Words with a separator that no path has, as RUSTFLAGS would split at blanks.
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    command
}

/// Takes the DWARF out, which only the linker needs to make BTF: six of seven parts of the object.
fn strip(compiler: &Compiler, object: &Path) -> Result<()> {
    let llvm = llvm_major(compiler)?;
    let of_llvm = PathBuf::from(format!("/usr/lib/llvm-{llvm}/bin/llvm-objcopy"));
    let of_rustc = sysroot(&mut compiler.rustc()).map(|root| {
        let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        root.join("lib/rustlib")
            .join(triple)
            .join("bin/rust-objcopy")
    });
    let tool = [Some(of_llvm), of_rustc]
        .into_iter()
        .flatten()
        .find(|file| file.is_file());
    let Some(tool) = tool else {
        eprintln!("no llvm-objcopy here: the object keeps its debug sections, and works as well");
        return Ok(());
    };
    shell::run(Command::new(tool).arg("--strip-debug").arg(object))
}

fn toolchain(consent: &Consent) -> Result<Toolchain> {
    let compiler = match find_compiler() {
        Some(compiler) => compiler,
        None => install_compiler(consent)?,
    };
    let linker = match find_linker() {
        Some(linker) => linker,
        None => install_linker(&compiler, consent)?,
    };
    Ok(Toolchain { compiler, linker })
}

fn find_compiler() -> Option<Compiler> {
    let prebuilt = shell::find_all("rustc").find(|rustc| {
        sysroot(&mut Command::new(rustc))
            .is_some_and(|root| root.join("lib/rustlib").join(TARGET).is_dir())
    });
    prebuilt.map(Compiler::Prebuilt).or_else(|| {
        let root = sysroot(&mut nightly("rustc"))?;
        root.join("lib/rustlib/src/rust/library")
            .is_dir()
            .then_some(Compiler::Nightly)
    })
}

fn sysroot(rustc: &mut Command) -> Option<PathBuf> {
    shell::output_of(rustc.args(["--print", "sysroot"])).map(|text| text.trim().into())
}

/// A program of rustup's nightly. What the calling cargo set for its own toolchain must not reach it.
fn nightly(program: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", program]);
    for variable in ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(variable);
    }
    command
}

fn install_compiler(consent: &Consent) -> Result<Compiler> {
    let reason = "The eBPF programs need a Rust compiler for the BPF target";
    if RUSTC_PACKAGES.into_iter().all(host::has_package) {
        host::install_packages(reason, &RUSTC_PACKAGES, consent)?;
    } else if shell::has("rustup") {
        let words = [
            "rustup",
            "toolchain",
            "install",
            "nightly",
            "--profile=minimal",
            "-c",
            "rust-src",
        ];
        consent.ask(reason, &[words.join(" ")])?;
        shell::run(&mut shell::command(&words))?;
    } else {
        bail!(
            "{reason}; install rustup (https://rustup.rs) and run `rustup toolchain install \
             nightly -c rust-src`"
        );
    }
    find_compiler().context("the compiler was installed, and still none has the BPF target")
}

fn tools_dir() -> PathBuf {
    workspace::target_dir().join("tools")
}

fn find_linker() -> Option<PathBuf> {
    let own = tools_dir().join("bin/bpf-linker");
    let home = cargo_home().join("bin/bpf-linker");
    [own, home]
        .into_iter()
        .find(|file| file.is_file())
        .or_else(|| shell::find_all("bpf-linker").next())
}

fn install_linker(compiler: &Compiler, consent: &Consent) -> Result<PathBuf> {
    let llvm = llvm_major(compiler)?;
    let prefix = PathBuf::from(format!("/usr/lib/llvm-{llvm}"));
    let config = prefix.join("bin/llvm-config");
    if !config.exists() {
        let package = format!("llvm-{llvm}-dev");
        let reason = format!("bpf-linker is built against LLVM {llvm}, as this rustc has");
        if !host::has_package(&package) {
            bail!("{reason}; install LLVM {llvm} with headers (https://apt.llvm.org)");
        }
        host::install_packages(&reason, &[&package], consent)?;
    }
    let (release, features) = (
        format!("bpf-linker@{LINKER_VERSION}"),
        format!("llvm-{llvm}"),
    );
    let root = tools_dir();
    let root_text = root.display().to_string();
    let words = [
        "install",
        &release,
        "--locked",
        "--no-default-features",
        "--features",
        &features,
        "--root",
        &root_text,
    ];
    consent.ask(
        "The eBPF programs are linked by bpf-linker",
        &[format!(
            "LLVM_PREFIX={} cargo {}",
            prefix.display(),
            words.join(" ")
        )],
    )?;
    let path = shell::path_with(&prefix.join("bin"))?;
    shell::run(
        workspace::cargo()
            .args(words)
            .env("LLVM_PREFIX", &prefix)
            .env("PATH", path),
    )?;
    find_linker().context("bpf-linker was installed, and is still not found")
}

/// `LLVM version: 22.1.8` in `rustc -vV`.
fn llvm_major(compiler: &Compiler) -> Result<u32> {
    let text = shell::output_of(compiler.rustc().arg("-vV")).context("`rustc -vV` failed")?;
    text.lines()
        .find_map(|line| {
            line.strip_prefix("LLVM version: ")?
                .split('.')
                .next()?
                .parse()
                .ok()
        })
        .with_context(|| format!("`rustc -vV` names no LLVM version: {text}"))
}

fn cargo_home() -> PathBuf {
    std::env::var_os("CARGO_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cargo"),
        PathBuf::from,
    )
}
