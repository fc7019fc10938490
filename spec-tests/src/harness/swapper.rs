//! A process that exchanges two names as fast as it can, for attacks between a check and its use.
//!
//! Runs in: a child of the worker.

use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid};

use super::verdict::Verdict;
use crate::sys;

/// Ended when it is dropped.
#[derive(Debug)]
pub struct Swapper {
    pid: Pid,
    pidfd: OwnedFd,
}

impl Swapper {
    /// Begins to exchange the two names.
    pub fn start(one: &Path, two: &Path) -> Verdict<Self> {
        match sys::fork()? {
            ForkResult::Parent { child } => Ok(Self {
                pid: child,
                pidfd: sys::pidfd_open(child)?,
            }),
            ForkResult::Child => {
                let _ = set_pdeathsig(Signal::SIGKILL);
                loop {
                    let _ = renameat2(AT_FDCWD, one, AT_FDCWD, two, RenameFlags::RENAME_EXCHANGE);
                }
            }
        }
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        let _ = sys::pidfd_kill(&self.pidfd, libc::SIGKILL);
        let _ = waitpid(self.pid, None);
    }
}
