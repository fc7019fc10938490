//! The gate: where init waits for `rt start`, and how start learns what became of execve.
//!
//! A listening socket in the state directory, mode 0600. That it is there means `created`;
//! start removes it, and then the container is `running`. Over the connection init hands out
//! the memory word of the [`Outcome`], gets the word to go on, and sends at most log lines
//! and one failure. The connection ends with execve (close-on-exec), but its end alone proves
//! nothing: init may have been killed, or its seccomp profile may forbid sendmsg. So the word
//! is read together with it.
//!
//! Runs in: parent (makes it), init (waits at it), `rt start` (opens it).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::error::{Context, Error, Phase, Result};
use crate::sys::{memory::SharedWord, socket};
use crate::trace;

use super::foreground::Signals;
use super::wire::{Frame, Wire};
use super::{payload, post_mortem, refusals};

/// The name of the socket in the state directory.
pub const NAME: &str = "gate";

/// The listening side, owned by init.
pub struct Gate {
    listener: OwnedFd,
}

impl Gate {
    /// Makes the socket in the container's state directory.
    pub fn make(state_directory: BorrowedFd<'_>) -> Result<Gate> {
        let before = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
        let listener = socket::listen(state_directory, NAME);
        nix::sys::stat::umask(before);
        Ok(Gate {
            listener: listener.context(|| "gate")?,
        })
    }

    /// Waits for `rt start`, gives it the outcome, and returns when it says go. A start that
    /// goes away before that leaves the gate closed for the next one.
    pub fn wait(&self, outcome: &Outcome) -> Result<Wire> {
        loop {
            let connection = socket::accept(self.listener.as_fd())?;
            let greeted = socket::send(connection.as_fd(), &[1], Some(outcome.word.as_fd()));
            let wire = Wire::from_socket(connection);
            if greeted.is_ok() && wire.await_answer().is_ok() {
                return Ok(wire);
            }
        }
    }
}

impl AsFd for Gate {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

/// `rt start`: opens the gate of a created container and returns once the program runs. Where init
/// has ended before, `out_of_memory` answers the limit that was too low, in words, if one was.
pub fn pass(
    state_directory: BorrowedFd<'_>,
    signals: &Signals,
    out_of_memory: impl FnOnce() -> Option<String>,
) -> Result<()> {
    let _step = trace::step("waits for execve");
    let (wire, outcome) = open(state_directory)?;
    let conclusion = outcome.await_conclusion(&wire, signals)?;
    conclusion.judge(|| post_mortem::of_stranger(out_of_memory()))
}

/// Lets init go on. The outcome is read with [`Outcome::await_conclusion`].
fn open(state_directory: BorrowedFd<'_>) -> Result<(Wire, Outcome)> {
    let connection = socket::connect(state_directory, NAME).context(|| "gate")?;
    let mut byte = [0; 1];
    let word = match socket::receive(connection.as_fd(), &mut byte) {
        Ok((1, Some(fd))) => SharedWord::map(fd)?,
        Ok(_) => return Err(Error::system("gate: the container's init has ended")),
        Err(errno) => return Err(Error::syscall("recvmsg", "gate", errno as i32)),
    };
    let wire = Wire::from_socket(connection);
    wire.answer(None)?;
    Ok((wire, Outcome { word }))
}

/// What became of execve(2): one word of memory that init writes.
pub struct Outcome {
    word: SharedWord,
}

/// The values of the word; an errno is positive.
const NOT_YET: i32 = 0;
const AT_EXECVE: i32 = -1;

/// How far init came.
#[derive(Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// The program runs, or ran.
    Started,
    /// execve(2) failed with this errno, and init could not say more.
    Refused(i32),
    /// init ended before it came to execve.
    Lost,
}

impl Conclusion {
    /// As a result, with the error of `lost` where init ended without a word.
    pub fn judge(self, lost: impl FnOnce() -> Error) -> Result<()> {
        match self {
            Conclusion::Started => Ok(()),
            Conclusion::Refused(errno) => Err(refusals::refused(c"", errno)),
            Conclusion::Lost => Err(lost()),
        }
    }
}

impl AsFd for Outcome {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.word.as_fd()
    }
}

impl Outcome {
    pub fn new() -> Result<Outcome> {
        Ok(Outcome {
            word: SharedWord::new()?,
        })
    }

    /// init: the next call is execve.
    pub fn at_execve(&self) {
        self.word.store(AT_EXECVE);
    }

    /// init: execve came back.
    pub fn refused(&self, errno: i32) {
        self.word.store(errno);
    }

    /// Reads the wire to its end and then the word.
    pub fn await_conclusion(&self, wire: &Wire, signals: &Signals) -> Result<Conclusion> {
        let _step = trace::last_step_of("init", payload::LAST_STEP);
        loop {
            // A hook of init's may take as long as it likes.
            signals.wait_for(wire.as_fd())?;
            let Some((frame, _)) = wire.receive()? else {
                break;
            };
            match frame {
                Frame::Failed(error) => return Err(error.in_phase(Phase::Init)),
                Frame::Aside(aside) => aside.pass_on(),
                Frame::Request(_) | Frame::Born { .. } => {
                    return Err(Error::system("init asks for something after Ready"));
                }
            }
        }
        Ok(self.conclude())
    }

    /// Reads the word, once the wire is at its end.
    pub fn conclude(&self) -> Conclusion {
        match self.word.load() {
            NOT_YET => Conclusion::Lost,
            AT_EXECVE => Conclusion::Started,
            errno => Conclusion::Refused(errno),
        }
    }
}
