//! Control groups, v1, v2 and both at once: the limits on a process, its own and its ancestors',
//! and what they cost it.

mod hierarchy;
mod limits;

pub use hierarchy::{Hierarchy, Version, hierarchies, unified_group};
pub use limits::{
    CgroupFacts, CpuLimit, GroupMemory, IoLimit, MemoryLimit, Throttling, cgroup_facts,
    group_memory, throttling,
};

#[cfg(test)]
mod tests;
