//! Rules as `iptables-save` prints them.

use super::rules::{Action, Condition, Rule, Ruleset};

/// Takes the rules of the table `filter` from the chain `INPUT` on.
pub fn parse(text: &str) -> Ruleset {
    let mut rules = Ruleset::default();
    let mut inside = false;
    for line in text.lines() {
        if let Some(table) = line.strip_prefix('*') {
            inside = table.trim() == "filter";
            continue;
        }
        if !inside {
            continue;
        }
        if let Some(chain) = line.strip_prefix(':') {
            let mut words = chain.split_whitespace();
            if words.next() == Some("INPUT") {
                let drops = words.next() == Some("DROP");
                rules.input.push(("INPUT".to_owned(), drops));
            }
        } else if let Some(rule) = line.strip_prefix("-A ") {
            let mut words = rule.split_whitespace();
            let Some(chain) = words.next() else { continue };
            let rule = parse_rule(&words.collect::<Vec<_>>());
            rules.chains.entry(chain.to_owned()).or_default().push(rule);
        }
    }
    rules
}

fn parse_rule(words: &[&str]) -> Rule {
    let mut rule = Rule {
        conditions: Vec::new(),
        action: Action::Nothing,
    };
    let mut not = false;
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        if word == "!" {
            not = true;
            continue;
        }
        let condition = match word {
            // Names of the matches whose options follow.
            "-m" => {
                let known = ["tcp", "udp", "multiport", "conntrack", "state", "comment"];
                let name = words.next().unwrap_or_default();
                (!known.contains(&name)).then_some(Condition::Undecided)
            }
            "--comment" => {
                words.next();
                None
            }
            "-j" => {
                rule.action = action(words.next().unwrap_or_default(), Action::Jump);
                // What follows are options of the target.
                break;
            }
            "-g" => {
                rule.action = action(words.next().unwrap_or_default(), Action::Goto);
                break;
            }
            option => {
                let value = words.next().unwrap_or_default();
                Some(condition(option, value, not))
            }
        };
        rule.conditions.extend(condition);
        not = false;
    }
    rule
}

fn action(target: &str, chain: fn(String) -> Action) -> Action {
    match target {
        "ACCEPT" => Action::Accept,
        "DROP" | "REJECT" => Action::Drop,
        "RETURN" => Action::Return,
        // Targets that decide nothing.
        "LOG" | "NFLOG" | "MARK" | "CONNMARK" | "TCPMSS" | "CT" | "NOTRACK" => Action::Nothing,
        other => chain(other.to_owned()),
    }
}

fn condition(option: &str, value: &str, not: bool) -> Condition {
    let holds = |holds: bool| match holds != not {
        true => Condition::Holds,
        false => Condition::Fails,
    };
    match option {
        "-p" => holds(matches!(value, "udp" | "17" | "all")),
        "--dport" | "--dports" => match ports(value) {
            Some(ranges) => Condition::Ports { ranges, not },
            None => Condition::Undecided,
        },
        "--ctstate" | "--state" => holds(value.split(',').any(|state| state == "NEW")),
        "-i" if value == "lo" => holds(false),
        _ => Condition::Undecided,
    }
}

/// `53,34540:34550`.
fn ports(list: &str) -> Option<Vec<(u16, u16)>> {
    list.split(',')
        .map(|range| {
            let (from, to) = range.split_once(':').unwrap_or((range, range));
            Some((from.parse().ok()?, to.parse().ok()?))
        })
        .collect()
}
