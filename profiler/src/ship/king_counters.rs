//! What the king itself counts (`%peel /info`), asked at both ends of a capture: its datagrams, and how many
//! messages to mars are under way.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Ship;
use super::conn::{Answer, Conn, Question};
use crate::host::counters::now_ktime_ns;
use crate::host::{Reading, Roots};
use crate::model::UnderWay;

/// How long the king may take. It answers in half a millisecond, unless it is busy; then its own counters
/// are not worth that the capture waits.
const LIMIT: Duration = Duration::from_millis(250);

/// What the king said.
#[derive(Debug)]
pub struct Counted {
    /// What it counted of its datagrams until now, by vere's names.
    pub datagrams: Reading<BTreeMap<String, u64>>,
    /// Its messages to mars.
    pub under_way: Option<UnderWay>,
}

/// The king's counters, or why they cannot be asked for.
#[derive(Debug)]
pub struct KingCounters(Result<Conn, String>);

impl KingCounters {
    /// Connects, with the rights of this moment: the socket may be another user's.
    pub fn open(roots: &Roots, ship: &Ship) -> Self {
        Self(Conn::open(roots, ship, LIMIT).map_err(|error| error.to_string()))
    }

    /// Asks it.
    pub fn read(&mut self) -> Counted {
        let nothing = |reason: String| Counted {
            datagrams: Reading::unknown(reason),
            under_way: None,
        };
        let conn = match &mut self.0 {
            Ok(conn) => conn,
            Err(reason) => return nothing(reason.clone()),
        };
        let asked_ktime_ns = now_ktime_ns();
        let info = match conn.answer_to(Question::Info, LIMIT) {
            Ok(Some(Answer::Info(info))) => info,
            Ok(_) => {
                let after = LIMIT.as_millis();
                return nothing(format!("the king did not answer within {after} ms"));
            }
            Err(error) => return nothing(error.to_string()),
        };
        let told_ktime_ns = now_ktime_ns();
        Counted {
            datagrams: Reading::Known(info.ames),
            under_way: info.queue.map(|messages| UnderWay {
                asked_ktime_ns,
                told_ktime_ns,
                messages,
            }),
        }
    }
}
