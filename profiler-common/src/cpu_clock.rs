//! Samples of what a ship's threads do on CPU.

use crate::record::{RecordHeader, StackLengths};
use crate::shared;
use crate::stack::StackScratch;

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
        /// The stacks behind it.
        pub stack: StackScratch,
    }
}
