//! A socket that receives a descriptor from the runtime (a terminal, a seccomp listener), and terminals of the suite's own.
//!
//! Runs in: the worker.

use std::fs::File;
use std::io::{IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::pty::openpty;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use super::case::Case;
use super::verdict::{Verdict, fail};
use crate::sys;

pub struct FdSocket<'a> {
    case: &'a Case,
    path: PathBuf,
    listener: UnixListener,
}

impl<'a> FdSocket<'a> {
    pub fn listen(case: &'a Case) -> Verdict<Self> {
        let path = case.dir.join("fd.sock");
        Ok(Self {
            case,
            listener: UnixListener::bind(&path)?,
            path,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether somebody has connected.
    pub fn has_connection(&self) -> Verdict<bool> {
        Ok(sys::readable_before(
            self.listener.as_fd(),
            std::time::Instant::now(),
        )?)
    }

    /// The terminal that the runtime sent.
    pub fn receive(&self) -> Verdict<Terminal<'a>> {
        let (main, _) = self.receive_fd()?;
        Ok(Terminal {
            case: self.case,
            main: File::from(main),
        })
    }

    /// The one descriptor that came over the next connection, and the text beside it.
    pub fn receive_fd(&self) -> Verdict<(OwnedFd, String)> {
        if !sys::readable_before(self.listener.as_fd(), self.case.deadline)? {
            return fail("nobody connected to the socket");
        }
        let stream = self.accept()?;
        if !sys::readable_before(stream.as_fd(), self.case.deadline)? {
            return fail("nothing was sent to the socket");
        }
        receive_fd_from(&stream)
    }

    /// The next connection, on which nothing may have been sent yet.
    pub fn accept(&self) -> Verdict<UnixStream> {
        Ok(self.listener.accept()?.0)
    }
}

/// The one descriptor that has come over a connection, and the text beside it.
pub fn receive_fd_from(stream: &UnixStream) -> Verdict<(OwnedFd, String)> {
    let mut data = [0u8; 4096];
    let mut control = nix::cmsg_space!([std::os::fd::RawFd; 4]);
    let mut parts = [IoSliceMut::new(&mut data)];
    let message = recvmsg::<()>(
        stream.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    let mut received = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = part {
            received.extend(fds.into_iter().map(adopt));
        }
    }
    let got = message.bytes;
    if received.len() != 1 {
        return fail(format!(
            "{} descriptors came over the socket, not one",
            received.len()
        ));
    }
    Ok((
        received.remove(0),
        String::from_utf8_lossy(&data[..got]).into_owned(),
    ))
}

#[allow(unsafe_code, reason = "one descriptor of a message, as in sys")]
fn adopt(fd: std::os::fd::RawFd) -> OwnedFd {
    // SAFETY: recvmsg has just installed this descriptor for us alone.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// The main side of a pseudo-terminal.
pub struct Terminal<'a> {
    case: &'a Case,
    main: File,
}

impl<'a> Terminal<'a> {
    /// A new one and its other side.
    pub fn open(case: &'a Case) -> Verdict<(Self, OwnedFd)> {
        let pair = openpty(None, None)?;
        Ok((
            Self {
                case,
                main: File::from(pair.master),
            },
            pair.slave,
        ))
    }

    pub fn resize(&self, rows: u16, columns: u16) -> Verdict {
        Ok(sys::set_window_size(self.main.as_fd(), rows, columns)?)
    }

    pub fn write(&mut self, text: &str) -> Verdict {
        Ok(self.main.write_all(text.as_bytes())?)
    }

    /// Reads until the output so far contains the text, and returns all of it.
    pub fn read_until(&mut self, text: &str) -> Verdict<String> {
        let mut seen = String::new();
        let mut buffer = [0u8; 65536];
        while !seen.contains(text) {
            if !sys::readable_before(self.main.as_fd(), self.case.deadline)? {
                return fail(format!(
                    "{text:?} did not come on the terminal, only {seen:?}"
                ));
            }
            match self.main.read(&mut buffer) {
                Ok(0) => return fail(format!("the terminal ended after {seen:?}")),
                Ok(got) => seen.push_str(&String::from_utf8_lossy(&buffer[..got])),
                Err(error) => return fail(format!("the terminal ended ({error}) after {seen:?}")),
            }
        }
        Ok(seen)
    }
}
