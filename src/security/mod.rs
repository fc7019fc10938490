//! What narrows the payload down: ids and capabilities, labels, limits, the keyring, and how
//! it is scheduled.
//!
//! Owns the order in which rights are given up, which is where such code goes wrong.
//!
//! Runs in: init after pivot, and enter; [`apparmor::is_enabled`] and
//! [`selinux::is_enabled`] in the parent too.

pub mod apparmor;
pub mod capabilities;
pub mod keyring;
pub mod limits;
pub mod scheduling;
pub mod selinux;
#[cfg(test)]
mod tests;

use std::os::fd::BorrowedFd;

use crate::error::{Error, Result};
use crate::plan::process::Process;
use crate::plan::rootfs::MountLabel;

/// Refuses a label or profile that nobody on this host would enforce, before anything is
/// made. Runs in the parent: the container's /sys need not be the host's.
pub fn require_support(process: &Process) -> Result<()> {
    let profile = process.apparmor_profile.as_deref();
    if profile.is_some_and(|profile| profile != apparmor::UNCONFINED) && !apparmor::is_enabled() {
        return Err(apparmor::not_supported());
    }
    if process.selinux_label.is_some() && !selinux::is_enabled() {
        return Err(selinux::not_supported("/process/selinuxLabel"));
    }
    Ok(())
}

/// The same for `linux.mountLabel`.
pub fn require_mount_label_support(label: Option<&MountLabel>) -> Result<()> {
    if label.is_some() && !selinux::is_enabled() {
        return Err(selinux::not_supported("/linux/mountLabel"));
    }
    Ok(())
}

/// Whether `process` has to be given a label, which is written to its own directory of /proc.
pub fn needs_own_directory(process: &Process) -> bool {
    process.selinux_label.is_some() || process.apparmor_profile.is_some()
}

/// Leaves the caller's session keyring for the container's own: init makes it, labelled as
/// the payload; `exec` joins it. `own` is an open /proc/self of the host's procfs, where
/// [`needs_own_directory`] says that one is needed.
pub fn enter_session_keyring(
    process: &Process,
    own: Option<BorrowedFd>,
    entry: KeyringEntry,
) -> Result<()> {
    let Some(name) = &process.keyring else {
        return Ok(());
    };
    if let Some(label) = &process.selinux_label {
        selinux::label_new_keys(given(own)?, label)?;
    }
    match entry {
        KeyringEntry::Make(searcher) => keyring::make_session(name, searcher)?,
        KeyringEntry::Join => keyring::join_session(name)?,
    }
    match &process.selinux_label {
        Some(_) => selinux::label_new_keys_as_usual(given(own)?),
        None => Ok(()),
    }
}

/// How a process comes to the container's keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyringEntry {
    Make(keyring::Searcher),
    Join,
}

/// Gives the next program the SELinux label and the AppArmor profile of `process`. `own` is
/// as in [`enter_session_keyring`].
pub fn label_next_program(process: &Process, own: Option<BorrowedFd>) -> Result<()> {
    if let Some(label) = &process.selinux_label {
        selinux::label_on_exec(given(own)?, label)?;
    }
    if let Some(profile) = &process.apparmor_profile {
        apparmor::change_on_exec(given(own)?, profile)?;
    }
    Ok(())
}

fn given(own: Option<BorrowedFd>) -> Result<BorrowedFd> {
    own.ok_or_else(|| Error::system("the parent sent no directory of /proc"))
}
