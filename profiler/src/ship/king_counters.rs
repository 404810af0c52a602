//! What the king itself counts of its datagrams (`%peel /info`), asked at both ends of a capture.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Ship;
use super::conn::{Answer, Conn, ConnError, Question};
use crate::host::{Reading, Roots};

/// How long the king may take. It answers in half a millisecond, unless it is busy; then its own counters
/// are not worth that the capture waits.
const LIMIT: Duration = Duration::from_millis(250);

/// The king's counters, or why they cannot be asked for.
#[derive(Debug)]
pub struct KingCounters(Result<Conn, String>);

impl KingCounters {
    /// Connects, with the rights of this moment: the socket may be another user's.
    pub fn open(roots: &Roots, ship: &Ship) -> Self {
        Self(Conn::open(roots, ship, LIMIT).map_err(|error| error.to_string()))
    }

    /// What it counted until now, by vere's names.
    pub fn read(&mut self) -> Reading<BTreeMap<String, u64>> {
        let asked = match &mut self.0 {
            Ok(conn) => ask(conn).map_err(|error| error.to_string()),
            Err(reason) => return Reading::unknown(reason.clone()),
        };
        match asked {
            Ok(Some(counters)) => Reading::Known(counters),
            Ok(None) => {
                let after = LIMIT.as_millis();
                Reading::unknown(format!("the king did not answer within {after} ms"))
            }
            Err(reason) => Reading::unknown(reason),
        }
    }
}

fn ask(conn: &mut Conn) -> Result<Option<BTreeMap<String, u64>>, ConnError> {
    Ok(match conn.answer_to(Question::Info, LIMIT)? {
        Some(Answer::Info(info)) => Some(info.ames),
        _ => None,
    })
}
