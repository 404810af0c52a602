//! Samples of what a ship's threads do on CPU.

use crate::record::{RecordHeader, STACK_WORDS, StackLengths};
use crate::shared;

shared! {
    /// A watched thread was running when the sampling clock ticked. Followed by its stacks.
    pub struct SampleRecord {
        /// Kind, time, thread.
        pub header: RecordHeader,
        /// Stacks that follow.
        pub stack: StackLengths,
    }

    /// Where the program builds one.
    pub struct SampleScratch {
        /// The record.
        pub record: SampleRecord,
        /// The frames behind it.
        pub frames: [u64; STACK_WORDS],
    }
}
