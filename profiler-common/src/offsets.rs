//! Where the running kernel keeps what the programs read.
//!
//! aya has no CO-RE relocations for Rust programs. User space looks the offsets up in the running
//! kernel's BTF and passes them in as the global `OFFSETS`; the verifier then knows them as
//! constants, so a field costs one load.

use crate::shared;

/// Offset of a field that this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

shared! {
    /// Byte offsets of fields, and positions of tracepoint arguments, in the running kernel.
    pub struct Offsets {
        /// `task_struct.pid`: what user space calls the thread's id.
        pub task_pid: u32,
        /// `task_struct.tgid`: what user space calls the process id.
        pub task_tgid: u32,
        /// `task_struct.__state` (5.14 and later) or `.state`.
        pub task_state: u32,
        /// `task_struct.stack`.
        pub task_stack: u32,
        /// `task_struct.comm`.
        pub task_comm: u32,
        /// `task_struct.flags`.
        pub task_flags: u32,
        /// `task_struct.se.sum_exec_runtime`.
        pub task_sum_exec: u32,
        /// Number of the syscall in the saved registers (`pt_regs.orig_ax`, `.syscallno`).
        pub regs_syscall: u32,
        /// Instruction pointer in the saved registers (`pt_regs.ip`, `.pc`).
        pub regs_ip: u32,
        /// Stack pointer in the saved registers (`pt_regs.sp`).
        pub regs_sp: u32,
        /// Frame pointer in the saved registers (`pt_regs.bp`, `.regs[29]`).
        pub regs_fp: u32,
        /// First argument of a syscall in the saved registers, at its entry (`pt_regs.di`, `.regs[0]`).
        pub regs_argument_1: u32,
        /// Second argument (`pt_regs.si`, `.regs[1]`).
        pub regs_argument_2: u32,
        /// Third argument (`pt_regs.dx`, `.regs[2]`).
        pub regs_argument_3: u32,
        /// `task_struct.mm`.
        pub task_mm: u32,
        /// `mm_struct.start_code`; `end_code` is right behind it.
        pub mm_start_code: u32,
        /// `task_struct.sighand`.
        pub task_sighand: u32,
        /// `sighand_struct.action[SIGSEGV - 1].sa.sa_restorer`, else [`ABSENT`].
        pub sighand_restorer: u32,
        /// Size of `pt_regs`.
        pub regs_bytes: u32,
        /// 1 if the kernel has the helper `bpf_task_pt_regs` (5.15 and later).
        pub has_task_pt_regs: u32,
        /// 1 if `sched_switch` passes the previous task's state (5.18 and later).
        pub switch_has_prev_state: u32,
        /// `request.bio`.
        pub request_bio: u32,
        /// `bio.bi_next`.
        pub bio_next: u32,
        /// `bio.bi_opf`.
        pub bio_opf: u32,
        /// `bio.bi_iter.bi_sector`.
        pub bio_sector: u32,
        /// `bio.bi_iter.bi_size`.
        pub bio_size: u32,
        /// `bio.bi_private`.
        pub bio_private: u32,
        /// `bio.bi_bdev` (5.12 and later), else [`ABSENT`].
        pub bio_bdev: u32,
        /// `block_device.bd_disk`.
        pub bdev_disk: u32,
        /// `bio.bi_disk` (before 5.12), else [`ABSENT`].
        pub bio_disk: u32,
        /// `bio.bi_io_vec`.
        pub bio_vecs: u32,
        /// `bio.bi_iter.bi_idx`.
        pub bio_index: u32,
        /// Size of `bio_vec`.
        pub bvec_bytes: u32,
        /// `bio_vec.bv_page`.
        pub bvec_page: u32,
        /// `page.compound_head`, else [`ABSENT`].
        pub page_compound_head: u32,
        /// `page.mapping`, or `folio.mapping` at the same place, else [`ABSENT`].
        pub page_mapping: u32,
        /// `address_space.host`.
        pub mapping_host: u32,
        /// `inode.i_mode`.
        pub inode_mode: u32,
        /// `inode.i_mapping`.
        pub inode_mapping: u32,
        /// `inode.i_ino`.
        pub inode_ino: u32,
        /// `inode.i_generation`.
        pub inode_generation: u32,
        /// `inode.i_sb`.
        pub inode_sb: u32,
        /// `super_block.s_dev`.
        pub sb_dev: u32,
        /// `inode.i_dentry.first`.
        pub inode_dentry: u32,
        /// `dentry.d_u.d_alias`, else [`ABSENT`].
        pub dentry_alias: u32,
        /// `dentry.d_parent`.
        pub dentry_parent: u32,
        /// `dentry.d_name.name`, else [`ABSENT`].
        pub dentry_name: u32,
        /// `gendisk.major`.
        pub disk_major: u32,
        /// `gendisk.first_minor`.
        pub disk_first_minor: u32,
        /// Which argument of `block_bio_queue` is the bio: 0, or 1 before 5.11.
        pub bio_queue_arg: u32,
        /// Which argument of `block_split` is the bio.
        pub bio_split_arg: u32,
        /// Which argument of `block_rq_issue` is the request.
        pub rq_issue_arg: u32,
        /// `sock.__sk_common.skc_num`: local port, host byte order.
        pub sock_port: u32,
        /// `sock.__sk_common.skc_net.net`.
        pub sock_net: u32,
        /// `sock.sk_protocol` (a 16-bit field of its own since 5.6).
        pub sock_protocol: u32,
        /// `net.ns.inum`.
        pub net_inum: u32,
        /// `sock.__sk_common.skc_cookie`: a number of the socket that no other has.
        pub sock_cookie: u32,
        /// `sock.sk_receive_queue.qlen`.
        pub sock_queue_length: u32,
        /// `udp_sock.reader_queue.qlen`: what the reader has taken over from the former, all at once.
        pub udp_reader_queue_length: u32,
    }
}
