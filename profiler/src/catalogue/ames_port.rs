//! Whether datagrams that nobody asked for reach the ship.

use super::step::shell_quote;
use super::{Entry, Gain, Kind, Restart, Risk, Setting, Situation, Step};
use crate::attribute::Cause;
use crate::host::firewall::{PortAnswer, PortFilter};

/// The finding that warns of it.
pub const FINDING: &str = "port-closed";

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "ames-port",
    title: "let datagrams to the ship's UDP port in",
    cause: Cause::Ames,
    shrinks: &[],
    why: "Where the host drops datagrams to the ship's port, other ships reach it only through \
          relays, or after it has spoken first.",
    gain: "No stalled time: what is relayed arrives later, and costs others work. The port is that of \
           the ship's own socket, which is random unless vere was started with -p.",
    check: "ports of the king's UDP sockets, and the rules of nftables and iptables for one unasked \
            datagram; a provider's filter cannot be seen",
    answers: &[Kind::AlreadySo, Kind::WouldHelp, Kind::CannotTell],
    conflicts: &[],
    restart: Restart::None,
    risk: Risk::Low,
    source: "vere pkg/vere/io/mesa.c (the port: -p, else random; 13337 + N for galaxies), \
             docker/start_urbit.sh (34343), docs.urbit.org cloud-hosting (34540-34550)",
    apply: &[
        "nft insert rule FAMILY TABLE CHAIN udp dport PORT accept",
        "or: iptables -I INPUT -p udp --dport PORT -j ACCEPT; with ufw: ufw allow PORT/udp; with \
         firewalld: firewall-cmd --permanent --add-port=PORT/udp",
        "for good: start vere with -p PORT, or the next port is another one",
    ],
    undo: &["delete that rule: nft -a list ruleset shows its handle"],
    assess,
};

/// Ports in a sentence.
pub fn ports(filters: &[PortFilter]) -> String {
    let all: Vec<String> = filters
        .iter()
        .map(|filter| filter.port.to_string())
        .collect();
    format!("UDP {}", all.join(", "))
}

fn assess(situation: &Situation<'_>) -> super::Assessment {
    let proposed = "open to all";
    let filters = match situation.setup().map(|setup| &setup.ports) {
        Ok(crate::host::Reading::Known(filters)) => filters,
        Ok(crate::host::Reading::Unknown { reason }) => {
            return Setting::new(None, proposed).cannot_tell(reason.clone());
        }
        Err(reason) => return Setting::new(None, proposed).cannot_tell(reason),
    };
    let setting = Setting::new(Some(ports(filters)), proposed);
    if filters.is_empty() {
        return setting.cannot_tell("the ship has no UDP socket");
    }
    for filter in filters {
        match &filter.answer {
            PortAnswer::Closed { chain } => {
                let (apply, undo) = commands(filter.port, chain);
                return setting.would_help(
                    Gain::Finding { id: FINDING },
                    format!(
                        "{chain} drops datagrams to port {} that were not asked for",
                        filter.port
                    ),
                    apply,
                    undo,
                );
            }
            PortAnswer::Unclear { chain } => {
                return setting.cannot_tell(format!(
                    "{chain} decides by more than the port {}",
                    filter.port
                ));
            }
            PortAnswer::Open => {}
        }
    }
    setting.already_so("no rule of this host drops them; a provider's filter cannot be seen")
}

/// Commands by the chain that drops: its name has three parts where it is of nftables.
fn commands(port: u16, chain: &str) -> (Vec<Step>, Vec<Step>) {
    let parts: Vec<String> = chain.split(' ').map(shell_quote).collect();
    let keep = Step::advice(format!(
        "for good: the same in the firewall's own settings (ufw allow {port}/udp; firewall-cmd \
         --permanent --add-port={port}/udp), and vere's -p {port}"
    ));
    match parts.as_slice() {
        [family, table, chain] => (
            vec![
                Step::command(format!(
                    "nft insert rule {family} {table} {chain} udp dport {port} accept"
                )),
                keep,
            ],
            vec![Step::command(format!(
                "nft -a list chain {family} {table} {chain}   # then: nft delete rule … handle N"
            ))],
        ),
        _ => (
            vec![
                Step::command(format!("iptables -I INPUT -p udp --dport {port} -j ACCEPT")),
                keep,
            ],
            vec![Step::command(format!(
                "iptables -D INPUT -p udp --dport {port} -j ACCEPT"
            ))],
        ),
    }
}
