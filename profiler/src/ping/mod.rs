//! Response times of a ship that is asked again and again: what came back, what did not, and how
//! the times spread.

use serde::Serialize;

/// Version of the JSON.
pub const SCHEMA_VERSION: u32 = 1;

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// The king alone.
    King,
    /// The king, its queue to mars, and a read that Nock computes.
    Nock,
}

impl Way {
    /// Both, the shorter first.
    pub const ALL: [Self; 2] = [Self::King, Self::Nock];

    /// In lines and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::King => "king",
            Self::Nock => "nock",
        }
    }
}

/// What became of one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It was answered.
    Answered {
        /// From sending to the whole answer.
        time_ns: u64,
        /// Whether it had been given up before.
        late: bool,
    },
    /// No answer in time.
    Lost,
    /// The one before is still waited for: a ship that hangs is not asked more and more.
    NotAsked {
        /// Number of the one before.
        waiting_for: u64,
    },
}

/// One question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Ping {
    /// Who was to answer.
    pub way: Way,
    /// Number of the round, from 1.
    pub sequence: u64,
    /// What became of it.
    pub fate: Fate,
}

/// Times of one way. Times are absent where nothing was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Who answered.
    pub way: Way,
    /// Questions that were sent.
    pub asked_total: u64,
    /// Those that were answered, late ones included.
    pub answered_total: u64,
    /// Those of them that had been given up before.
    pub late_total: u64,
    /// Those that were never answered.
    pub lost_total: u64,
    /// Times of the answered ones.
    pub times: Option<Times>,
}

/// How times spread. Percentiles are times that occurred (nearest rank).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Times {
    /// Shortest.
    pub min_ns: u64,
    /// Median.
    pub p50_ns: u64,
    /// 95 % are no longer.
    pub p95_ns: u64,
    /// 99 % are no longer.
    pub p99_ns: u64,
    /// Longest.
    pub max_ns: u64,
}

/// All that was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pings {
    /// Version of this form.
    pub schema_version: u32,
    /// The ship, as messages call it.
    pub ship: String,
    /// How long an answer was waited for.
    pub timeout_ns: u64,
    /// One for each question, in the order in which their fates were known.
    pub pings: Vec<Ping>,
    /// One for each way.
    pub summaries: Vec<Summary>,
}

impl Pings {
    /// Sums up what became of each question.
    pub fn new(ship: String, timeout_ns: u64, pings: Vec<Ping>) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            ship,
            timeout_ns,
            summaries: Way::ALL.map(|way| summary(way, &pings)).to_vec(),
            pings,
        }
    }

    /// Whether every question was answered in time.
    pub fn is_complete(&self) -> bool {
        let in_time = |one: &Summary| one.lost_total == 0 && one.late_total == 0;
        self.summaries.iter().all(in_time)
    }

    /// The way on which questions were asked and none was answered, if there is one.
    pub fn silent(&self) -> Option<Way> {
        let mut all = self.summaries.iter();
        all.find(|one| one.asked_total > 0 && one.answered_total == 0)
            .map(|one| one.way)
    }
}

fn summary(way: Way, pings: &[Ping]) -> Summary {
    let (mut times, mut late, mut given_up) = (Vec::new(), 0, 0);
    for ping in pings.iter().filter(|ping| ping.way == way) {
        match ping.fate {
            Fate::Answered {
                time_ns,
                late: is_late,
            } => {
                times.push(time_ns);
                late += u64::from(is_late);
            }
            Fate::Lost => given_up += 1,
            Fate::NotAsked { .. } => {}
        }
    }
    times.sort_unstable();
    let answered = times.len() as u64;
    // A late one was given up first.
    let lost = given_up - late.min(given_up);
    Summary {
        way,
        asked_total: answered + lost,
        answered_total: answered,
        late_total: late,
        lost_total: lost,
        times: spread(&times),
    }
}

/// `None` of nothing.
fn spread(sorted: &[u64]) -> Option<Times> {
    let rank = |percent: usize| {
        let rank = (sorted.len() * percent).div_ceil(100);
        sorted.get(rank.saturating_sub(1)).copied()
    };
    Some(Times {
        min_ns: *sorted.first()?,
        p50_ns: rank(50)?,
        p95_ns: rank(95)?,
        p99_ns: rank(99)?,
        max_ns: *sorted.last()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ping(way: Way, fate: Fate) -> Ping {
        Ping {
            way,
            sequence: 1,
            fate,
        }
    }

    fn answered(time_ns: u64, late: bool) -> Fate {
        Fate::Answered { time_ns, late }
    }

    #[test]
    fn percentiles_are_times_that_occurred() {
        let times: Vec<u64> = (1..=100).collect();
        let expected = Times {
            min_ns: 1,
            p50_ns: 50,
            p95_ns: 95,
            p99_ns: 99,
            max_ns: 100,
        };
        assert_eq!(spread(&times), Some(expected));
        assert_eq!(spread(&[7]).map(|times| times.p99_ns), Some(7));
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn late_answers_are_answers_and_lost_ones_have_no_time() {
        let pings = vec![
            ping(Way::King, answered(3, false)),
            ping(Way::Nock, Fate::Lost),
            ping(Way::Nock, Fate::NotAsked { waiting_for: 1 }),
            ping(Way::Nock, answered(9, true)),
            ping(Way::Nock, Fate::Lost),
        ];
        let all = Pings::new("~zod".to_owned(), 5, pings);
        let [king, nock] = all.summaries.as_slice() else {
            panic!("{all:?}");
        };
        assert_eq!((king.asked_total, king.lost_total), (1, 0));
        assert_eq!((nock.asked_total, nock.answered_total), (2, 1));
        assert_eq!((nock.late_total, nock.lost_total), (1, 1));
        assert_eq!(nock.times.map(|times| times.max_ns), Some(9));
        assert!(!all.is_complete());
        assert_eq!(all.silent(), None);
    }

    #[test]
    fn a_way_without_answers_is_silent_and_has_no_times() {
        let pings = vec![
            ping(Way::King, answered(3, false)),
            ping(Way::Nock, Fate::Lost),
        ];
        let all = Pings::new("~zod".to_owned(), 5, pings);
        assert_eq!(all.silent(), Some(Way::Nock));
        assert_eq!(all.summaries[1].times, None);
        assert_eq!(Pings::new(String::new(), 5, Vec::new()).silent(), None);
    }
}
