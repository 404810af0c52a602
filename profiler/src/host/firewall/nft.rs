//! Rules as `nft -j list ruleset` prints them (libnftables-json(5)).

use std::collections::BTreeMap;

use serde_json::Value;

use super::rules::{Action, Condition, Rule, Ruleset};

/// Ports of sets that have a name.
type Sets = BTreeMap<String, Option<Vec<(u16, u16)>>>;

/// Takes the chains of packets that come in, and those that they call.
///
/// # Errors
/// With the reason, if it is not what nft prints.
pub fn parse(text: &str) -> Result<Ruleset, String> {
    let malformed = || "what nft printed is not understood".to_owned();
    let whole: Value = serde_json::from_str(text).map_err(|_| malformed())?;
    let items = whole["nftables"].as_array().ok_or_else(malformed)?;
    let mut rules = Ruleset::default();
    let mut sets = Sets::new();
    for item in items {
        if let Some(set) = item.get("set") {
            sets.insert(in_table(set, &set["name"]), ranges(&set["elem"]));
        }
    }
    for item in items {
        if let Some(chain) = item.get("chain").filter(|chain| is_input(chain)) {
            let drops = chain["policy"] == "drop";
            rules.input.push((in_table(chain, &chain["name"]), drops));
        }
        if let Some(rule) = item.get("rule") {
            let chain = in_table(rule, &rule["chain"]);
            let parsed = parse_rule(rule, &sets);
            rules.chains.entry(chain).or_default().push(parsed);
        }
    }
    Ok(rules)
}

/// Chains of IPv4 packets to this host.
fn is_input(chain: &Value) -> bool {
    chain["hook"] == "input"
        && chain["type"] == "filter"
        && matches!(chain["family"].as_str(), Some("inet" | "ip"))
}

/// A name within the table of `item`: `inet filter input`.
fn in_table(item: &Value, name: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    [text(&item["family"]), text(&item["table"]), text(name)].join(" ")
}

fn parse_rule(rule: &Value, sets: &Sets) -> Rule {
    let mut parsed = Rule {
        conditions: Vec::new(),
        action: Action::Nothing,
    };
    let target = |action: &Value| in_table(rule, &action["target"]);
    for expression in rule["expr"].as_array().into_iter().flatten() {
        let Some((name, value)) = expression
            .as_object()
            .and_then(|object| object.iter().next())
        else {
            continue;
        };
        match name.as_str() {
            "match" => parsed.conditions.push(condition(rule, value, sets)),
            "accept" => parsed.action = Action::Accept,
            "drop" | "reject" => parsed.action = Action::Drop,
            "return" => parsed.action = Action::Return,
            "jump" => parsed.action = Action::Jump(target(value)),
            "goto" => parsed.action = Action::Goto(target(value)),
            "counter" | "log" | "comment" | "mangle" | "notrack" => {}
            // A rate, a map of verdicts, a match of iptables that nft has no words for.
            _ => parsed.conditions.push(Condition::Undecided),
        }
    }
    parsed
}

fn condition(rule: &Value, value: &Value, sets: &Sets) -> Condition {
    let (left, right) = (&value["left"], &value["right"]);
    let not = value["op"] == "!=";
    let holds = |holds: bool| match holds != not {
        true => Condition::Holds,
        false => Condition::Fails,
    };
    let payload = &left["payload"];
    let is_udp = || {
        words(right)
            .iter()
            .any(|word| word == "udp" || word == "17")
    };
    match (payload["protocol"].as_str(), payload["field"].as_str()) {
        (Some("udp" | "th"), Some("dport")) => {
            let named = right.as_str().and_then(|name| name.strip_prefix('@'));
            let ranges = match named {
                Some(name) => sets
                    .get(&in_table(rule, &Value::from(name)))
                    .cloned()
                    .flatten(),
                None => ranges(right),
            };
            return ranges.map_or(Condition::Undecided, |ranges| Condition::Ports {
                ranges,
                not,
            });
        }
        (Some("tcp" | "icmp" | "icmpv6" | "sctp" | "dccp"), _) => return Condition::Fails,
        (Some("ip"), Some("protocol")) => return holds(is_udp()),
        (Some("ip6"), _) => return Condition::Fails,
        _ => {}
    }
    match (left["meta"]["key"].as_str(), left["ct"]["key"].as_str()) {
        (Some("l4proto"), _) => holds(is_udp()),
        (Some("nfproto"), _) => holds(words(right).iter().any(|word| word == "ipv4")),
        (Some("iif" | "iifname"), _) if words(right) == ["lo"] => holds(false),
        (_, Some("state")) => holds(words(right).iter().any(|word| word == "new")),
        _ => Condition::Undecided,
    }
}

/// A value, a list, or an anonymous set, as words.
fn words(value: &Value) -> Vec<String> {
    match value {
        Value::String(word) => vec![word.clone()],
        Value::Number(number) => vec![number.to_string()],
        Value::Array(all) => all.iter().flat_map(words).collect(),
        Value::Object(object) => object.get("set").map(words).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// Ports: one, a range, a list of both, or an anonymous set of them; nothing for anything else.
fn ranges(value: &Value) -> Option<Vec<(u16, u16)>> {
    let port = |value: &Value| u16::try_from(value.as_u64()?).ok();
    match value {
        Value::Number(_) => port(value).map(|port| vec![(port, port)]),
        Value::Array(all) => {
            let all: Option<Vec<_>> = all.iter().map(ranges).collect();
            Some(all?.concat())
        }
        Value::Object(object) => match (object.get("range"), object.get("set")) {
            (Some(range), _) => Some(vec![(port(range.get(0)?)?, port(range.get(1)?)?)]),
            (_, Some(set)) => ranges(set),
            // An element with a comment or a timeout.
            _ => ranges(object.get("elem")?.get("val")?),
        },
        _ => None,
    }
}
