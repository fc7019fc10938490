//! The wire between the parent and init: what is said, in which order, in which form.
//!
//! One datagram is one message. A message from the child is a [`Frame`]; the parent's only
//! message is an answer, which may carry a descriptor.
//!
//! Runs in: parent, bridge, init, enter.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::log::{self, Level};
use crate::sys::socket;
use crate::trace::{self, Step};

/// What init asks for. The order of the variants is the order of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Request {
    /// Write the maps of my user namespace.
    MapIds,
    /// Move me into the cgroup.
    EnterCgroup,
    /// Move me on into the cgroup below it that is delegated to the container.
    EnterDelegated,
    /// Move the network devices into my network namespace.
    NetDevices,
    /// Open the source of this mount of the plan for me. The answer carries it.
    MountFd(usize),
    /// Make the device nodes of config.json for me. The answer carries them, or nothing.
    Nodes,
    /// Run the prestart and createRuntime hooks.
    RunHooks,
    /// Here is the master of the terminal.
    Console,
    /// Here is the listener of the seccomp program.
    NotifyFd,
    /// All is done that can be done before start.
    Ready,
}

/// Everything that the child says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Frame {
    /// From the bridge: the process that it made, as a pid of the parent's namespace.
    Born {
        pid: i32,
        in_cgroup: bool,
    },
    Request(Request),
    /// The end: why there will be no container.
    Failed(Error),
    Aside(Aside),
}

/// What is no part of the conversation, and may come at any time.
#[derive(Debug, Serialize, Deserialize)]
pub enum Aside {
    Log(Level, String),
    Trace(Vec<Step>),
}

impl Aside {
    /// Gives it to this process's own log, or trace.
    pub fn pass_on(self) {
        match self {
            Aside::Log(level, line) => log::emit(level, &line),
            Aside::Trace(steps) => trace::receive(steps),
        }
    }
}

/// The longest message: an error whose every part is a path of 4096 bytes still fits.
const LONGEST: usize = 64 << 10;

/// The longest link of an error that is sent.
const LONGEST_LINK: usize = 4 << 10;

/// One end of the wire.
pub struct Wire {
    /// Shared with the log where that goes over the wire.
    socket: Arc<OwnedFd>,
}

impl Wire {
    /// The parent's end and the child's.
    pub fn pair() -> Result<(Wire, Wire)> {
        let (parent, child) = socket::pair()?;
        Ok((Wire::from_socket(parent), Wire::from_socket(child)))
    }

    pub fn from_socket(socket: OwnedFd) -> Wire {
        Wire {
            socket: Arc::new(socket),
        }
    }

    pub fn send(&self, frame: &Frame, fd: Option<BorrowedFd<'_>>) -> Result<()> {
        let bytes = serde_json::to_vec(frame)
            .map_err(|e| Error::system(format!("a message that cannot be written: {e}")))?;
        socket::send(self.socket.as_fd(), &bytes, fd)
            .map_err(|errno| Error::syscall("sendmsg", "wire", errno as i32))
    }

    /// Child: the last word, why there will be no payload.
    pub fn send_failure(&self, error: Error) -> Result<()> {
        self.send(&Frame::Failed(error.abridged(LONGEST_LINK)), None)
    }

    /// The next frame, or none when the other end is gone.
    pub fn receive(&self) -> Result<Option<(Frame, Option<OwnedFd>)>> {
        let length = match socket::next_length(self.socket.as_fd()) {
            Ok(length) => length.min(LONGEST),
            Err(Errno::ECONNRESET) => return Ok(None),
            Err(errno) => return Err(Error::syscall("recvfrom", "wire, MSG_PEEK", errno as i32)),
        };
        let mut buffer = vec![0; length.max(1)];
        let (length, fd) = match socket::receive(self.socket.as_fd(), &mut buffer) {
            // The other end died with a message of ours unread.
            Err(Errno::ECONNRESET) | Ok((0, _)) => return Ok(None),
            other => other.map_err(|errno| Error::syscall("recvmsg", "wire", errno as i32))?,
        };
        let frame = serde_json::from_slice(&buffer[..length])
            .map_err(|e| Error::system(format!("a message that cannot be read: {e}")))?;
        Ok(Some((frame, fd)))
    }

    /// Child: asks and waits. `Gone` when there is no parent any more.
    pub fn ask(
        &self,
        request: Request,
        fd: Option<BorrowedFd<'_>>,
    ) -> std::result::Result<Option<OwnedFd>, Gone> {
        let _step = trace::step_of(|| format!("asks for {request:?}"));
        self.send(&Frame::Request(request), fd).map_err(|_| Gone)?;
        self.await_answer()
    }

    /// Child: waits for one answer.
    pub fn await_answer(&self) -> std::result::Result<Option<OwnedFd>, Gone> {
        let mut byte = [0; 1];
        match socket::receive(self.socket.as_fd(), &mut byte) {
            Ok((1, fd)) => Ok(fd),
            _ => Err(Gone),
        }
    }

    /// Parent: answers the last request, or tells init to go on.
    pub fn answer(&self, fd: Option<BorrowedFd<'_>>) -> Result<()> {
        socket::send(self.socket.as_fd(), &[1], fd)
            .map_err(|errno| Error::syscall("sendmsg", "wire", errno as i32))
    }

    /// Child: hands every later line of the log, and step of the trace, to the other end.
    pub fn carry_asides(&self) {
        let wire = self.share();
        log::divert(move |level, message| {
            let line = Aside::Log(level, message.to_owned());
            let _ = wire.send(&Frame::Aside(line), None);
        });
        let wire = self.share();
        trace::divert(move |steps| {
            let _ = wire.send(&Frame::Aside(Aside::Trace(steps.to_vec())), None);
        });
    }

    fn share(&self) -> Wire {
        Wire {
            socket: Arc::clone(&self.socket),
        }
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The parent ended before it answered: nobody is left to report to, so the child ends too.
#[derive(Debug)]
pub struct Gone;

impl From<Gone> for Error {
    fn from(_: Gone) -> Error {
        Error::system("the runtime that started this container is gone")
    }
}

/// Refuses a request that comes twice or too early.
#[derive(Default)]
pub struct Order {
    last: Option<Request>,
}

impl Order {
    pub fn admit(&mut self, request: Request) -> Result<()> {
        if self.last.is_some_and(|last| request <= last) {
            return Err(Error::system(format!(
                "init asks for {request:?} after {:?}",
                self.last
            )));
        }
        self.last = Some(request);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_and_its_descriptor_arrive_together() {
        let (parent, child) = Wire::pair().unwrap();
        let (other, _keep) = socket::pair().unwrap();
        child
            .send(&Frame::Request(Request::Console), Some(other.as_fd()))
            .unwrap();
        let (frame, fd) = parent.receive().unwrap().unwrap();
        assert!(matches!(frame, Frame::Request(Request::Console)));
        assert!(fd.is_some());
    }

    #[test]
    fn the_end_of_one_side_is_seen_by_the_other() {
        let (parent, child) = Wire::pair().unwrap();
        drop(child);
        assert!(parent.receive().unwrap().is_none());
        let (parent, child) = Wire::pair().unwrap();
        drop(parent);
        assert!(child.ask(Request::Ready, None).is_err());
    }

    #[test]
    fn requests_out_of_order_are_refused() {
        let mut order = Order::default();
        for request in [Request::MapIds, Request::MountFd(1), Request::MountFd(2)] {
            order.admit(request).unwrap();
        }
        assert!(order.admit(Request::MountFd(2)).is_err());
        assert!(order.admit(Request::MapIds).is_err());
        order.admit(Request::Ready).unwrap();
    }
}
