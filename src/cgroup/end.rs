//! The end of a cgroup: its processes are killed, and its directory is removed.
//!
//! Runs in: parent.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::Pid;

use super::Handle;
use super::handle::list;
use super::tree;
use crate::error::{Error, Result};
use crate::sys;

/// How long killed processes may take to go.
const DEATH: Duration = Duration::from_secs(10);

impl Handle {
    /// Sends SIGKILL to every process in the cgroup and below it. It does not wait for them
    /// to end; [`Handle::remove`] does.
    ///
    /// KERNEL(5.14): without cgroup.kill the freezer keeps the processes from multiplying
    /// while they are killed one by one.
    ///
    /// So it does in a threaded cgroup, where a write to cgroup.kill says EOPNOTSUPP.
    pub fn kill_all(&self) -> Result<()> {
        match self.directory().write("cgroup.kill", "1") {
            Err(e) if e.is(Errno::ENOENT) || e.is(Errno::EOPNOTSUPP) => self.kill_each(),
            Err(e) if e.is(Errno::ENODEV) => Ok(()),
            result => result,
        }
    }

    pub(super) fn kill_each(&self) -> Result<()> {
        if is_gone(self.directory().write("cgroup.freeze", "1"))? {
            return Ok(());
        }
        let result = self.kill_until_empty();
        // A killed process ends although it is frozen; what a failure leaves must not stay so.
        let _ = self.directory().write("cgroup.freeze", "0");
        result
    }

    fn kill_until_empty(&self) -> Result<()> {
        let deadline = Instant::now() + DEATH;
        loop {
            let pids = self.processes()?;
            if pids.is_empty() {
                return Ok(());
            }
            for pid in pids {
                self.kill_one(pid)?;
            }
            if Instant::now() > deadline {
                return Err(Error::system(format!(
                    "{:?}: processes survive SIGKILL: {}",
                    self.directory().path(),
                    list(&self.processes()?)
                )));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Between the list and the kill the number may have gone to a stranger, so the process
    /// is held by a descriptor before the list is read again.
    fn kill_one(&self, pid: Pid) -> Result<()> {
        let pidfd = match sys::process::pidfd_open(pid) {
            Ok(pidfd) => pidfd,
            Err(e) if e.is(Errno::ESRCH) => return Ok(()),
            Err(e) => return Err(e),
        };
        if !self.processes()?.contains(&pid) {
            return Ok(());
        }
        match sys::process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(Error::syscall(
                "pidfd_send_signal",
                format_args!("{pid}, SIGKILL"),
                errno as i32,
            )),
        }
    }

    /// Removes the cgroup and those below it, and waits at most ten seconds for the killed
    /// processes in them to go. It kills none. What is gone already is no error.
    pub fn remove(&self) -> Result<()> {
        tree::remove(self.mount(), self.path(), Instant::now() + DEATH)
    }
}

/// Whether an operation found its cgroup removed.
fn is_gone(result: Result<()>) -> Result<bool> {
    match result {
        Ok(()) => Ok(false),
        Err(e) if e.is(Errno::ENODEV) || e.is(Errno::ENOENT) => Ok(true),
        Err(e) => Err(e),
    }
}
