//! The foreground: `rt run` and `rt exec` while the payload runs.
//!
//! Hands every signal on, carries the terminal's bytes, reaps, and returns the payload's
//! status. No signal handler runs anywhere: all signals are blocked from before the first
//! side effect, and read from a descriptor.
//!
//! Runs in: parent.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::error::{Error, Result};
use crate::hooks::Interruption;
use crate::log;
use crate::sys::check;
use crate::sys::process::{self as kernel, OwnedProcess};
use crate::terminal::Foreground as Terminal;

use super::readiness::Relay;

/// The signals of this process, blocked and to be read.
pub struct Signals {
    source: SignalFd,
}

impl Signals {
    /// Blocks all signals from now on.
    pub fn block() -> Result<Signals> {
        let all = kernel::every_signal();
        check(all.thread_block(), "rt_sigprocmask", "SIG_BLOCK, ~[]")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Signals {
            source: check(SignalFd::with_flags(&all, flags), "signalfd4", "~[]")?,
        })
    }

    /// Waits until `fd` can be read. A signal that comes before that and asks this process to
    /// end is an error, so that what was made is undone on the way out.
    pub fn wait_for(&self, fd: BorrowedFd<'_>) -> Result<()> {
        self.wait_for_either(fd, None)
    }

    /// The same with a second descriptor.
    pub fn wait_for_either(&self, fd: BorrowedFd<'_>, other: Option<BorrowedFd<'_>>) -> Result<()> {
        loop {
            let mut fds = vec![
                PollFd::new(self.source.as_fd(), PollFlags::POLLIN),
                PollFd::new(fd, PollFlags::POLLIN),
            ];
            fds.extend(other.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
            poll_forever(&mut fds)?;
            if fds[1..]
                .iter()
                .any(|fd| fd.revents().is_some_and(|r| !r.is_empty()))
            {
                return Ok(());
            }
            if fds[0].revents().is_some_and(|r| !r.is_empty()) {
                self.check()?;
            }
        }
    }

    /// The next signal that has come, if any.
    fn next(&self) -> Result<Option<i32>> {
        match self.source.read_signal() {
            Ok(Some(info)) => Ok(Some(info.ssi_signo as i32)),
            Ok(None) | Err(Errno::EINTR) => Ok(None),
            Err(errno) => Err(Error::syscall("read", "signalfd", errno as i32)),
        }
    }
}

impl Interruption for Signals {
    fn fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }

    /// The next signal, if it asks this process to end. Others are passed over.
    fn check(&self) -> Result<()> {
        match self.next()? {
            Some(signal @ (libc::SIGHUP | libc::SIGINT | libc::SIGQUIT | libc::SIGTERM)) => {
                let name = kernel::signal_name(signal);
                Err(Error::system(format!("interrupted by {name}")))
            }
            _ => Ok(()),
        }
    }
}

/// Stays until the process `child` has ended, and returns its exit status, or 128 plus
/// the number of the signal that ended it.
pub fn attend(
    child: OwnedProcess,
    signals: &Signals,
    mut terminal: Option<Terminal>,
    mut relay: Option<Relay>,
) -> Result<u8> {
    // Two ends make one pending SIGCHLD, and who waited for something else may have read it.
    let mut ended = reap(child.pid())?;
    loop {
        if let Some(status) = ended {
            log::debug(|| format!("process {} has ended with status {status}", child.pid()));
            child.release();
            if let Some(terminal) = terminal {
                terminal.finish();
            }
            return Ok(status);
        }
        let ready = {
            let mut fds = vec![PollFd::new(signals.source.as_fd(), PollFlags::POLLIN)];
            fds.extend(
                relay
                    .as_ref()
                    .map(|r| PollFd::new(r.as_fd(), PollFlags::POLLIN)),
            );
            if let Some(terminal) = &terminal {
                fds.extend(terminal.fds());
            }
            poll_forever(&mut fds)?;
            fds[0].revents().is_some_and(|r| !r.is_empty())
        };
        if let Some(relay) = &mut relay {
            relay.pass_on();
        }
        if let Some(terminal) = &mut terminal {
            terminal.on_ready()?;
        }
        if !ready {
            continue;
        }
        while let Some(signal) = signals.next()? {
            match signal {
                libc::SIGCHLD => ended = ended.or(reap(child.pid())?),
                libc::SIGWINCH if terminal.is_some() => {
                    if let Some(terminal) = &mut terminal {
                        terminal.resize()?;
                    }
                }
                // Go's runtime sends itself this one; runc passes it over too.
                libc::SIGURG => {}
                other => {
                    let _ = kernel::pidfd_send_signal(child.as_fd(), other);
                }
            }
        }
    }
}

/// Reaps every child that has ended; the status of `pid` once it is among them.
fn reap(pid: Pid) -> Result<Option<u8>> {
    let mut found = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(who, code)) if who == pid => found = Some(code as u8),
            Ok(WaitStatus::Signaled(who, signal, _)) if who == pid => {
                found = Some(128 + signal as u8);
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(found),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::syscall("wait4", "-1, WNOHANG", errno as i32)),
        }
    }
}

fn poll_forever(fds: &mut [PollFd<'_>]) -> Result<()> {
    loop {
        match poll(fds, PollTimeout::NONE) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::syscall("poll", "", errno as i32)),
        }
    }
}

/// The terminal of `rt run` and `rt exec` without a console socket: the caller's own goes into
/// raw mode, and the payload's gets its size before the payload can ask for it.
pub fn terminal(master: OwnedFd) -> Result<Terminal> {
    let mut terminal = Terminal::new(master)?;
    terminal.resize()?;
    Ok(terminal)
}

/// Adopts orphans of the payload (a container without a pid namespace), so that they are
/// reaped as long as this process stays.
pub fn adopt_orphans() -> Result<()> {
    kernel::become_subreaper()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::Cloned;

    #[test]
    fn an_end_whose_signal_somebody_else_has_read_is_seen() {
        // In a process of its own: it reaps whatever child there is.
        let Cloned::Parent(mut child) = kernel::clone(0, None).unwrap() else {
            kernel::exit_now(read_the_signal_and_attend().map_or(1, i32::from))
        };
        let ended = poll(
            &mut [PollFd::new(child.as_fd(), PollFlags::POLLIN)],
            PollTimeout::from(10_000_u16),
        );
        assert_eq!(ended, Ok(1), "it waits in vain");
        let status = WaitStatus::Exited(child.pid(), 7);
        assert_eq!(child.wait().unwrap(), status);
    }

    fn read_the_signal_and_attend() -> Result<u8> {
        let signals = Signals::block()?;
        let Cloned::Parent(child) = kernel::clone(0, None)? else {
            kernel::exit_now(7)
        };
        poll_forever(&mut [PollFd::new(signals.source.as_fd(), PollFlags::POLLIN)])?;
        signals.next()?;
        attend(child, &signals, None, None)
    }
}
