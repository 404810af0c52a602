//! Checks of the network.

use super::*;

pub fn rows() -> Vec<Row> {
    use crate::host::firewall::{PortAnswer, PortFilter};
    use crate::host::net::SocketBuffers;
    let closed = |facts: &mut Facts| {
        let chain = "INPUT".to_owned();
        facts.setup.ports = Reading::Known(vec![PortFilter {
            port: 34343,
            answer: PortAnswer::Closed { chain },
        }]);
    };
    fn granted(facts: &mut Facts, bytes: u64) {
        facts.host.udp_buffers = Reading::Known(vec![SocketBuffers {
            local_port: 34343,
            receive_buffer_bytes: bytes,
            send_buffer_bytes: bytes,
        }]);
    }
    let limits = |open| {
        Replace(
            "proc/2385/limits",
            "Max open files            1048576",
            open,
        )
    };
    vec![
        Row("ames-port", Passed, vec![], same),
        Row("ames-port", Failed, vec![], closed),
        Row("ames-port", CannotTell, vec![], |facts| {
            facts.setup.ports = Reading::unknown("run as root");
        }),
        Row("ames-port-fixed", Passed, vec![], same),
        Row(
            "ames-port-fixed",
            Failed,
            vec![Replace("proc/2385/cmdline", "-p\x0034343\0", "")],
            same,
        ),
        Row("ames-port-fixed", CannotTell, vec![], |facts| {
            facts.setup.chosen_port = Reading::unknown("no");
        }),
        Row("rmem-max", Failed, vec![], |facts| granted(facts, 425_984)),
        Row(
            "rmem-max",
            Passed,
            vec![Put("proc/sys/net/core/rmem_max", "4194304\n")],
            |facts| granted(facts, 4 << 20),
        ),
        Row("rmem-max", CannotTell, vec![], |facts| {
            facts.host.udp_buffers = Reading::unknown("run as root");
        }),
        Row("tcp", NotApplicable, vec![], same),
        Row("file-limits", Passed, vec![], same),
        Row(
            "file-limits",
            Failed,
            vec![limits("Max open files            1")],
            same,
        ),
        Row(
            "file-limits",
            CannotTell,
            vec![Remove("proc/2385/limits")],
            same,
        ),
    ]
}
