//! Verdicts on faults of known size. All scenarios with their shares: `cargo xtask bench accuracy`; here
//! are those that are the quickest to set up, one of each kind.

use harness::accuracy::{Accuracy, scenarios};
use harness::gate;

/// One of each cause, a mixture, and both quiet ships.
const SELECTION: [&str; 8] = [
    "commit-15",
    "snapshot-512",
    "hogs-3",
    "quota-20",
    "computing-own",
    "snapshot-16+commit-40",
    "quiet-default",
    "quiet-100",
];

#[test]
fn top_causes_are_those_that_were_injected() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let mut accuracy = Accuracy::default();
    let all = scenarios();
    for name in SELECTION {
        let scenario = all.iter().find(|scenario| scenario.name == name).unwrap();
        let mut outcome = accuracy.verdict(scenario).unwrap();
        println!("{name}: {:?} {:?}", outcome.verdict, outcome.leaves);
        if !outcome.top_cause_right {
            // Something else on this machine may have outweighed the fault, once.
            outcome = accuracy.verdict(scenario).unwrap();
            println!("{name} again: {:?} {:?}", outcome.verdict, outcome.leaves);
        }
        assert!(outcome.top_cause_right, "{outcome:#?}");
    }
}
