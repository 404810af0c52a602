//! The advices, in the order of the guide.

use super::Verdict::{ByMeasurement, CanHarm, Conditional, NoEffect, Practice};
use super::{Advice, advice};

/// All of them, in the order of the document.
pub const ADVICES: &[Advice] = &[
    // Optimization workflow.
    advice(
        "Establish current performance metrics",
        Practice,
        &[],
        "a capture, or the sampler's store",
    ),
    advice(
        "Identify bottlenecks (CPU, RAM, disk I/O, network)",
        Practice,
        &[],
        "the verdict of a capture",
    ),
    advice(
        "Focus on highest-impact optimizations",
        Practice,
        &[],
        "fixes are ranked by their gain",
    ),
    advice(
        "Apply tuning (one variable at a time)",
        Practice,
        &[],
        "each fix is one change",
    ),
    advice(
        "Verify improvement",
        Practice,
        &[],
        "a capture before and one after",
    ),
    advice(
        "Record changes and results",
        Practice,
        &[],
        "captures keep what the host was set to",
    ),
    // Disk I/O.
    advice(
        "Upgrade to NVMe SSD",
        ByMeasurement,
        &["disk-class"],
        "by the measured time of syncs; no factor is promised",
    ),
    advice(
        "I/O scheduler**: `echo \"none\" > /sys/block/nvme0n1/queue/scheduler`",
        ByMeasurement,
        &["io-scheduler"],
        "acts only between queueing and issue; NVMe mostly has it",
    ),
    advice(
        "Add `noatime,nodiratime` to `/etc/fstab`",
        NoEffect,
        &["noatime"],
        "relatime is the default, files stay open; noatime includes nodiratime",
    ),
    advice(
        "Run |pack**: Defragment pier (reduces I/O load)",
        CanHarm,
        &["pack"],
        "it makes room in the loom, and the next snapshot larger",
    ),
    advice(
        "Distribute ships across servers",
        ByMeasurement,
        &["fewer-ships"],
        "by what neighbours cost",
    ),
    // CPU.
    advice(
        "`|suspend %app-name` in dojo",
        ByMeasurement,
        &["suspend-apps"],
        "takes a desk, not an app",
    ),
    advice(
        "`Nice=-10` in systemd service",
        ByMeasurement,
        &["nice"],
        "only where others run before the ship",
    ),
    advice(
        "Pin ship to specific cores",
        CanHarm,
        &["affinity"],
        "king, mars and commit worker overlap; pinning reserves nothing",
    ),
    advice(
        "Faster clock speed (single-thread performance)",
        ByMeasurement,
        &["faster-cpu"],
        "bounded by computing that holds events up",
    ),
    advice(
        "Move to additional servers",
        ByMeasurement,
        &["fewer-ships"],
        "by what neighbours cost",
    ),
    // Memory.
    advice(
        "Deduplication (requires 8GB+ RAM during execution)",
        Conditional,
        &["meld"],
        "the need of 8 GiB ended with vere 3.4",
    ),
    advice(
        "`--loom 32` (4GB) or `--loom 33` (8GB)",
        Conditional,
        &["loom-size"],
        "cures \"out of loom\" alone; v4 takes 34",
    ),
    advice(
        "Identify with |mass",
        ByMeasurement,
        &["suspend-apps"],
        "by Hoon stacks, which cost the ship nothing",
    ),
    advice(
        "8GB minimum for comfortable operation",
        ByMeasurement,
        &["ram"],
        "by page-ins and swap-ins, not by a number",
    ),
    advice(
        "Weekly |pack**: Preventive maintenance",
        CanHarm,
        &["pack-schedule"],
        "vere packs by itself when it must",
    ),
    // Network.
    advice(
        "Verify UDP 34543 open",
        Conditional,
        &["ames-port"],
        "the ship's own port, which is mostly another",
    ),
    advice(
        "Increase buffer sizes (`net.core.rmem_max`)",
        Conditional,
        &["rmem-max", "tcp-buffers"],
        "of UDP since vere 3.2, where datagrams are lost; TCP's do nothing for Ames",
    ),
    advice(
        "Upgrade VPS plan if saturated",
        ByMeasurement,
        &["bandwidth"],
        "where an interface is full",
    ),
    advice(
        "Deploy VPS closer to users",
        NoEffect,
        &["geography"],
        "no event waits for another ship",
    ),
    advice(
        "`net.ipv4.tcp_congestion_control=bbr`",
        NoEffect,
        &["bbr"],
        "Ames is UDP",
    ),
    // Checklist.
    advice(
        "SSD storage (NVMe preferred)",
        ByMeasurement,
        &["disk-class"],
        "see above",
    ),
    advice(
        "I/O scheduler optimized ('none' for NVMe)",
        ByMeasurement,
        &["io-scheduler"],
        "see above",
    ),
    advice(
        "Filesystem: `noatime,nodiratime`",
        NoEffect,
        &["noatime"],
        "see above",
    ),
    advice(
        "Kernel parameters: sysctl tuning",
        Conditional,
        &[
            "dirty-ratio",
            "file-limits",
            "max-map-count",
            "rmem-max",
            "swappiness",
        ],
        "each by its own measure",
    ),
    advice(
        "Swappiness: 10 (or disabled if 8GB+ RAM)",
        Conditional,
        &["swap-off", "swappiness"],
        "only where the ship waits for pages from swap",
    ),
    advice(
        "Transparent Huge Pages: disabled",
        NoEffect,
        &["thp"],
        "unless compaction took time: the loom is hardly ever huge",
    ),
    advice(
        "Weekly |pack scheduled",
        CanHarm,
        &["pack-schedule"],
        "see above",
    ),
    advice(
        "Monthly |meld scheduled (if 8GB+ RAM)",
        CanHarm,
        &["meld-schedule"],
        "see above",
    ),
    advice(
        "Unused apps suspended",
        ByMeasurement,
        &["suspend-apps"],
        "see above",
    ),
    advice(
        "Loom sized appropriately (4GB if ship approaching 2GB)",
        Conditional,
        &["loom-size"],
        "see above",
    ),
    advice(
        "CPU priority: Nice=-10 (systemd)",
        ByMeasurement,
        &["nice"],
        "see above",
    ),
    advice(
        "Performance baseline documented",
        Practice,
        &[],
        "profile audit looks for one",
    ),
    // SLA.
    advice(
        "Automated monitoring, alerting, redundancy",
        Practice,
        &[],
        "profile sampler",
    ),
    advice(
        "|pack, SSD upgrade, RAM increase",
        Conditional,
        &["disk-class", "pack", "ram"],
        "see above",
    ),
    advice(
        "|pack (weekly), |meld (monthly), app cleanup",
        CanHarm,
        &["chop", "meld-schedule", "pack-schedule"],
        "neither makes the log smaller, which is what grows: only chop does",
    ),
    // Scaling triggers.
    advice(
        "RAM utilization >80% for 7+ days",
        Conditional,
        &["ram"],
        "profile history; page cache is no need",
    ),
    advice(
        "Disk >85% full",
        ByMeasurement,
        &["chop", "disk-space"],
        "a finding from there on",
    ),
    advice(
        "CPU >80% sustained",
        ByMeasurement,
        &["faster-cpu"],
        "profile history",
    ),
    advice(
        "Managing 10+ ships on single VPS",
        ByMeasurement,
        &["fewer-ships"],
        "by what neighbours cost, not by their number",
    ),
    advice(
        "Need geographic distribution",
        NoEffect,
        &["geography"],
        "see above",
    ),
    advice(
        "Isolate critical vs non-critical ships",
        ByMeasurement,
        &["fewer-ships"],
        "see above",
    ),
    // Best practices.
    advice(
        "Establish baseline before optimizing",
        Practice,
        &[],
        "see above",
    ),
    advice(
        "Isolate what improves performance",
        Practice,
        &[],
        "see above",
    ),
    advice(
        "HDD too slow for production",
        ByMeasurement,
        &["disk-class"],
        "by the measured time of syncs",
    ),
    advice(
        "Weekly automation prevents emergencies",
        CanHarm,
        &["pack-schedule"],
        "see above",
    ),
    advice(
        "Track pier size, CPU, RAM over time",
        Practice,
        &[],
        "profile sampler and history",
    ),
    advice(
        "Record all tuning parameters",
        Practice,
        &[],
        "captures keep what the host was set to",
    ),
    advice(
        "Verify ship functionality after changes",
        Practice,
        &[],
        "profile ping, profile now",
    ),
    advice(
        "Scale before hitting limits (not after)",
        Practice,
        &["chop", "disk-space", "loom-size", "max-map-count"],
        "findings come before the limit",
    ),
    advice(
        "Cron jobs for |pack, backups, monitoring",
        Conditional,
        &["pack-schedule"],
        "monitoring: profile sampler",
    ),
    advice(
        "Sometimes upgrading hardware is better than optimization",
        ByMeasurement,
        &["disk-class", "faster-cpu", "ram"],
        "ranked with all others by their gain",
    ),
];
