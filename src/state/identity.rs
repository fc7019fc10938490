//! Which process a number means.
//!
//! A pid is reused; a pid together with the time of its start is not. Field 22 of
//! /proc/PID/stat (proc_pid_stat(5)) has that time, in clock ticks since boot as the reader's
//! time namespace counts them; `rt` reads it in the namespace of its caller.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::sys;

/// A process, told apart from a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub pid: i32,
    /// In clock ticks since boot.
    pub start_time: u64,
}

impl Identity {
    /// The process that has this number now; it may be a zombie. None where there is none.
    pub fn of(pid: Pid) -> Result<Option<Identity>> {
        Ok(read_stat(pid)?.map(|stat| Identity {
            pid: pid.as_raw(),
            start_time: stat.start_time,
        }))
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.pid)
    }

    /// Whether the process is there and not a zombie: one that waits to be reaped has ended.
    /// One whose first thread alone has ended, which may look like that, goes on.
    pub fn is_alive(&self) -> Result<bool> {
        Ok(read_stat(self.pid())?
            .is_some_and(|stat| stat.start_time == self.start_time && !stat.has_ended))
    }

    /// A descriptor of the process. None where it has ended.
    ///
    /// What is behind the descriptor cannot change any more, so the start time is compared
    /// after it is opened.
    pub fn pidfd(&self) -> Result<Option<OwnedFd>> {
        let fd = match sys::process::pidfd_open(self.pid()) {
            Ok(fd) => fd,
            Err(e) if e.is(Errno::ESRCH) => return Ok(None),
            Err(e) => return Err(e),
        };
        Ok(self.is_alive()?.then_some(fd))
    }
}

#[derive(Debug, PartialEq)]
struct Stat {
    start_time: u64,
    has_ended: bool,
}

fn read_stat(pid: Pid) -> Result<Option<Stat>> {
    let path = format!("/proc/{pid}/stat");
    // The line is shorter than this, so one call reads it.
    let mut bytes = Vec::with_capacity(1024);
    let result = File::open(&path).and_then(|mut file| file.read_to_end(&mut bytes));
    match result {
        Ok(_) => match parse_stat(&bytes) {
            Some(stat) => Ok(Some(stat)),
            None => Err(Error::system(format!("{path}: not in the form of proc(5)"))),
        },
        // ESRCH: the process was reaped between open and read.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => Ok(None),
        Err(e) => Err(Error::io("open", &path, &e)),
    }
}

/// The name of the program, field 2, is chosen by the program and may hold spaces and
/// parentheses, so the fields are counted from its last one.
fn parse_stat(bytes: &[u8]) -> Option<Stat> {
    let end_of_name = bytes.iter().rposition(|b| *b == b')')?;
    let rest = std::str::from_utf8(&bytes[end_of_name + 1..]).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    // The state is that of the first thread: pthread_exit(3) in main leaves the others at work.
    let first_has_ended = matches!(fields.next()?, "Z" | "X" | "x");
    let threads: u32 = fields.nth(16)?.parse().ok()?;
    Some(Stat {
        has_ended: first_has_ended && threads <= 1,
        start_time: fields.nth(1)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_cannot_forge_its_start_time_by_its_name() {
        let line =
            b"7 (a) Z 1 (b) \xff) S 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 1 21 4242 23 24\n";
        let stat = parse_stat(line).unwrap();
        assert_eq!(
            stat,
            Stat {
                start_time: 4242,
                has_ended: false
            }
        );
        assert_eq!(parse_stat(b""), None);
        assert_eq!(parse_stat(b"1 (x) S 1 2"), None);
    }

    #[test]
    fn a_live_process_is_known_again_and_a_later_one_is_not_it() {
        let me = Identity::of(Pid::this()).unwrap().unwrap();
        assert!(me.is_alive().unwrap());
        assert!(me.pidfd().unwrap().is_some());
        let former = Identity {
            start_time: me.start_time - 1,
            ..me
        };
        assert!(!former.is_alive().unwrap());
        assert!(former.pidfd().unwrap().is_none());
    }

    #[test]
    fn a_process_goes_on_without_its_first_thread() {
        let line = |state, threads| {
            format!("7 (a) {state} 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 {threads} 21 4242 23")
        };
        let has_ended = |state, threads| {
            parse_stat(line(state, threads).as_bytes())
                .unwrap()
                .has_ended
        };
        assert!(has_ended("Z", 1) && has_ended("X", 0));
        assert!(!has_ended("Z", 2) && !has_ended("S", 1));
    }

    #[test]
    fn a_zombie_has_ended() {
        let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32);
        let child_identity = Identity::of(pid).unwrap().unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while child_identity.is_alive().unwrap() {
            assert!(std::time::Instant::now() < deadline);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert!(read_stat(pid).unwrap().unwrap().has_ended);
        child.wait().unwrap();
        assert_eq!(Identity::of(pid).unwrap(), None);
        assert!(child_identity.pidfd().unwrap().is_none());
    }
}
