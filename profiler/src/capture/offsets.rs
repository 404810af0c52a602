//! The running kernel's places of what the programs read.

use super::btf::Btf;
use profiler_common::offsets::{ABSENT, Offsets};
use thiserror::Error;

/// A field that every supported kernel has, but this one not.
#[derive(Debug, Error)]
#[error("this kernel's BTF has no field {structure}.{field}; kernels from 5.10 on are supported")]
pub struct MissingField {
    structure: &'static str,
    field: &'static str,
}

/// `SIGSEGV` (`include/uapi/asm-generic/signal.h`).
const SIGSEGV: u32 = 11;

/// Where handlers of SIGSEGV return to, from the start of `sighand_struct`. A libc has one such place
/// for all signals.
fn restorer(btf: &Btf) -> Option<u32> {
    let actions = btf.field("sighand_struct", "action")?;
    let in_action = btf.field("k_sigaction", "sa.sa_restorer")?;
    Some(actions + (SIGSEGV - 1) * btf.size_of("k_sigaction")? + in_action)
}

/// A saved register that has another name on each architecture.
fn register(btf: &Btf, names: [&'static str; 2]) -> Result<u32, MissingField> {
    let found = names.iter().find_map(|name| btf.field("pt_regs", name));
    found.ok_or(MissingField {
        structure: "pt_regs",
        field: names[0],
    })
}

/// An argument of a syscall: under its name, or where aarch64 has it among its numbered registers.
fn syscall_argument(btf: &Btf, name: &'static str, number: u32) -> Result<u32, MissingField> {
    match btf.field("pt_regs", name) {
        Some(offset) => Ok(offset),
        None => register(btf, [name, "regs"]).map(|first| first + number * 8),
    }
}

/// Looks all offsets up.
///
/// # Errors
/// Names the first field that is missing and has no substitute.
pub fn resolve(btf: &Btf) -> Result<Offsets, MissingField> {
    let need = |structure, field| {
        btf.field(structure, field)
            .ok_or(MissingField { structure, field })
    };
    let may = |structure, field| btf.field(structure, field).unwrap_or(ABSENT);
    let size = |structure| {
        btf.size_of(structure).ok_or(MissingField {
            structure,
            field: "(size)",
        })
    };
    let argument = |tracepoint, structure: &str| {
        let arguments = btf.tracepoint(tracepoint).unwrap_or_default();
        arguments
            .iter()
            .position(|name| name == structure)
            .unwrap_or(0) as u32
    };
    let task_state = match btf.field("task_struct", "__state") {
        Some(offset) => offset,
        None => need("task_struct", "state")?,
    };
    let regs_syscall = match btf.field("pt_regs", "orig_ax") {
        Some(offset) => offset,
        None => need("pt_regs", "syscallno")?,
    };
    Ok(Offsets {
        task_pid: need("task_struct", "pid")?,
        task_tgid: need("task_struct", "tgid")?,
        task_state,
        task_stack: need("task_struct", "stack")?,
        task_comm: need("task_struct", "comm")?,
        task_flags: need("task_struct", "flags")?,
        task_sum_exec: need("task_struct", "se.sum_exec_runtime")?,
        regs_syscall,
        regs_ip: register(btf, ["ip", "pc"])?,
        regs_sp: need("pt_regs", "sp")?,
        regs_fp: match btf.field("pt_regs", "bp") {
            Some(offset) => offset,
            // aarch64 numbers its registers; the frame pointer is 29.
            None => need("pt_regs", "regs")? + 29 * 8,
        },
        regs_argument_1: syscall_argument(btf, "di", 0)?,
        regs_argument_2: syscall_argument(btf, "si", 1)?,
        regs_argument_3: syscall_argument(btf, "dx", 2)?,
        task_mm: need("task_struct", "mm")?,
        mm_start_code: need("mm_struct", "start_code")?,
        task_sighand: need("task_struct", "sighand")?,
        sighand_restorer: restorer(btf).unwrap_or(ABSENT),
        regs_bytes: size("pt_regs")?,
        has_task_pt_regs: btf
            .has_constant("bpf_func_id", "BPF_FUNC_task_pt_regs")
            .into(),
        switch_has_prev_state: btf
            .tracepoint("sched_switch")
            .is_some_and(|a| a.len() > 3)
            .into(),
        request_bio: need("request", "bio")?,
        bio_next: need("bio", "bi_next")?,
        bio_opf: need("bio", "bi_opf")?,
        bio_sector: need("bio", "bi_iter.bi_sector")?,
        bio_size: need("bio", "bi_iter.bi_size")?,
        bio_private: need("bio", "bi_private")?,
        bio_bdev: may("bio", "bi_bdev"),
        bdev_disk: may("block_device", "bd_disk"),
        bio_disk: may("bio", "bi_disk"),
        bio_vecs: need("bio", "bi_io_vec")?,
        bio_index: need("bio", "bi_iter.bi_idx")?,
        bvec_bytes: size("bio_vec")?,
        bvec_page: need("bio_vec", "bv_page")?,
        page_compound_head: may("page", "compound_head"),
        // A folio begins as its first page does.
        page_mapping: btf
            .field("page", "mapping")
            .unwrap_or_else(|| may("folio", "mapping")),
        mapping_host: need("address_space", "host")?,
        inode_mode: need("inode", "i_mode")?,
        inode_mapping: need("inode", "i_mapping")?,
        inode_ino: need("inode", "i_ino")?,
        inode_generation: need("inode", "i_generation")?,
        inode_sb: need("inode", "i_sb")?,
        sb_dev: need("super_block", "s_dev")?,
        inode_dentry: need("inode", "i_dentry.first")?,
        dentry_alias: may("dentry", "d_u.d_alias"),
        dentry_parent: need("dentry", "d_parent")?,
        dentry_name: may("dentry", "d_name.name"),
        disk_major: need("gendisk", "major")?,
        disk_first_minor: need("gendisk", "first_minor")?,
        bio_queue_arg: argument("block_bio_queue", "bio"),
        bio_split_arg: argument("block_split", "bio"),
        rq_issue_arg: argument("block_rq_issue", "request"),
        sock_port: need("sock", "__sk_common.skc_num")?,
        sock_net: need("sock", "__sk_common.skc_net.net")?,
        sock_protocol: need("sock", "sk_protocol")?,
        net_inum: need("net", "ns.inum")?,
        sock_cookie: may("sock", "__sk_common.skc_cookie"),
        sock_queue_length: may("sock", "sk_receive_queue.qlen"),
        udp_reader_queue_length: may("udp_sock", "reader_queue.qlen"),
    })
}
