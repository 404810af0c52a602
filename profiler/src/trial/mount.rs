//! When a mount writes access times. Only that is changed: `mount -o remount` would set every other option
//! of the mount as well.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::error::TrialError;
use crate::catalogue::noatime;
use crate::host::Roots;
use crate::host::filesystem::{Mount, own_mounts};

/// `struct mount_attr` of `mount_setattr` (Linux 5.12, `include/uapi/linux/mount.h`).
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// All bits that say when access times are written (`MOUNT_ATTR__ATIME`); none of them is `relatime`.
const ATIME: u64 = 0x70;
/// `MOUNT_ATTR_NOATIME`.
const NOATIME: u64 = 0x10;
/// `MOUNT_ATTR_STRICTATIME`.
const STRICTATIME: u64 = 0x20;

/// The mount that is seen at a mount point.
pub fn at(roots: &Roots, mount_point: &str) -> Result<Option<Mount>, TrialError> {
    let mounts = own_mounts(roots)?;
    let mut here = mounts.into_iter();
    Ok(here.rfind(|mount| mount.mount_point == Path::new(mount_point)))
}

/// What of the three holds for the mount of this device; nothing if it is mounted there no more.
pub fn read(
    roots: &Roots,
    mount_point: &str,
    device: (u32, u32),
) -> Result<Option<String>, TrialError> {
    let mount = at(roots, mount_point)?.filter(|mount| mount.device == device);
    Ok(mount.map(|mount| noatime::option(&mount.options).to_owned()))
}

/// Sets one of the three.
pub fn set_atime(mount_point: &Path, option: &str) -> io::Result<()> {
    let attr = MountAttr {
        attr_set: match option {
            "noatime" => NOATIME,
            "strictatime" => STRICTATIME,
            "relatime" => 0,
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        },
        attr_clr: ATIME,
        propagation: 0,
        userns_fd: 0,
    };
    let path = CString::new(mount_point.as_os_str().as_bytes())?;
    // SAFETY: the path ends in a zero byte and the structure has the size that is given; both live until
    // the call returns, which writes to neither.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            0,
            std::ptr::from_ref(&attr),
            size_of::<MountAttr>(),
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(explained(io::Error::last_os_error(), mount_point, option)),
    }
}

/// The error in words that say what to do: a kernel that lacks the call only says that it does.
fn explained(error: io::Error, mount_point: &Path, option: &str) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => io::Error::new(
            io::ErrorKind::Unsupported,
            format!(
                "before Linux 5.12 a mount's access times cannot be changed without setting its other \
                 options too; by hand, between two captures that profile diff compares: mount -o \
                 remount,{option} {}",
                mount_point.display()
            ),
        ),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_lacks_the_call_is_named_and_what_to_do_instead() {
        let of = |errno| {
            let error = io::Error::from_raw_os_error(errno);
            explained(error, Path::new("/piers"), "noatime").to_string()
        };
        let text = of(libc::ENOSYS);
        for words in ["Linux 5.12", "mount -o remount,noatime /piers"] {
            assert!(text.contains(words), "{text}");
        }
        assert!(of(libc::EPERM).contains("not permitted"));
    }
}
