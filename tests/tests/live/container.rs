//! A ship in namespaces of its own, as in a container, is found and profiled from the host.

use std::fs;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::gate;
use harness::peer::{Peer, PeerOptions};
use harness::process::{Process, Terminal, poll_until};
use harness::profile::Profile;
use harness::scratch::Scratch;
use harness::workspace;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use serde_json::Value;

use crate::support::{DONE, Report, number};

/// A name that no other ship on this machine has.
const NAME: &str = "~dopzod";
/// How long the ship may take to come up.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A ship with process ids, mounts and network of its own. Its pier and its program have other paths
/// inside than on the host.
struct Container {
    king_pid: u32,
    mars_pid: u32,
    port: u16,
    pier_inside: PathBuf,
    // Ended before what it uses goes.
    _process: Process,
    pier: PathBuf,
    _outside: Scratch,
    _inside: Scratch,
}

impl Container {
    fn start() -> Self {
        let outside = Scratch::new("outside").unwrap();
        let inside = Scratch::new("inside").unwrap();
        let program = outside.path().join(workspace::SHIP_PROGRAM);
        fs::copy(workspace::ship_binary().unwrap(), &program).unwrap();
        let log = outside.path().join("log");
        let script = "mount --bind \"$1\" \"$2\" && exec \"$2/$3\" --ship \"$4\" \"$2/pier\"";
        let mut command = Command::new("unshare");
        command
            .args(["--pid", "--fork", "--kill-child", "--mount", "--mount-proc"])
            .args(["sh", "-c", script, "sh"])
            .args([outside.path(), inside.path()])
            .args([workspace::SHIP_PROGRAM, NAME])
            .stdin(Stdio::null())
            .stdout(fs::File::create(&log).unwrap())
            .stderr(Stdio::null());
        let process = in_new_network(move || Process::spawn(&mut command, Terminal::Own).unwrap());
        let ready = poll_until("the ship to be ready", START_LIMIT, || {
            let text = fs::read_to_string(&log).unwrap();
            let ready = serde_json::from_str::<Value>(text.trim());
            Ok(ready.map_err(|error| format!("{error}: {text}")))
        })
        .unwrap();
        // There it is the first process.
        assert_eq!(number(&ready, "king_pid"), 1);
        let king_pid = only_child(process.pid());
        Self {
            king_pid,
            mars_pid: only_child(king_pid),
            port: u16::try_from(number(&ready, "port")).unwrap(),
            pier_inside: inside.path().join("pier"),
            pier: outside.path().join("pier"),
            _process: process,
            _outside: outside,
            _inside: inside,
        }
    }

    /// Sends packets to it, from its own network.
    fn send_packets(&self, options: PeerOptions) -> Peer {
        let network = fs::File::open(format!("/proc/{}/ns/net", self.king_pid)).unwrap();
        let port = self.port;
        in_thread(move || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&network), kind).unwrap();
            options.start(port).unwrap()
        })
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // `unshare` passes no signal on.
        let king = Pid::from_raw(self.king_pid.cast_signed());
        let _ = king.map(|king| kill_process(king, Signal::TERM));
    }
}

#[test]
fn ship_in_a_container_is_profiled_from_the_host() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let container = Container::start();
    let packets = container.send_packets(PeerOptions {
        packets_per_second: 100.0,
        bytes: 1000,
        seconds: 60,
        bursts: None,
    });
    let pier = container.pier.to_str().unwrap().to_owned();
    let pids = [container.king_pid, container.mars_pid].map(|pid| pid.to_string());
    for name in [pids[0].as_str(), &pids[1], NAME, &pier] {
        let outcome = Profile::deep_dive(name, 1).json().run().unwrap();
        assert_eq!(outcome.code(), Some(DONE), "{name}: {}", outcome.stderr);
        let report = Report::of(&outcome);
        let ship = &report.0["ship"];
        assert_eq!(number(ship, "king_tgid"), u64::from(container.king_pid));
        assert_eq!(number(ship, "mars_tgid"), u64::from(container.mars_pid));
        assert_eq!(ship["label"], NAME);
        assert_eq!(ship["pier"], container.pier_inside.to_str().unwrap());
        assert!(number(&report.0["events"], "count") > 0, "{report}");
        let udp = &report.0["udp"];
        assert_eq!(udp["ports"], serde_json::json!([container.port]));
        assert!(number(udp, "received") > 10, "{report}");
        assert!(
            report.find("threads", "role", "commit_worker").is_some(),
            "{report}"
        );
    }
    drop(packets);
    let home = Scratch::new("output").unwrap();
    let output = home.path().join("run");
    let outcome = Profile::deep_dive(&pids[0], 2)
        .output(&output)
        .run()
        .unwrap();
    assert_eq!(outcome.code(), Some(DONE), "{}", outcome.stderr);
    // Its program lies where only it can see it under that name.
    let svg = fs::read_to_string(output.join("on-cpu.svg")).unwrap();
    assert!(svg.contains("Computer"), "{svg}");
}

#[test]
fn ship_in_a_container_answers_the_host() {
    let Some(_live) = gate::need_root() else {
        return;
    };
    let container = Container::start();
    let king = container.king_pid.to_string();
    let pier = container.pier.to_str().unwrap().to_owned();
    for ship in [king.as_str(), NAME, &pier] {
        let ping = Profile::new(["ping", "--count", "1", "--ship", ship]).json();
        let outcome = ping.run().unwrap();
        assert_eq!(outcome.code(), Some(DONE), "{outcome:?}");
        let now = Profile::new(["now", "--ship", ship]).json().run().unwrap();
        assert_eq!(now.code(), Some(DONE), "{now:?}");
        let answer = now.json().unwrap();
        assert!(answer["king"].get("answered").is_some(), "{answer:#}");
        assert_eq!(
            number(&answer, "mars_tgid"),
            u64::from(container.mars_pid),
            "{answer:#}"
        );
    }
}

/// Runs `action` in a thread of its own, so that what it changes of itself ends with it.
fn in_thread<T: Send>(action: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(action).join()).unwrap()
}

/// Runs `action` in a new network, whose loopback is up.
fn in_new_network<T: Send>(action: impl FnOnce() -> T + Send) -> T {
    in_thread(|| {
        // SAFETY: this thread shares no table of files or memory that the flag would take from it.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
        bring_loopback_up();
        action()
    })
}

fn bring_loopback_up() {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // SAFETY: the C structure is valid when all zero.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(*b"lo") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the request lives until the call returns, and is what the kernel reads for this command.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// The child of a process that has one.
fn only_child(pid: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let [child] = children.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("not one child of {pid}: {children:?}")
    };
    child.parse().unwrap()
}
