//! Rules of a packet filter, as far as they matter to one kind of packet.

use std::collections::BTreeMap;

use super::PortAnswer;

/// Chains that call each other deeper than this are not followed (the kernel's own limit is 16).
const MAX_DEPTH: usize = 16;

/// All chains, by a name that tells families and tables apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// Chains that every packet to this host goes through, in order: name, and whether what no rule
    /// decides is dropped.
    pub input: Vec<(String, bool)>,
    /// Their rules, and those of the chains that they call.
    pub chains: BTreeMap<String, Vec<Rule>>,
}

impl Ruleset {
    /// Both: a packet has to pass each.
    pub fn with(mut self, other: Self) -> Self {
        self.input.extend(other.input);
        self.chains.extend(other.chains);
        self
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// What then happens.
    pub action: Action,
}

/// A condition, for an unasked UDP packet from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It holds.
    Holds,
    /// It does not.
    Fails,
    /// It holds for packets to one of these ports, from and to; negated if `not`.
    Ports {
        /// The ports.
        ranges: Vec<(u16, u16)>,
        /// Whether to any others instead.
        not: bool,
    },
    /// The packet does not decide it.
    Undecided,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Lets the packet in.
    Accept,
    /// Drops or refuses it.
    Drop,
    /// Goes on in another chain, and comes back.
    Jump(String),
    /// Goes on in another chain, and does not come back.
    Goto(String),
    /// Goes back to who called.
    Return,
    /// Counts, logs, marks.
    Nothing,
}

/// What becomes of a packet in a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    In,
    Out,
    /// No rule decided it.
    Past,
}

/// All that may become of it.
#[derive(Debug, Default)]
struct Fates(Vec<Fate>);

impl Fates {
    fn may(&self, fate: Fate) -> bool {
        self.0.contains(&fate)
    }

    fn add(&mut self, fate: Fate) {
        if !self.may(fate) {
            self.0.push(fate);
        }
    }
}

/// What becomes of unasked datagrams to `port`.
pub fn judge(rules: &Ruleset, port: u16) -> PortAnswer {
    let mut unclear = None;
    for (chain, drops) in &rules.input {
        let mut fates = walk(rules, chain, port, 0);
        if fates.may(Fate::Past) {
            fates.add(if *drops { Fate::Out } else { Fate::In });
        }
        match (fates.may(Fate::In), fates.may(Fate::Out)) {
            (false, true) => {
                return PortAnswer::Closed {
                    chain: chain.clone(),
                };
            }
            (true, true) => unclear = unclear.or(Some(chain.clone())),
            _ => {}
        }
    }
    unclear.map_or(PortAnswer::Open, |chain| PortAnswer::Unclear { chain })
}

/// All that may become of it in one chain.
fn walk(rules: &Ruleset, chain: &str, port: u16, depth: usize) -> Fates {
    let mut fates = Fates::default();
    let own = rules.chains.get(chain).map_or(&[][..], Vec::as_slice);
    if depth < MAX_DEPTH {
        for rule in own {
            let Some(certain) = applies(rule, port) else {
                continue;
            };
            let (here, ends) = match &rule.action {
                Action::Nothing => continue,
                Action::Accept => (Fates(vec![Fate::In]), true),
                Action::Drop => (Fates(vec![Fate::Out]), true),
                Action::Return => (Fates(vec![Fate::Past]), true),
                Action::Goto(to) => (walk(rules, to, port, depth + 1), true),
                Action::Jump(to) => {
                    let mut there = walk(rules, to, port, depth + 1);
                    let comes_back = there.may(Fate::Past);
                    there.0.retain(|fate| *fate != Fate::Past);
                    (there, !comes_back)
                }
            };
            for fate in here.0 {
                fates.add(fate);
            }
            if certain && ends {
                return fates;
            }
        }
    }
    fates.add(Fate::Past);
    fates
}

/// Whether a rule applies: certainly, perhaps, or (nothing) not.
fn applies(rule: &Rule, port: u16) -> Option<bool> {
    let mut certain = true;
    for condition in &rule.conditions {
        match condition {
            Condition::Holds => {}
            Condition::Fails => return None,
            Condition::Ports { ranges, not } => {
                let inside = ranges
                    .iter()
                    .any(|(from, to)| (*from..=*to).contains(&port));
                if inside == *not {
                    return None;
                }
            }
            Condition::Undecided => certain = false,
        }
    }
    Some(certain)
}

#[cfg(test)]
mod tests {
    use super::super::{iptables, nft};
    use super::*;

    const UFW: &str = "\
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:ufw-user-input - [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -s 10.0.0.0/8 -p tcp -j ACCEPT
-A INPUT -j ufw-user-input
-A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT
-A ufw-user-input -p udp -m multiport --dports 34540:34550,53 -j ACCEPT
-A ufw-user-input -p udp -m udp --dport 13337 -s 192.0.2.0/24 -j ACCEPT
COMMIT
*nat
:INPUT ACCEPT [0:0]
-A INPUT -j DROP
COMMIT
";

    #[test]
    fn rules_of_iptables_decide_for_a_port() {
        let rules = iptables::parse(UFW);
        assert_eq!(judge(&rules, 34543), PortAnswer::Open);
        let chain = "INPUT".to_owned();
        assert_eq!(
            judge(&rules, 34343),
            PortAnswer::Closed {
                chain: chain.clone()
            }
        );
        assert_eq!(judge(&rules, 13337), PortAnswer::Unclear { chain });
        assert_eq!(judge(&iptables::parse(""), 1), PortAnswer::Open);
    }

    const NFT: &str = r#"{"nftables":[{"metainfo":{}},
        {"table":{"family":"inet","name":"filter"}},
        {"set":{"family":"inet","table":"filter","name":"open","elem":[{"range":[34540,34550]},53]}},
        {"chain":{"family":"inet","table":"filter","name":"input","type":"filter","hook":"input",
            "prio":0,"policy":"drop"}},
        {"chain":{"family":"inet","table":"filter","name":"forward","type":"filter","hook":"forward",
            "prio":0,"policy":"drop"}},
        {"chain":{"family":"inet","table":"filter","name":"ours"}},
        {"rule":{"family":"inet","table":"filter","chain":"input","expr":[
            {"match":{"op":"in","left":{"ct":{"key":"state"}},"right":["established","related"]}},
            {"accept":null}]}},
        {"rule":{"family":"inet","table":"filter","chain":"input","expr":[
            {"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":"lo"}},{"accept":null}]}},
        {"rule":{"family":"inet","table":"filter","chain":"input","expr":[
            {"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":34343}},
            {"accept":null}]}},
        {"rule":{"family":"inet","table":"filter","chain":"input","expr":[
            {"counter":{"packets":1,"bytes":2}},{"jump":{"target":"ours"}}]}},
        {"rule":{"family":"inet","table":"filter","chain":"ours","expr":[
            {"match":{"op":"==","left":{"payload":{"protocol":"udp","field":"dport"}},
            "right":"@open"}},{"accept":null}]}},
        {"rule":{"family":"inet","table":"filter","chain":"ours","expr":[
            {"match":{"op":"==","left":{"meta":{"key":"l4proto"}},"right":"udp"}},
            {"match":{"op":"==","left":{"payload":{"protocol":"th","field":"dport"}},
            "right":{"set":[13337,{"range":[40000,40010]}]}}},{"limit":{"rate":5}},{"accept":null}]}}
    ]}"#;

    #[test]
    fn rules_of_nftables_decide_for_a_port() {
        let rules = nft::parse(NFT).unwrap();
        let chain = "inet filter input".to_owned();
        assert_eq!(judge(&rules, 34543), PortAnswer::Open);
        assert_eq!(
            judge(&rules, 34343),
            PortAnswer::Closed {
                chain: chain.clone()
            }
        );
        assert_eq!(judge(&rules, 40001), PortAnswer::Unclear { chain });
        assert!(nft::parse("no JSON").is_err());
    }

    #[test]
    fn chains_that_call_each_other_end() {
        let jump = |to: &str| Rule {
            conditions: Vec::new(),
            action: Action::Jump(to.to_owned()),
        };
        let rules = Ruleset {
            input: vec![("a".to_owned(), true)],
            chains: [
                ("a".to_owned(), vec![jump("b")]),
                ("b".to_owned(), vec![jump("a")]),
            ]
            .into(),
        };
        assert!(matches!(judge(&rules, 1), PortAnswer::Closed { .. }));
    }
}
