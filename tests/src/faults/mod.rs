//! Faults with a known cause, each a guard. A cause that was injected is ground truth for what the
//! profiler must say.

pub mod cgroup;
pub mod cpu;
pub mod disk;
pub mod memory;
pub mod setting;

pub use cpu::{CpuHogs, CpuQuota};
pub use disk::{FullDisk, IopsLimits, LoopDisk, SlowDisk};
pub use memory::{MemoryLimit, ZramSwap};
pub use setting::Setting;
