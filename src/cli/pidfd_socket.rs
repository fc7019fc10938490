//! `--pidfd-socket`, and crun's annotation `run.oci.pidfd_receiver`: a pidfd of the new process
//! for the caller.
//!
//! A pid may name a stranger by the time it is used; a pidfd never does.
//!
//! Runs in: parent.

use std::os::fd::{AsFd, OwnedFd};

use crate::error::{Context, Error, Result};
use crate::plan::HostPath;
use crate::sys::process::OwnedProcess;
use crate::sys::socket;

/// The text beside the descriptor, runc's: what sort of process it is. crun sends a blank.
#[derive(Clone, Copy, Debug)]
pub enum Sort {
    Init,
    Exec,
}

/// A connection to whoever waits for the pidfd.
pub struct PidfdSocket {
    socket: OwnedFd,
    path: HostPath,
    asked_by: &'static str,
}

impl PidfdSocket {
    /// Connects before anything is made: where nobody listens there is nothing to undo.
    /// `asked_by` names the option or annotation.
    pub fn connect(path: HostPath, asked_by: &'static str) -> Result<PidfdSocket> {
        let socket = socket::connect_stream(path.as_path())
            .map_err(|e| e.with_hint("somebody has to listen there before rt is called"))
            .context(|| asked_by)?;
        Ok(PidfdSocket {
            socket,
            path,
            asked_by,
        })
    }

    /// Sends a pidfd of `process` in one message.
    pub fn send(&self, process: &OwnedProcess, sort: Sort) -> Result<()> {
        let text = match sort {
            Sort::Init => "standard",
            Sort::Exec => "setns",
        };
        let fd = Some(process.as_fd());
        socket::send(self.socket.as_fd(), text.as_bytes(), fd).map_err(|errno| {
            let arguments = format!("{:?}, {text:?}, SCM_RIGHTS", self.path.as_path());
            Error::syscall("sendmsg", arguments, errno as i32).within(self.asked_by)
        })
    }
}
