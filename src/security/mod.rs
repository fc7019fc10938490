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

use std::os::fd::BorrowedFd;

use crate::error::Result;
use crate::plan::process::Process;

/// Gives the next program the SELinux label and the AppArmor profile of `process`. `own` is
/// an open /proc/self of the host's procfs.
pub fn label_next_program(process: &Process, own: BorrowedFd) -> Result<()> {
    if let Some(label) = &process.selinux_label {
        selinux::label_on_exec(own, label)?;
    }
    if let Some(profile) = &process.apparmor_profile {
        apparmor::change_on_exec(own, profile)?;
    }
    Ok(())
}
