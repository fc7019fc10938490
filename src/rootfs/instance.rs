//! A new instance of a file system, from its options to the attached mount.
//!
//! Runs in: init before pivot.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::attributes::{self, Outcome};
use super::bind::{Tree, explain_kinds};
use super::mount::Request;
use crate::error::{Error, Result};
use crate::plan::mount_label::is_context;
use crate::plan::rootfs::FileSystem;
use crate::sys;
use crate::sys::mount::{FSCONFIG_VALUE_MAX, Place};

pub type FsOption = (CString, Option<CString>);

impl Request<'_> {
    /// Makes a new instance of a file system, with its flags, and attaches it.
    ///
    /// KERNEL(5.2): without fsopen(2), and for values that fsconfig(2) is too short for,
    /// by mount(2) on the target's descriptor.
    pub fn new_instance(&self, target: BorrowedFd<'_>, fs: &FileSystem) -> Result<OwnedFd> {
        let fits = |s: &CStr| s.count_bytes() <= FSCONFIG_VALUE_MAX;
        let all_fit = fits(&fs.source)
            && fs
                .data
                .iter()
                .all(|(key, value)| fits(key) && value.as_deref().is_none_or(fits));
        if !all_fit {
            return self.new_by_mount(target, fs);
        }
        let context = match sys::mount::fsopen(&fs.kind) {
            Err(e) if e.is(Errno::ENOSYS) || e.is(Errno::EPERM) => {
                return self.new_by_mount(target, fs);
            }
            result => result?,
        };
        configure(context.as_fd(), fs)?;
        let mount = sys::mount::fsmount(context.as_fd(), self.attributes.set)?;
        let outcome = attributes::change(mount.as_fd(), 0, self.recursive)?;
        sys::mount::move_mount(mount.as_fd(), Place::Fd(target))
            .map_err(|e| explain_kinds(mount.as_fd(), Place::Fd(target), e))?;
        if outcome == Outcome::Later {
            attributes::remount(mount.as_fd(), 0, self.recursive)?;
        }
        Ok(mount)
    }

    /// The same without flags and attached nowhere, by descriptors alone.
    pub fn detached_instance(&self, fs: &FileSystem) -> Result<Tree> {
        let too_long = |value: &CString| value.as_bytes().len() > FSCONFIG_VALUE_MAX;
        if fs
            .data
            .iter()
            .any(|(_, value)| value.as_ref().is_some_and(too_long))
        {
            return Err(Error::unsupported(format!(
                "an option of more than {FSCONFIG_VALUE_MAX} bytes, which fsconfig(2) does not take"
            )));
        }
        detached(fs, 0).map(Tree::Detached)
    }

    fn new_by_mount(&self, target: BorrowedFd<'_>, fs: &FileSystem) -> Result<OwnedFd> {
        let set = self.attributes.set | self.recursive.set;
        let flags = fs.superblock_flags | attributes::mount_flags(set);
        mount(target, fs, flags)?;
        self.reopen()
    }

    /// Changes the mount that lies at the destination.
    pub fn remount(&self, fs: &FileSystem) -> Result<OwnedFd> {
        let mount = self.reopen()?;
        if self.change_attributes(mount.as_fd())? == Outcome::Later {
            attributes::remount(mount.as_fd(), 0, self.attributes)?;
            attributes::remount(mount.as_fd(), libc::AT_RECURSIVE, self.recursive)?;
        }
        if !fs.data.is_empty() {
            let context = sys::mount::fspick(mount.as_fd())?;
            for (key, value) in &fs.data {
                sys::mount::fsconfig_set(context.as_fd(), key, value.as_deref())?;
            }
            sys::mount::fsconfig_reconfigure(context.as_fd())?;
        }
        Ok(mount)
    }
}

/// A new instance with the attributes `set` that is attached nowhere, in the namespaces and
/// with the rights of the caller.
///
/// Runs in: parent, to map its ids (a tmpfs without `mode=` is then as the kernel makes it,
/// 1777); init.
pub fn detached(fs: &FileSystem, set: u64) -> Result<OwnedFd> {
    let context = sys::mount::fsopen(&fs.kind)?;
    configure(context.as_fd(), fs)?;
    sys::mount::fsmount(context.as_fd(), set)
}

/// A new instance on `target` by mount(2), with `MS_*` in `flags`.
pub fn mount(target: BorrowedFd<'_>, fs: &FileSystem, flags: u64) -> Result<()> {
    let data = join(&fs.data)?;
    let target = sys::mount::fd_path(target);
    sys::mount::mount(
        Some(&fs.source),
        &target,
        Some(&fs.kind),
        flags,
        data.as_deref(),
    )
    .map_err(|e| explain_refusal(fs, e))
}

fn configure(context: BorrowedFd<'_>, fs: &FileSystem) -> Result<()> {
    set_all(context, fs).map_err(|e| explain_refusal(fs, e))
}

fn set_all(context: BorrowedFd<'_>, fs: &FileSystem) -> Result<()> {
    if !fs.source.is_empty() {
        sys::mount::fsconfig_set(context, c"source", Some(&fs.source))?;
    }
    for (flag, word) in SUPERBLOCK_FLAGS {
        if fs.superblock_flags & flag != 0 {
            sys::mount::fsconfig_set(context, word, None)?;
        }
    }
    for (key, value) in &fs.data {
        sys::mount::fsconfig_set(context, key, value.as_deref())?;
    }
    sys::mount::fsconfig_create(context)
}

/// Superblock flags by the words that fsconfig(2) knows.
const SUPERBLOCK_FLAGS: [(u64, &CStr); 5] = [
    (libc::MS_RDONLY, c"ro"),
    (libc::MS_SYNCHRONOUS, c"sync"),
    (libc::MS_DIRSYNC, c"dirsync"),
    (libc::MS_MANDLOCK, c"mand"),
    (1 << 25, c"lazytime"), // MS_LAZYTIME, Linux 4.0
];

/// The options as mount(2) wants them: `size=65536k,mode=755`.
fn join(options: &[FsOption]) -> Result<Option<CString>> {
    if options.is_empty() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    for (key, value) in options {
        if !bytes.is_empty() {
            bytes.push(b',');
        }
        bytes.extend_from_slice(key.as_bytes());
        if let Some(value) = value {
            bytes.push(b'=');
            // A label of SELinux has commas between its categories, and mount(2) knows quotes
            // for it alone.
            let quote: &[u8] = if is_context(key) { b"\"" } else { b"" };
            bytes.extend_from_slice(&[quote, value.as_bytes(), quote].concat());
        }
    }
    CString::new(bytes)
        .map(Some)
        .map_err(|_| Error::invalid("an option contains a null byte"))
}

/// devpts and tmpfs refuse an owner whom the user namespace does not map, mqueue whoever does
/// not own the ipc namespace.
fn explain_refusal(fs: &FileSystem, error: Error) -> Error {
    if fs.kind.as_c_str() == c"mqueue" && error.is(Errno::EPERM) {
        return error
            .with_hint("mqueue belongs to the ipc namespace: use a new one, or bind /dev/mqueue");
    }
    let owner = fs
        .data
        .iter()
        .find(|(key, _)| matches!(key.as_bytes(), b"uid" | b"gid"));
    if error.is(Errno::EINVAL)
        && let Some((key, Some(label))) = fs.data.iter().find(|(key, _)| is_context(key))
    {
        return error.with_hint(format!(
            "the option {key:?} with the label {label:?}: SELinux takes only labels that its policy has, and not every file system takes every option"
        ));
    }
    match owner {
        Some((key, Some(value))) if error.is(Errno::EINVAL) => {
            let (key, value) = (key.to_string_lossy(), value.to_string_lossy());
            error.with_hint(format!(
                "{key}={value} has to be in linux.{key}Mappings; map it, or leave the option out"
            ))
        }
        _ => error,
    }
}
