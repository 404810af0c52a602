//! What each thread of a ship does.

use serde::{Deserialize, Serialize};

use super::{Generation, Ship};

/// Name of libuv's pool threads from libuv 1.50 on, hence from vere v3.2 on (libuv
/// `src/threadpool.c`).
const POOL_THREAD: &str = "libuv-worker";

/// What a thread does for the ship.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Main thread of the king: all I/O.
    King,
    /// Main thread of mars: all Nock.
    Mars,
    /// A pool thread of the process that owns the event log: commits.
    CommitWorker,
    /// Any other thread, such as the king's for DNS.
    Other,
}

impl Role {
    /// In tables and pictures.
    pub fn name(self) -> &'static str {
        match self {
            Self::King => "king",
            Self::Mars => "mars",
            Self::CommitWorker => "commit worker",
            Self::Other => "other",
        }
    }
}

/// One thread of a ship.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShipThread {
    /// The process that it belongs to.
    pub tgid: u32,
    /// Its own id.
    pub tid: u32,
    /// Its name, at most 15 bytes.
    pub comm: String,
    /// What it does.
    pub role: Role,
}

impl Ship {
    /// The role of the thread `tid` of the process `tgid`, named `comm`. Holds also for threads
    /// that started after the ship was found.
    pub fn role_of(&self, tgid: u32, tid: u32, comm: &str) -> Role {
        let is_mars = self.mars.as_ref().is_some_and(|mars| mars.tgid == tgid);
        if tgid == tid {
            return match (tgid == self.king.tgid, is_mars) {
                (true, _) => Role::King,
                (_, true) => Role::Mars,
                _ => Role::Other,
            };
        }
        if self.log_owner_tgid() != Some(tgid) {
            return Role::Other;
        }
        // v3.0 and v3.1 carry libuv 1.44, whose pool threads keep the name of the process.
        let unnamed_pool = self.generation == Generation::Serf && comm == self.king.comm;
        if comm == POOL_THREAD || unnamed_pool {
            Role::CommitWorker
        } else {
            Role::Other
        }
    }
}
