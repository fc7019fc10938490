//! The caller's terminal joined to the container's: `rt run` and `rt exec` with a terminal
//! and no console socket.
//!
//! Owns two buffers of one page and the caller's terminal settings. It does not wait: the
//! loop of `process::foreground` polls what [`Foreground::fds`] names, beside its signals.
//!
//! Runs in: parent.

use std::io::{IsTerminal, Stdin, Stdout, stderr, stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, Once, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{
    LocalFlags, OutputFlags, SetArg, SpecialCharacterIndices, Termios, cfmakeraw, tcgetattr,
    tcsetattr,
};

use crate::error::Result;
use crate::sys::{check, terminal};

/// PIPE_BUF: a pipe that poll(2) calls writable takes so much without blocking.
const CHUNK_BYTES: usize = 4096;
/// More than the kernel ever holds for a terminal: what is left to read once the payload has
/// ended is less, unless a process that it left behind goes on writing.
const LEFT_OVER_CHUNKS_MAX: usize = 256;

/// ^D, where the payload's terminal cannot be asked for its own character.
const END_OF_TRANSMISSION: u8 = 4;

/// Carries bytes between the caller's streams and the master of the payload's terminal.
pub struct Foreground {
    input: Stdin,
    output: Stdout,
    master: OwnedFd,
    is_input_open: bool,
    is_output_open: bool,
    /// Until every slave is closed.
    is_master_open: bool,
    to_master: Vec<u8>,
    to_output: Vec<u8>,
    /// The last byte that the payload's terminal got.
    last_input: u8,
    /// Whether the end of input was said to a terminal that was still editing lines.
    may_end_be_lost: bool,
    /// Restores the caller's terminal on drop.
    _settings: Option<RawMode>,
}

/// What poll(2) is asked, or has answered, about each descriptor.
#[derive(Clone, Copy)]
struct Events {
    input: PollFlags,
    output: PollFlags,
    master: PollFlags,
}

impl Foreground {
    /// Puts the caller's terminal, if standard input is one, in raw mode until the value is
    /// dropped, and makes `master` non-blocking. Before the payload writes.
    pub fn new(master: OwnedFd) -> Result<Foreground> {
        let result = fcntl(
            &master,
            FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK),
        );
        check(result, "fcntl", "master, F_SETFL, O_NONBLOCK")?;
        if !stdout().is_terminal() {
            end_lines_plainly(&master);
        }
        Ok(Foreground {
            input: stdin(),
            output: stdout(),
            master,
            is_input_open: true,
            is_output_open: true,
            is_master_open: true,
            to_master: Vec::new(),
            to_output: Vec::new(),
            last_input: b'\n',
            may_end_be_lost: false,
            _settings: RawMode::begin(),
        })
    }

    /// What has to be polled now; it changes with each [`Foreground::on_ready`].
    pub fn fds(&self) -> Vec<PollFd<'_>> {
        let wanted = self.wanted();
        [
            PollFd::new(self.input.as_fd(), wanted.input),
            PollFd::new(self.output.as_fd(), wanted.output),
            PollFd::new(self.master.as_fd(), wanted.master),
        ]
        .into_iter()
        // One without events would still report its hang-up, over and over.
        .filter(|fd| !fd.events().is_empty())
        .collect()
    }

    /// Carries what can be carried without waiting, one page at most each way.
    pub fn on_ready(&mut self) -> Result<()> {
        let ready = self.ready_now()?;
        if !ready.input.is_empty() {
            self.read_input();
        }
        if !ready.master.is_empty() {
            self.write_master();
            if self.read_master() {
                self.repeat_lost_end();
            }
        }
        if !ready.output.is_empty() {
            self.write_output();
        }
        Ok(())
    }

    /// Gives the payload's terminal the size of the caller's: at the start and at SIGWINCH.
    pub fn resize(&mut self) -> Result<()> {
        let (input, output, error) = (stdin(), stdout(), stderr());
        let streams: [BorrowedFd; 3] = [input.as_fd(), output.as_fd(), error.as_fd()];
        match streams.into_iter().find_map(|fd| terminal::size(fd).ok()) {
            // A serial line that nobody told its size.
            None | Some((0, 0)) => Ok(()),
            Some(size) => terminal::set_size(self.master.as_fd(), size),
        }
    }

    /// Carries out what the payload wrote before it ended, then restores the caller's
    /// terminal.
    pub fn finish(mut self) {
        for _ in 0..LEFT_OVER_CHUNKS_MAX {
            self.flush_output();
            if !self.is_master_open || !self.read_master() {
                return;
            }
        }
    }

    fn wanted(&self) -> Events {
        let when = |condition: bool, flag: PollFlags| match condition {
            true => flag,
            false => PollFlags::empty(),
        };
        let master = when(self.to_output.is_empty(), PollFlags::POLLIN)
            | when(!self.to_master.is_empty(), PollFlags::POLLOUT);
        Events {
            input: when(
                self.is_input_open && self.is_master_open && self.to_master.is_empty(),
                PollFlags::POLLIN,
            ),
            output: when(!self.to_output.is_empty(), PollFlags::POLLOUT),
            master: when(self.is_master_open, master),
        }
    }

    fn ready_now(&self) -> Result<Events> {
        let wanted = self.wanted();
        let mut ready = Events {
            input: PollFlags::empty(),
            output: PollFlags::empty(),
            master: PollFlags::empty(),
        };
        for (fd, wanted, ready) in [
            (self.input.as_fd(), wanted.input, &mut ready.input),
            (self.output.as_fd(), wanted.output, &mut ready.output),
            (self.master.as_fd(), wanted.master, &mut ready.master),
        ] {
            if wanted.is_empty() {
                continue;
            }
            let mut fds = [PollFd::new(fd, wanted)];
            match poll(&mut fds, PollTimeout::ZERO) {
                Ok(_) => *ready = fds[0].revents().unwrap_or(PollFlags::all()),
                Err(Errno::EINTR) => {}
                failed => drop(check(failed, "poll", "terminal")?),
            }
        }
        Ok(ready)
    }

    fn read_input(&mut self) {
        let mut buffer = [0; CHUNK_BYTES];
        match nix::unistd::read(&self.input, &mut buffer) {
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Ok(0) | Err(_) => {
                self.is_input_open = false;
                self.end_input();
            }
            Ok(count) => self.to_master.extend_from_slice(&buffer[..count]),
        }
    }

    /// The end of the caller's input becomes the end of the payload's: its terminal's
    /// end-of-file character, twice where a line has begun, since the first one ends that.
    fn end_input(&mut self) {
        let (end, edits_lines) = match tcgetattr(&self.master) {
            Ok(settings) => (
                settings.control_chars[SpecialCharacterIndices::VEOF as usize],
                settings.local_flags.contains(LocalFlags::ICANON),
            ),
            Err(_) => (END_OF_TRANSMISSION, false),
        };
        self.may_end_be_lost = edits_lines;
        let times = if self.last_input == b'\n' { 1 } else { 2 };
        self.to_master.resize(times, end);
    }

    /// A shell that edits its lines itself switches that off in the terminal, which then
    /// forgets an end of file that nobody has read yet: said once more.
    fn repeat_lost_end(&mut self) {
        if self.may_end_be_lost
            && self.to_master.is_empty()
            && tcgetattr(&self.master).is_ok_and(|s| !s.local_flags.contains(LocalFlags::ICANON))
        {
            self.last_input = b'\n';
            self.end_input();
        }
    }

    fn write_master(&mut self) {
        if self.to_master.is_empty() {
            return;
        }
        match nix::unistd::write(&self.master, &self.to_master) {
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            // Nobody is left to read it.
            Err(_) => self.to_master.clear(),
            Ok(count) => {
                self.last_input = self.to_master.drain(..count).next_back().unwrap_or(b'\n');
            }
        }
    }

    /// Returns whether there was something.
    fn read_master(&mut self) -> bool {
        if !self.to_output.is_empty() {
            return false;
        }
        let mut buffer = [0; CHUNK_BYTES];
        match nix::unistd::read(&self.master, &mut buffer) {
            Err(Errno::EINTR | Errno::EAGAIN) => false,
            // EIO: every slave is closed and all that was written is read, pty(7).
            Ok(0) | Err(_) => {
                self.is_master_open = false;
                false
            }
            Ok(count) => {
                // Without a reader the payload must not wait for one.
                if self.is_output_open {
                    self.to_output.extend_from_slice(&buffer[..count]);
                }
                true
            }
        }
    }

    fn write_output(&mut self) {
        match nix::unistd::write(&self.output, &self.to_output) {
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => {
                self.is_output_open = false;
                self.to_output.clear();
            }
            Ok(count) => drop(self.to_output.drain(..count)),
        }
    }

    fn flush_output(&mut self) {
        while !self.to_output.is_empty() {
            let mut fds = [PollFd::new(self.output.as_fd(), PollFlags::POLLOUT)];
            // Whatever poll says, the write that follows knows better.
            let _ = poll(&mut fds, PollTimeout::NONE);
            self.write_output();
        }
    }
}

/// For a file or a pipe in the place of the caller's terminal: lines end in a line feed alone,
/// as with runc. What reads them compares lines.
fn end_lines_plainly(master: &OwnedFd) {
    if let Ok(mut settings) = tcgetattr(master) {
        settings.output_flags.remove(OutputFlags::ONLCR);
        let _ = tcsetattr(master, SetArg::TCSANOW, &settings);
    }
}

/// The settings that the caller's terminal gets back; here and not in a value, for the sake
/// of a panic, which drops nothing in a release build.
static SAVED: Mutex<Option<Termios>> = Mutex::new(None);

/// The caller's terminal in raw mode, termios(3), as long as this lives.
struct RawMode;

impl RawMode {
    /// None where standard input is no terminal.
    fn begin() -> Option<RawMode> {
        let settings = tcgetattr(stdin()).ok()?;
        let mut raw = settings.clone();
        cfmakeraw(&mut raw);
        saved().replace(settings);
        restore_on_panic();
        tcsetattr(stdin(), SetArg::TCSANOW, &raw).ok()?;
        Some(RawMode)
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    if let Some(settings) = saved().take() {
        let _ = tcsetattr(stdin(), SetArg::TCSANOW, &settings);
    }
}

fn saved() -> std::sync::MutexGuard<'static, Option<Termios>> {
    SAVED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            report(panic);
        }));
    });
}
