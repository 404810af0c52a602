//! Giving up what is no longer needed once everything is attached.
//!
//! What stays, and why:
//! - `CAP_BPF`: before Linux 5.19 the kernel asks for it at every look into a map;
//! - `CAP_SYS_PTRACE`: `/proc/PID/{io,syscall,mem,root}` of the ship;
//! - `CAP_DAC_READ_SEARCH`: a pier and executable that belong to another user;
//! - `CAP_SYSLOG`: the addresses in `/proc/kallsyms`, which stacks are named by.
//!
//! The child that names addresses for the sampler keeps only the last two of these.
//!
//! Under sudo the user who called it takes root's place, so that the output belongs to them and
//! lies only where they may write.

use rustix::process::{Gid, Uid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, set_capabilities, set_keep_capabilities, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

/// What stays with the child that names addresses ([`super::naming`]): what it reads are the ship's
/// executables, which may belong to another user, and `/proc/kallsyms`.
const KEPT_FOR_NAMING: CapabilitySet = CapabilitySet::DAC_READ_SEARCH.union(CapabilitySet::SYSLOG);

/// What stays.
const KEPT: CapabilitySet = CapabilitySet::BPF
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::SYSLOG);

/// The user and group that sudo was called by, from its environment.
pub fn sudo_caller(variable: impl Fn(&str) -> Option<String>) -> Option<(u32, u32)> {
    let number = |name| variable(name)?.parse::<u32>().ok();
    number("SUDO_UID")
        .zip(number("SUDO_GID"))
        .filter(|(uid, _)| *uid != 0)
}

/// Runs `action` with the rights over files that [`give_up`] leaves, and takes the present ones back:
/// as the user that sudo was called by, or as a root that file modes hold for.
///
/// # Errors
/// If the kernel refuses, which it has no reason to.
pub fn with_later_rights<T>(
    caller: Option<(u32, u32)>,
    action: impl FnOnce() -> T,
) -> rustix::io::Result<T> {
    let held = rustix::thread::capabilities(None)?;
    let Some((uid, gid)) = caller else {
        let effective = held.effective & KEPT;
        set_capabilities(None, CapabilitySets { effective, ..held })?;
        let done = action();
        set_capabilities(None, held)?;
        return Ok(done);
    };
    let groups = rustix::process::getgroups()?;
    let (own_uid, own_gid) = (rustix::process::geteuid(), rustix::process::getegid());
    set_thread_groups(&[Gid::from_raw(gid)])?;
    set_file_ids(uid, gid);
    let done = action();
    // With the user the capabilities over files come back (capabilities(7)).
    set_file_ids(own_uid.as_raw(), own_gid.as_raw());
    set_thread_groups(&groups)?;
    Ok(done)
}

/// Sets the ids that files are accessed with, of this thread.
fn set_file_ids(uid: u32, gid: u32) {
    // SAFETY: plain numbers in and out; the calls cannot fail for who may take any id, and return the
    // former id instead of an error.
    unsafe {
        libc::setfsgid(gid);
        libc::setfsuid(uid);
    }
}

/// Gives up everything but the capabilities above, for this thread. Must be called while the
/// process has only one.
///
/// # Errors
/// If the kernel refuses, which it has no reason to.
pub fn give_up(caller: Option<(u32, u32)>) -> rustix::io::Result<()> {
    if let Some((uid, gid)) = caller {
        // Otherwise the change of user would take all capabilities.
        set_keep_capabilities(true)?;
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        set_thread_groups(&[gid])?;
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)?;
    }
    keep(KEPT)
}

/// Gives up all but what naming addresses needs, for this thread. Nothing comes back to a child by
/// `exec`, not even to root's, once its parent has given it up: `no_new_privs` sees to that.
///
/// # Errors
/// If the kernel refuses, which it has no reason to.
pub fn keep_for_naming() -> rustix::io::Result<()> {
    keep(KEPT_FOR_NAMING)
}

fn keep(wanted: CapabilitySet) -> rustix::io::Result<()> {
    let held = rustix::thread::capabilities(None)?.permitted;
    let kept = held & wanted;
    set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        },
    )?;
    set_no_new_privs(true)
}
