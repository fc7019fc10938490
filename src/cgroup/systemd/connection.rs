//! A connection to a bus: authentication, calls and their answers, signals.
//!
//! Every wait ends at a deadline that the caller sets.
//!
//! Runs in: parent.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::address::Address;
use super::message::{self, Incoming, Method, START};
use crate::error::{Error, Result};
use crate::plan::scope::value::Value;
use crate::sys::socket;

/// The longest line of an authentication.
const LONGEST_LINE: usize = 4096;

/// Signals that are kept for later; none that matters is that far behind.
const MOST_SIGNALS: usize = 256;

/// A bus, as its client: one call at a time, with a deadline for the answer.
pub struct Connection {
    socket: UnixStream,
    address: String,
    /// What has come and is not used yet.
    buffer: Vec<u8>,
    serial: u32,
    signals: VecDeque<(String, Vec<Value>)>,
    pub deadline: Instant,
}

/// What the other side says instead of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `org.freedesktop.systemd1.NoSuchUnit`
    pub name: String,
    pub text: String,
}

impl Connection {
    /// Connects to the first that answers; else the error names every socket that was tried.
    pub fn open_first(addresses: &[Address], whose: &str, deadline: Instant) -> Result<Connection> {
        let mut tried: Vec<String> = Vec::new();
        for address in addresses {
            match Connection::open(address, deadline) {
                Ok(connection) => return Ok(connection),
                // In words that engines do not take for those about the container's program.
                Err(e) if e.is(Errno::ENOENT) => tried.push(format!("no socket at {address}")),
                Err(e) if e.is(Errno::ECONNREFUSED) => {
                    tried.push(format!("nobody listens at {address}"));
                }
                Err(e) => tried.push(e.to_string()),
            }
        }
        if tried.is_empty() {
            tried.push("nothing says where its socket is".into());
        }
        let tried = tried.join("; ");
        Err(Error::system(format!("{whose} cannot be reached: {tried}")))
    }

    /// Connects and authenticates.
    fn open(address: &Address, deadline: Instant) -> Result<Connection> {
        let fd = match address {
            Address::Path(path) => socket::connect_stream(path)?,
            Address::Abstract(name) => socket::connect_abstract_stream(name)?,
        };
        let socket = UnixStream::from(fd);
        let mut connection = Connection {
            socket,
            address: address.to_string(),
            buffer: Vec::new(),
            serial: 0,
            signals: VecDeque::new(),
            deadline,
        };
        connection
            .socket
            .set_nonblocking(true)
            .map_err(|e| connection.io("fcntl", &e))?;
        connection.authenticate()?;
        Ok(connection)
    }

    /// The bus takes from the socket who this is (SO_PEERCRED). The identity that could be
    /// named is left empty: in a user namespace, podman's for one, the own uid is another than
    /// the one that the bus sees, which would be refused.
    fn authenticate(&mut self) -> Result<()> {
        self.send(b"\0AUTH EXTERNAL\r\nDATA\r\n")?;
        loop {
            let line = self.line()?;
            match line.split_once(' ').map_or(line.as_str(), |(word, _)| word) {
                "DATA" => {}
                "OK" => return self.send(b"BEGIN\r\n"),
                _ => {
                    return Err(Error::system(format!(
                        "the bus at {:?} does not let this user in: {line:?}",
                        self.address
                    )));
                }
            }
        }
    }

    fn line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).take(end).collect();
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            if self.buffer.len() > LONGEST_LINE {
                return Err(self.broken("a line without an end"));
            }
            self.fill()?;
        }
    }

    /// Calls and waits for the answer.
    pub fn call(
        &mut self,
        method: &Method<'_>,
        arguments: &[Value],
    ) -> Result<std::result::Result<Vec<Value>, Refusal>> {
        self.serial += 1;
        let serial = self.serial;
        let bytes = message::call(serial, method, arguments).ok_or_else(|| {
            Error::invalid(format!("{}: more than a message holds", method.member))
        })?;
        self.send(&bytes)?;
        loop {
            match self.receive()? {
                Incoming::Return(to, values) if to == serial => return Ok(Ok(values)),
                Incoming::Error(to, name, text) if to == serial => {
                    return Ok(Err(Refusal { name, text }));
                }
                Incoming::Signal(name, arguments) => self.keep_signal(name, arguments),
                _ => {}
            }
        }
    }

    /// The next signal, one that came before an answer first.
    pub fn signal(&mut self) -> Result<(String, Vec<Value>)> {
        loop {
            if let Some(signal) = self.signals.pop_front() {
                return Ok(signal);
            }
            if let Incoming::Signal(name, arguments) = self.receive()? {
                self.keep_signal(name, arguments);
            }
        }
    }

    fn keep_signal(&mut self, name: String, arguments: Vec<Value>) {
        if self.signals.len() == MOST_SIGNALS {
            self.signals.pop_front();
        }
        self.signals.push_back((name, arguments));
    }

    fn receive(&mut self) -> Result<Incoming> {
        let start = loop {
            match self.buffer.first_chunk::<START>() {
                Some(start) => break *start,
                None => self.fill()?,
            }
        };
        let length = message::length(&start).map_err(|fault| self.broken(fault))?;
        while self.buffer.len() < length {
            self.fill()?;
        }
        let bytes: Vec<u8> = self.buffer.drain(..length).collect();
        message::parse(&bytes).map_err(|fault| self.broken(fault))
    }

    fn fill(&mut self) -> Result<()> {
        let mut chunk = [0; 4096];
        loop {
            match self.socket.read(&mut chunk) {
                Ok(0) => {
                    return Err(Error::system(format!(
                        "the bus at {:?} has closed the connection",
                        self.address
                    )));
                }
                Ok(length) => {
                    self.buffer.extend(&chunk[..length]);
                    return Ok(());
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.wait(PollFlags::POLLIN)?,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(self.io("read", &e)),
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.socket.write(rest) {
                Ok(length) => rest = &rest[length..],
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.wait(PollFlags::POLLOUT)?,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(self.io("write", &e)),
            }
        }
        Ok(())
    }

    fn wait(&self, events: PollFlags) -> Result<()> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::syscall("poll", format_args!("{:?}", self.address), libc::ETIMEDOUT)
                    .with_hint("systemd or its bus is stuck or overloaded: see what `systemctl list-jobs` says"));
            }
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(self.socket.as_fd(), events)];
            match poll(&mut fds, timeout) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(()),
                Err(errno) => {
                    return Err(Error::syscall(
                        "poll",
                        format_args!("{:?}", self.address),
                        errno as i32,
                    ));
                }
            }
        }
    }

    fn io(&self, call: &str, error: &std::io::Error) -> Error {
        Error::io(call, &self.address, error)
    }

    fn broken(&self, fault: &str) -> Error {
        Error::system(format!(
            "the bus at {:?} sends what cannot be read: {fault}",
            self.address
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_bus_the_error_names_what_was_tried() {
        let addresses = [
            Address::Path("/nonexistent/bus".into()),
            Address::Abstract(b"rt-no-such-bus".into()),
        ];
        let e = Connection::open_first(&addresses, "the user's bus", Instant::now());
        let e = e.err().unwrap().to_string();
        assert_eq!(
            e,
            "the user's bus cannot be reached: no socket at /nonexistent/bus; nobody listens at @rt-no-such-bus"
        );
    }
}
