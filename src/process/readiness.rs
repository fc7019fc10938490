//! sd_notify(3): what the payload tells its service manager, passed on to the caller's.
//!
//! Owns the conversation with `$NOTIFY_SOCKET`. The container has a socket of rt's own at
//! /run/notify/notify.sock, so that no process of it can speak to the manager itself. Of what
//! comes through it a list of harmless fields goes on: not those that would put descriptors
//! into the manager's store or change who may speak, and a MAINPID only in the numbers of the
//! host and of a process of the container. With READY=1 goes the number of the process that
//! the manager is to watch from then on, and in the background a barrier after it.
//!
//! runc and conmon do the same for READY=1 alone, crun for READY=1 in the foreground too.
//!
//! Runs in: parent (`run`), `start`.

use std::ffi::OsStr;
use std::fmt::Write;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

use crate::error::{Context, Error, Result};
use crate::log;
use crate::sys::{check, socket};

use super::foreground::Signals;

/// The name of the socket in its directory; inside, /run/notify/notify.sock.
const SOCKET: &str = "notify.sock";

/// How long a manager may take for what it is told, the time that runc gives it.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the socket stays after the last word: systemd-notify(1) sends a barrier of its own
/// behind READY=1, and fails where nobody is left to take it.
const LINGER: Duration = Duration::from_millis(100);

/// So many datagrams are passed on at a time, more than a queue holds as systemd sets it
/// (net.unix.max_dgram_qlen): a payload that never stops to talk keeps nobody waiting.
const AT_A_TIME: usize = 1024;

/// The longest datagram that is read; a longer one is passed over.
const LONGEST: usize = 4096;

/// Fields that go on as they are (sd_notify(3)).
const HARMLESS: [&str; 10] = [
    "READY",
    "RELOADING",
    "STOPPING",
    "MONOTONIC_USEC",
    "STATUS",
    "ERRNO",
    "BUSERROR",
    "EXIT_STATUS",
    "WATCHDOG",
    "EXTEND_TIMEOUT_USEC",
];

const BARRIER: &[u8] = b"BARRIER=1";

/// Which process the manager is to watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Main {
    /// rt itself, which stays as long as the payload.
    ThisProcess,
    /// The payload's first process, or another of the container that it names, by its number inside.
    Payload { init: Pid, named: Option<i32> },
}

/// The two ends.
pub struct Relay {
    container: OwnedFd,
    manager: OwnedFd,
    main: Main,
    is_ready: bool,
}

impl AsFd for Relay {
    /// Readable when the payload has said something.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.container.as_fd()
    }
}

impl Relay {
    /// Listens in `directory`, before the payload runs, for what goes on to `manager`, the
    /// value of `$NOTIFY_SOCKET`. None where nobody is at that address: a warning, since the
    /// variable may be older than the manager.
    pub fn listen(directory: BorrowedFd<'_>, manager: &OsStr, main: Main) -> Result<Option<Relay>> {
        let manager = match socket::connect_datagram(manager, PATIENCE) {
            Ok(socket) => socket,
            Err(e) => {
                log::warning(|| format!("NOTIFY_SOCKET: {e}"));
                return Ok(None);
            }
        };
        let container = socket::bind_datagram(directory, SOCKET).context(|| "NOTIFY_SOCKET")?;
        Ok(Some(Relay {
            container,
            manager,
            main,
            is_ready: false,
        }))
    }

    /// Passes on what the payload has said so far. What the manager does not take is lost,
    /// with a warning: the payload runs, and nothing is to be undone.
    pub fn pass_on(&mut self) {
        let mut buffer = [0; LONGEST];
        for _ in 0..AT_A_TIME {
            let Some((length, fd)) = self.next(&mut buffer) else {
                break;
            };
            let message = &buffer[..length];
            let sent = match fd {
                Some(fd) if message == BARRIER => self.send(BARRIER, Some(fd.as_fd())),
                _ => match self.translated(message) {
                    text if text.is_empty() => Ok(()),
                    text => self.send(text.as_bytes(), None),
                },
            };
            if let Err(e) = sent {
                log::warning(|| e.to_string());
            }
        }
    }

    /// Waits until the payload says READY=1, passing on what it says, and then until the
    /// manager has taken it, at most for 30 seconds. Ends without that when the payload, whose
    /// pidfd is `init`, does.
    pub fn wait_until_ready(mut self, init: BorrowedFd<'_>, signals: &Signals) -> Result<()> {
        while !self.is_ready {
            signals
                .wait_for_either(self.container.as_fd(), Some(init))
                .context(|| "waiting for READY=1 from the container")?;
            // In this order: its last word may come with its end.
            let has_ended = is_readable(init, Duration::ZERO);
            self.pass_on();
            if has_ended && !self.is_ready {
                return Ok(());
            }
        }
        self.wait_until_taken();
        let deadline = Instant::now() + LINGER;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !is_readable(self.container.as_fd(), left) {
                return Ok(());
            }
            self.pass_on();
        }
    }

    /// sd_notify_barrier(3): the manager closes the other end of a pipe when it has read all
    /// that was sent before. One that knows no barriers is not waited for any longer.
    fn wait_until_taken(&self) {
        let barrier = || -> Result<()> {
            let (read, write) = check(nix::unistd::pipe2(OFlag::O_CLOEXEC), "pipe2", "")?;
            self.send(BARRIER, Some(write.as_fd()))?;
            drop(write);
            match is_readable(read.as_fd(), PATIENCE) {
                true => Ok(()),
                false => Err(Error::system(format!(
                    "NOTIFY_SOCKET: BARRIER=1 was not answered within {} s",
                    PATIENCE.as_secs()
                ))),
            }
        };
        if let Err(e) = barrier() {
            log::warning(|| e.to_string());
        }
    }

    /// The next datagram of the container and the descriptor with it; None where there is none.
    fn next(&self, buffer: &mut [u8]) -> Option<(usize, Option<OwnedFd>)> {
        match socket::receive(self.container.as_fd(), buffer) {
            // One that is too long says nothing.
            Err(nix::errno::Errno::EMSGSIZE) => Some((0, None)),
            received => received.ok(),
        }
    }

    fn send(&self, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<()> {
        socket::send(self.manager.as_fd(), bytes, fd)
            .map_err(|errno| Error::syscall("sendmsg", "NOTIFY_SOCKET", errno as i32))
    }

    /// What goes on of one datagram, a field per line.
    fn translated(&mut self, message: &[u8]) -> String {
        let mut text = String::new();
        let Ok(message) = std::str::from_utf8(message) else {
            return text;
        };
        for (name, value) in message.lines().filter_map(|line| line.split_once('=')) {
            if let ("MAINPID", Main::Payload { named, .. }) = (name, &mut self.main) {
                *named = value.trim().parse().ok();
            } else if HARMLESS.contains(&name) {
                let _ = writeln!(text, "{name}={value}");
            }
            if (name, value) == ("READY", "1") && !self.is_ready {
                self.is_ready = true;
                let _ = writeln!(text, "MAINPID={}", self.main_process());
            }
        }
        text
    }

    /// To find the process that the container has named costs a look at each of the host's: that
    /// is done once, however often it names one.
    fn main_process(&self) -> Pid {
        match self.main {
            Main::ThisProcess => Pid::this(),
            Main::Payload { init, named } => named
                .and_then(|inside| on_host(init, inside))
                .unwrap_or(init),
        }
    }
}

/// The process that has the number `inside` in the pid namespace of `init`, in the numbers of
/// this one's. Only one of the container is found: of the same namespace, and of the same
/// cgroup or one below it.
fn on_host(init: Pid, inside: i32) -> Option<Pid> {
    let namespace = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let cgroup = |pid: i32| {
        let text = read_proc(pid, "cgroup")?;
        let line = text.lines().find_map(|line| line.strip_prefix("0::"))?;
        Some(Path::new(line).to_owned())
    };
    let wanted = (namespace(init.as_raw())?, cgroup(init.as_raw())?);
    let entries = std::fs::read_dir("/proc").ok()?;
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| number_inside(*pid) == Some(inside))
        .find(|pid| {
            namespace(*pid).as_ref() == Some(&wanted.0)
                && cgroup(*pid).is_some_and(|path| path.starts_with(&wanted.1))
        })
        .map(Pid::from_raw)
}

/// The number of a process in its own pid namespace: the last of `NSpid` (proc_pid_status(5)).
fn number_inside(pid: i32) -> Option<i32> {
    let status = read_proc(pid, "status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_ascii_whitespace().next_back()?.parse().ok()
}

fn read_proc(pid: i32, name: &str) -> Option<String> {
    let mut text = String::new();
    let mut file = std::fs::File::open(format!("/proc/{pid}/{name}")).ok()?;
    file.read_to_string(&mut text).ok().map(|_| text)
}

/// Whether `fd` can be read, or its other end has gone, within `patience`.
fn is_readable(fd: BorrowedFd<'_>, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Err(nix::errno::Errno::EINTR) if !left.is_zero() => {}
            found => return found.is_ok_and(|n| n > 0),
        }
    }
}

#[cfg(test)]
mod tests;
