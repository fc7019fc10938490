//! The end of a cgroup: its processes are killed, and its directory is removed.
//!
//! Runs in: parent.

use std::os::fd::{AsFd, OwnedFd};
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
            Ok(()) => {
                // The kernel sends it to the first thread of each process. One that has ended,
                // while others go on, takes no signal (seen on Linux 6.18). All others are killed
                // already, those that this process may send none too.
                let _ = self.signal_each(libc::SIGKILL);
                Ok(())
            }
            failed => failed,
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
            if self.processes()?.is_empty() {
                return Ok(());
            }
            self.signal_each(libc::SIGKILL)?;
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

    /// Sends `signal` to every process that is in the cgroup or below it now, one after the other.
    pub fn signal_each(&self, signal: i32) -> Result<()> {
        let all = self.processes()?;
        let mut rest = all.as_slice();
        // A payload may have more processes than this one may have descriptors.
        let mut at_a_time = 512;
        while !rest.is_empty() {
            let (some, later) = rest.split_at(rest.len().min(at_a_time));
            match self.signal_some(some, signal) {
                Err(e) if at_a_time > 1 && (e.is(Errno::EMFILE) || e.is(Errno::ENFILE)) => {
                    at_a_time /= 2;
                }
                result => {
                    result?;
                    rest = later;
                }
            }
        }
        Ok(())
    }

    /// EMFILE and ENFILE: they are too many at a time, and none has got the signal.
    fn signal_some(&self, pids: &[Pid], signal: i32) -> Result<()> {
        let mut held = Vec::new();
        for pid in pids {
            match sys::process::pidfd_open(*pid) {
                Ok(pidfd) => held.push((pid, pidfd)),
                Err(e) if e.is(Errno::ESRCH) => {}
                Err(e) => return Err(e),
            }
        }
        // A number may have gone to a stranger between the list and the descriptor; one that is
        // in a list that was made after it is meant.
        let still_there = self.processes()?;
        for (pid, pidfd) in held {
            if still_there.binary_search(pid).is_ok() {
                send(*pid, &pidfd, signal)?;
            }
        }
        Ok(())
    }

    /// Kills what is in the cgroup, and removes it as [`Handle::remove`] does. What is killed may
    /// have made another process a moment before.
    pub fn end(&self) -> Result<()> {
        let deadline = Instant::now() + DEATH;
        tree::remove(self.mount(), self.path(), deadline, || self.kill_all())
    }

    /// Removes the cgroup and those below it, and waits at most ten seconds for the killed
    /// processes in them to go. It kills none. What is gone already is no error.
    pub fn remove(&self) -> Result<()> {
        let deadline = Instant::now() + DEATH;
        tree::remove(self.mount(), self.path(), deadline, || Ok(()))
    }
}

fn send(pid: Pid, pidfd: &OwnedFd, signal: i32) -> Result<()> {
    match sys::process::pidfd_send_signal(pidfd.as_fd(), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(sys::process::not_sent(pid, signal, errno)),
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
