//! `conn.sock`: questions from outside, as framed nouns `[rid tag data]` (vere `io/conn.c`).

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::Context;
use noun::{Noun, cue};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::ovum::Ovum;
use crate::pier::Pier;
use crate::stream::{Inbox, Outbox, Received};

/// The server and its clients.
pub struct Conn {
    listener: OwnedFd,
    clients: BTreeMap<u64, Client>,
    next: u64,
}

struct Client {
    inbox: Inbox,
    outbox: Outbox,
}

/// What a client asks for that is not answered here at once.
pub enum Request {
    /// A question about the runtime: everything after `%peel`.
    Peel(Noun),
    /// A read from the namespace.
    Peek(Noun),
    /// An event.
    Ovum(Ovum),
    /// To pack the loom: answered at once, done later.
    Pack,
    /// What lies in the loom.
    Mass,
    /// What is free in the loom.
    Quic,
}

/// A request and where its answer goes.
pub struct Asked {
    /// Who asked.
    pub reply: Reply,
    /// For what.
    pub request: Request,
}

/// Where an answer goes.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Token of the client.
    pub client: u64,
    /// The number that the client gave its request.
    pub rid: Noun,
}

/// Why a request is refused: vere's number and words for it.
type Refusal = (i32, &'static str);

impl Conn {
    /// Listens in the pier. Clients get tokens from `first_token` on.
    pub fn open(pier: &Pier, first_token: u64) -> anyhow::Result<Self> {
        let path = pier.control_socket();
        // A socket that a killed ship left behind. The lock of the pier says that no ship has it now.
        let _may_be_absent = fs::remove_file(&path);
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
                .context("cannot make a socket")?;
        // The path from the root may be longer than the 108 bytes of an address, so vere binds from within the pier.
        let before = std::env::current_dir().context("cannot read the working directory")?;
        std::env::set_current_dir(pier.root())
            .with_context(|| format!("cannot enter {}", pier.root().display()))?;
        let bound = SocketAddrUnix::new(Pier::CONTROL_SOCKET)
            .and_then(|address| rustix::net::bind(&listener, &address))
            .and_then(|()| rustix::net::listen(&listener, 0));
        std::env::set_current_dir(&before)
            .with_context(|| format!("cannot return to {}", before.display()))?;
        bound.with_context(|| format!("cannot listen on {}", path.display()))?;
        Ok(Self {
            listener,
            clients: BTreeMap::new(),
            next: first_token,
        })
    }

    /// The socket that new clients come to.
    pub fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Takes a client in, and returns its token.
    pub fn accept(&mut self) -> anyhow::Result<Option<u64>> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let Ok(socket) = rustix::net::accept_with(&self.listener, flags) else {
            return Ok(None);
        };
        let token = self.next;
        self.next += 1;
        self.clients.insert(
            token,
            Client {
                inbox: Inbox::new(),
                outbox: Outbox::new(socket),
            },
        );
        Ok(Some(token))
    }

    /// The socket of a client that is still there.
    pub fn socket(&self, token: u64) -> Option<BorrowedFd<'_>> {
        self.clients.get(&token).map(|client| client.outbox.as_fd())
    }

    /// Whether a client has yet to take answers.
    pub fn is_waiting(&self, token: u64) -> bool {
        self.clients
            .get(&token)
            .is_some_and(|client| client.outbox.is_waiting())
    }

    /// Reads what a client asks. One that makes no sense is told so, and closed.
    pub fn receive(&mut self, token: u64) -> Vec<Asked> {
        let Some(client) = self.clients.get_mut(&token) else {
            return Vec::new();
        };
        let bodies = match client.inbox.receive(client.outbox.as_fd()) {
            Ok(Received::Frames(bodies)) => bodies,
            Ok(Received::End) | Err(_) => {
                self.clients.remove(&token);
                return Vec::new();
            }
        };
        let mut asked = Vec::new();
        for body in bodies {
            match parse(&body) {
                Ok((rid, request)) => asked.push(Asked {
                    reply: Reply { client: token, rid },
                    request,
                }),
                Err((code, text)) => {
                    let code = Noun::from(u64::from(code as u32));
                    let bail = [Noun::null(), Noun::cord("bail"), code, Noun::cord(text)];
                    self.send(token, &Noun::tuple(bail));
                    self.clients.remove(&token);
                    break;
                }
            }
        }
        asked
    }

    /// Sends `[rid data]`, if the client is still there.
    pub fn answer(&mut self, reply: &Reply, data: Noun) {
        self.send(reply.client, &Noun::cell(reply.rid.clone(), data));
    }

    /// Sends a client what waits for room in its socket.
    pub fn flush(&mut self, token: u64) {
        if self
            .clients
            .get_mut(&token)
            .is_some_and(|client| client.outbox.flush().is_err())
        {
            self.clients.remove(&token);
        }
    }

    fn send(&mut self, token: u64, noun: &Noun) {
        if self
            .clients
            .get_mut(&token)
            .is_some_and(|client| client.outbox.send(noun).is_err())
        {
            self.clients.remove(&token);
        }
    }
}

fn parse(body: &[u8]) -> Result<(Noun, Request), Refusal> {
    let noun = cue(body).map_err(|_| (-1, "cue-none"))?;
    let [rid, tag, data] = noun
        .as_tuple::<3>()
        .filter(|items| items[0].as_atom().is_some())
        .ok_or((-2, "jar-bad"))?;
    let request = if tag.is_cord("peel") && *data == Noun::path(["mass"]) {
        Request::Mass
    } else if tag.is_cord("peel") && *data == Noun::path(["quic"]) {
        Request::Quic
    } else if tag.is_cord("peel") {
        Request::Peel(data.clone())
    } else if tag.is_cord("peek") {
        Request::Peek(data.clone())
    } else if tag.is_cord("ovum") {
        let [_target, wire, card] = data.as_tuple().ok_or((-6, "ovum-bad"))?;
        Request::Ovum(Ovum {
            wire: wire.clone(),
            card: card.clone(),
        })
    } else if tag.is_cord("fyrd") {
        return Err((-8, "khan-miss"));
    } else if tag.is_cord("urth") && data.is_cord("pack") {
        Request::Pack
    } else if tag.is_cord("urth") {
        return Err((-7, "urth-bad"));
    } else {
        return Err((-3, "tag-unknown"));
    };
    Ok((rid.clone(), request))
}

/// What `%peel` can be asked.
pub struct RuntimeInfo<'a> {
    /// Whose ship this is.
    pub who: noun::Ship,
    /// Port of the Ames socket.
    pub ames_port: u16,
    /// The pier's path.
    pub pier: &'a str,
    /// The last event that came back from mars.
    pub event_number: u64,
    /// Requests that mars has not answered.
    pub queue: u64,
    /// Packets dropped from a full queue.
    pub dropped: u64,
}

/// The answer to `%peel`: a unit, null for what nobody knows. Version and shapes are those of 4.6.
pub fn peel(question: &Noun, info: &RuntimeInfo<'_>) -> Noun {
    let some = |answer: Noun| Noun::cell(Noun::null(), answer);
    let is = |path: &Noun| path == question;
    if is(&Noun::path(["live"])) {
        some(Noun::loobean(true))
    } else if is(&Noun::path(["v"])) {
        some(Noun::cord("4.6"))
    } else if is(&Noun::path(["who"])) {
        some(Noun::from(info.who.0))
    } else if is(&Noun::path(["port", "ames"])) {
        some(Noun::from(u64::from(info.ames_port)))
    } else if is(&Noun::path(["khan"])) {
        some(Noun::loobean(false))
    } else if is(&Noun::path(["help"])) {
        let simple =
            ["help", "info", "khan", "live", "mass", "quic"].map(|command| Noun::path([command]));
        let port = Noun::cell(Noun::cord("port"), Noun::path(["ames"]));
        let rest = ["v", "who"].map(|command| Noun::path([command]));
        some(Noun::list(
            simple
                .into_iter()
                .chain([port])
                .chain(rest)
                .collect::<Vec<_>>(),
        ))
    } else if is(&Noun::path(["info"])) {
        some(mass(info))
    } else {
        Noun::null()
    }
}

/// `[name %| list]` and `[name %& value]`, nested as vere's (`pkg/vere/pier.c`, `u3_pier_info`;
/// `io/http.c`, `_http_io_info`; `newt.c`, `u3_newt_moat_info`). This ship has no web server, and
/// takes in what mars sends as it comes.
fn mass(info: &RuntimeInfo<'_>) -> Noun {
    let group = |name: &str, parts: Vec<Noun>| {
        Noun::tuple([Noun::cord(name), Noun::loobean(false), Noun::list(parts)])
    };
    let value =
        |name: &str, value: Noun| Noun::tuple([Noun::cord(name), Noun::loobean(true), value]);
    let number = |name: &str, number: u64| value(name, Noun::from(number));
    let http = group(
        "http",
        vec![number("instance", 0), number("open-slogstreams", 0)],
    );
    let ames = group("ames", vec![number("dropped", info.dropped)]);
    group(
        "pier",
        vec![
            value("path", Noun::cord(info.pier)),
            group("work", vec![group("auto", vec![http, ames])]),
            group(
                "lord",
                vec![
                    value("live", Noun::loobean(true)),
                    number("event", info.event_number),
                    number("queue", info.queue),
                    group("moat", vec![number("pending-inbound", 0)]),
                ],
            ),
        ],
    )
}
