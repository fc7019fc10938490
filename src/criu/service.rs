//! One `criu swrk` and the conversation with it.
//!
//! ```text
//!    rt                                 criu
//!      | request ------------------------> |
//!      | <-------------- notification ---- |  as often as it likes, perhaps with a descriptor
//!      | done, or not -------------------> |
//!      | <-------------- response -------- |
//! ```
//!
//! CRIU is not killed in the midst of a dump as long as it answers: the processes that it
//! holds would go on with its code in them. Who wants to end it says so at its next
//! notification, and it puts all back.
//!
//! Runs in: parent.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::WaitStatus;

use super::message::{Features, Kind, Notification, Request, Response, Version};
use crate::error::{Error, Result};
use crate::log;
use crate::sys::process::OwnedProcess;
use crate::sys::socket;
use crate::trace;

/// How long questions may take that need no look at any process, and its end after the
/// last word.
const SHORT: Duration = Duration::from_secs(10);
/// How long it may take to put all back.
const UNDOING: Duration = Duration::from_secs(60);
/// CRIU's own limit for a message.
const LONGEST: usize = 64 << 10;

/// A running `criu swrk`, which takes one request after the other; dropped, it is killed.
pub struct Service {
    process: OwnedProcess,
    socket: OwnedFd,
    /// Where it writes why something failed.
    log: Option<PathBuf>,
}

impl Service {
    pub fn new(process: OwnedProcess, socket: OwnedFd) -> Service {
        Service {
            process,
            socket,
            log: None,
        }
    }

    /// From now on `log` explains failures. What an earlier run left there is removed.
    pub fn explain_by(&mut self, log: PathBuf) {
        let _ = std::fs::remove_file(&log);
        self.log = Some(log);
    }

    pub fn process(&self) -> &OwnedProcess {
        &self.process
    }

    /// The version of the program. The service stays for another request.
    pub fn version(&mut self) -> Result<Version> {
        let response = self.ask_shortly(&Request::Version)?;
        response
            .version
            .ok_or_else(|| Error::system("criu does not say its version"))
    }

    /// Which of the features that are `asked` about this kernel and this CRIU have.
    pub fn features(&mut self, asked: Features) -> Result<Features> {
        Ok(self.ask_shortly(&Request::Features(asked))?.features)
    }

    fn ask_shortly(&mut self, request: &Request<'_>) -> Result<Response> {
        let deadline = Instant::now() + SHORT;
        self.converse(request, &|fd| wait_until(fd, deadline), &mut |_, _| Ok(()))
    }

    /// Makes a request and serves the notifications that come before the answer. `wait`
    /// returns once the socket can be read, or fails when somebody wants this to end.
    ///
    /// A failure is put right by CRIU before this returns, as far as it can be.
    pub fn converse(
        &mut self,
        request: &Request<'_>,
        wait: &dyn Fn(BorrowedFd<'_>) -> Result<()>,
        notified: &mut dyn FnMut(&Notification, Option<OwnedFd>) -> Result<()>,
    ) -> Result<Response> {
        let _step = trace::step_of(|| format!("criu {}", request.kind().word()));
        self.send(request)?;
        let mut failure: Option<(Error, Instant)> = None;
        loop {
            match &failure {
                None => {
                    if let Err(error) = wait(self.socket.as_fd()) {
                        failure = Some((error, Instant::now() + UNDOING));
                        continue;
                    }
                }
                Some((error, deadline)) => {
                    if wait_until(self.socket.as_fd(), *deadline).is_err() {
                        self.process.kill();
                        return Err(error.clone());
                    }
                }
            }
            let received = self.receive(request.kind());
            let (response, fd) = match (received, failure.take()) {
                (Err(_), Some((first, _))) => return Err(first),
                (Err(error), None) => return Err(error),
                (Ok(received), earlier) => {
                    failure = earlier;
                    received
                }
            };
            let Some(notification) = response.notification.as_ref() else {
                return match failure {
                    Some((error, _)) => Err(error),
                    None => self.judge(request.kind(), response),
                };
            };
            log::debug(|| format!("criu: {} {:?}", notification.script, notification.pid));
            if failure.is_none()
                && let Err(error) = notified(notification, fd)
            {
                failure = Some((error, Instant::now() + UNDOING));
            }
            let success = failure.is_none();
            let answered = self.send(&Request::Notified { success });
            if let (Err(error), None) = (answered, &failure) {
                return Err(error);
            }
        }
    }

    fn send(&self, request: &Request<'_>) -> Result<()> {
        socket::send(self.socket.as_fd(), &request.to_bytes(), None)
            .map_err(|errno| Error::syscall("sendmsg", "criu", errno as i32))
    }

    fn receive(&mut self, kind: Kind) -> Result<(Response, Option<OwnedFd>)> {
        let mut buffer = vec![0; LONGEST];
        match socket::receive(self.socket.as_fd(), &mut buffer) {
            Ok((0, _)) | Err(Errno::ECONNRESET) => {
                let how = match self.wait_for_end()? {
                    WaitStatus::Exited(_, code) => format!("with exit status {code}"),
                    WaitStatus::Signaled(_, signal, _) => format!("by {}", signal.as_str()),
                    other => format!("as {other:?}"),
                };
                let failure = Error::system(format!(
                    "criu {}: it ended {how} before it answered",
                    kind.word()
                ));
                Err(self.explained(failure, None))
            }
            Ok((length, fd)) => Ok((Response::from_bytes(&buffer[..length])?, fd)),
            Err(errno) => Err(Error::syscall("recvmsg", "criu", errno as i32)),
        }
    }

    fn judge(&self, kind: Kind, response: Response) -> Result<Response> {
        if response.success {
            return Ok(response);
        }
        let errno = response.errno.filter(|errno| *errno > 0);
        let message = response
            .message
            .or_else(|| errno.map(crate::error::strerror));
        let failure = Error::system(format!("criu {} failed", kind.word()));
        Err(self.explained(failure, message))
    }

    /// `failure` with what the log says of it, or else `message`, and the place of the log.
    fn explained(&self, failure: Error, message: Option<String>) -> Error {
        let place = self.log.as_deref().filter(|log| log.exists());
        let cause = place.and_then(super::explanation).or(message);
        let cause = match (cause, place) {
            (None, None) => return failure,
            (Some(cause), None) => cause,
            (None, Some(place)) => format!("no word of it in {}", place.display()),
            (Some(cause), Some(place)) => {
                format!("{} (all of it in {})", cause.trim_end(), place.display())
            }
        };
        let error = Error::system(&*cause).within(failure.to_string());
        match super::remedy(&cause) {
            Some(remedy) => error.with_hint(remedy),
            None => error,
        }
    }

    /// Waits until it has ended after its last answer; one that does not is killed.
    pub fn finish(mut self) -> Result<()> {
        // After a pre-dump it waits for the next one.
        socket::end_of_words(self.socket.as_fd());
        self.wait_for_end().map(drop)
    }

    fn wait_for_end(&mut self) -> Result<WaitStatus> {
        if wait_until(self.process.as_fd(), Instant::now() + SHORT).is_err() {
            self.process.kill();
        }
        self.process.wait()
    }
}

/// Waits until `fd` can be read. A child that is in the hands of nobody else needs no look
/// at signals.
fn wait_until(fd: BorrowedFd<'_>, deadline: Instant) -> Result<()> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let millis = i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX);
        let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], timeout) {
            Ok(0) => return Err(Error::system("criu does not answer")),
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::syscall("poll", "criu", errno as i32)),
        }
    }
}
