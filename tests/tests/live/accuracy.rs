//! Verdicts on faults of known size. With their shares: `cargo xtask bench accuracy`.

use harness::accuracy::{Accuracy, scenarios};
use harness::gate;

/// Only in the benchmark: in so little memory the kernel kills some ships before they are captured.
const UNSTEADY: &str = "swapped-12";

#[test]
fn top_causes_are_those_that_were_injected() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let mut accuracy = Accuracy::default();
    let mut wrong = Vec::new();
    for scenario in &scenarios() {
        if scenario.name == UNSTEADY {
            continue;
        }
        let mut outcome = accuracy.verdict(scenario).unwrap();
        if !outcome.top_cause_right {
            // Something else on this machine may have outweighed the fault, once.
            println!("{outcome:#?}");
            outcome = accuracy.verdict(scenario).unwrap();
        }
        println!("{}: {} {:?}", outcome.name, outcome.verdict, outcome.cause);
        if !outcome.top_cause_right {
            wrong.push(outcome);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
