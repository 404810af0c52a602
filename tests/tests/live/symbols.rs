//! Names for addresses, wherever the executable is, and its symbols.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::error::run;
use harness::process::{Process, Terminal, poll_until};
use harness::scratch::Scratch;
use harness::{gate, zig};
use object::{Object, ObjectSymbol};
use profiler::capture::code::CodeTables;
use profiler::capture::symbols::Executables;
use profiler::cli::open_code;
use profiler::host::Roots;
use profiler::model::{Event, FrameKind, SampleEvent, Stack, ThreadId};
use profiler::unwind::Code;

/// A function of the program, and one of its libc whose rules are in `.debug_frame` only.
const FUNCTIONS: [&str; 2] = ["in_read", "fdatasync"];
/// How long a program may take to start.
const LIMIT: Duration = Duration::from_secs(10);

/// A program, and where its functions are: it has a fixed address, as vere has.
struct Program {
    home: Scratch,
    path: PathBuf,
    addresses: Vec<u64>,
}

impl Program {
    fn build() -> harness::Result<Self> {
        let home = Scratch::new("symbols")?;
        let path = home.path().join("program");
        zig::compile("stacks.c", &["-fno-omit-frame-pointer"], &path)?;
        let bytes = fs::read(&path).unwrap();
        let elf = object::File::parse(bytes.as_slice()).unwrap();
        assert_eq!(elf.kind(), object::ObjectKind::Executable);
        assert_eq!(elf.build_id().unwrap(), None);
        let address = |name| {
            let symbol = elf.symbols().find(|symbol| symbol.name() == Ok(name));
            symbol.unwrap().address() + 1
        };
        Ok(Self {
            addresses: FUNCTIONS.map(address).to_vec(),
            home,
            path,
        })
    }

    /// Splits its symbols off, as distributions do. `to` is where they go; the program names the last part.
    fn split(&self, to: &Path) {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let objcopy = |arguments: &[&str]| {
            run(Command::new("objcopy").args(arguments)).unwrap();
        };
        let (program, symbols) = (self.path.to_str().unwrap(), to.to_str().unwrap());
        objcopy(&["--only-keep-debug", program, symbols]);
        let link = format!("--add-gnu-debuglink={symbols}");
        objcopy(&["--strip-all", &link, program]);
    }

    fn start(&self) -> Process {
        let mut command = Command::new(&self.path);
        command.args(["read", "3"]).arg(self.home.path());
        Process::spawn(command.stdin(Stdio::null()), Terminal::Own).unwrap()
    }

    /// The functions are named, and the rules of both are found, in the process `pid`.
    fn assert_named(&self, pid: u32, what: &str) {
        // Once it runs: before, the process is the one that starts it.
        let mut executables = Executables::default();
        open_code(&Roots::default(), &mut executables, pid);
        let sample = Event::Sample(SampleEvent {
            thread: ThreadId {
                tgid: pid,
                tid: pid,
            },
            ktime_ns: 0,
            stack: Stack {
                user: vec![self.addresses[0], self.addresses[1] + 1],
                ..Stack::default()
            },
        });
        let symbols = executables.resolve(&[sample]);
        let tables = CodeTables::of(&executables);
        for (address, name) in self.addresses.iter().zip(FUNCTIONS) {
            let frames = symbols.frames(pid, *address, FrameKind::User);
            assert_eq!(frames[0].name, name, "{what}: {symbols:?}");
            let code = tables.of_process(pid);
            let location = code.locate(*address).unwrap();
            assert!(
                location.tables.row(location.address).is_some(),
                "{what}: {name}"
            );
        }
    }
}

/// Waits until the process runs the program, whose name it has before it has its code.
fn wait_for(pid: u32, path: &Path) {
    poll_until("the program to run", LIMIT, || {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        let has_code = maps
            .lines()
            .any(|line| line.contains(" r-xp ") && line.ends_with(&path.display().to_string()));
        Ok(match has_code {
            true => Ok(()),
            false => Err(maps),
        })
    })
    .unwrap();
}

#[test]
fn functions_have_names_wherever_the_executable_and_its_symbols_are() {
    let Some(_live) = gate::need_root() else {
        return;
    };
    let Some(program) = gate::need(Program::build()) else {
        return;
    };
    let process = program.start();
    wait_for(process.pid(), &program.path);
    program.assert_named(process.pid(), "static, without a build-id");

    let replaced = Program::build().unwrap();
    let process = replaced.start();
    wait_for(process.pid(), &replaced.path);
    fs::remove_file(&replaced.path).unwrap();
    fs::write(&replaced.path, "another").unwrap();
    replaced.assert_named(process.pid(), "replaced while it runs");

    let split = Program::build().unwrap();
    split.split(&split.home.path().join(".debug/program.debug"));
    let process = split.start();
    wait_for(process.pid(), &split.path);
    split.assert_named(process.pid(), "symbols in a file of their own");
    // One of another build is not believed.
    fs::write(split.home.path().join(".debug/program.debug"), "other").unwrap();
    let mut executables = Executables::default();
    open_code(&Roots::default(), &mut executables, process.pid());
    assert!(
        executables
            .code()
            .all(|(_, code)| code.debug_file.is_none())
    );
}

#[test]
fn functions_have_names_in_a_container() {
    let Some(_live) = gate::need_root() else {
        return;
    };
    let Some(program) = gate::need(Program::build()) else {
        return;
    };
    // Symbols where distributions put them, in a file system that only the container sees.
    let inside = Scratch::new("inside").unwrap();
    let debug = program.home.path().join("usr/lib/debug");
    let symbols = debug.join(inside.path().strip_prefix("/").unwrap());
    program.split(&symbols.join("program.debug"));
    fs::set_permissions(&program.path, fs::Permissions::from_mode(0o755)).unwrap();
    let script = "mount --bind \"$1\" \"$2\" && mount -t tmpfs none /usr/lib/debug && \
                  cp -r \"$1/usr/lib/debug/.\" /usr/lib/debug && exec \"$2/program\" read 3 \"$2\"";
    fs::create_dir_all("/usr/lib/debug").unwrap();
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-ec", script, "sh"])
        .args([program.home.path(), inside.path()])
        .stdin(Stdio::null());
    let process = Process::spawn(&mut command, Terminal::Own).unwrap();
    wait_for(process.pid(), &inside.path().join("program"));
    program.assert_named(process.pid(), "in a container");
}
