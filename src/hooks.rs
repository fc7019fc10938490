//! Hooks: programs of the caller, run one after the other with the container's state on
//! their standard input.
//!
//! Owns how a hook is run: its path, arguments and environment exactly as config.json gives
//! them, or the environment of the place where it runs ([`Place`]); signals at their defaults, no descriptor but the three streams. What a hook prints
//! goes into the error when it fails, else to the log at the level of debug; or to the files
//! that crun's annotations name ([`Outputs`]).
//!
//! The consequences are the caller's (runtime.md#lifecycle):
//!
//! | hooks | on failure |
//! |---|---|
//! | prestart, createRuntime, createContainer | `create` fails; the container is undone |
//! | startContainer | `start` fails; the container is stopped, poststop hooks run at delete |
//! | poststart | `start` and `run` fail; the container is stopped |
//! | poststop | a warning each; the rest of the hooks and the verb go on |
//!
//! So all but the last row are for [`run`], the last is for [`run_all`].
//!
//! Runs in: parent (prestart, createRuntime, poststart, poststop); init before pivot
//! (createContainer) and after it (startContainer). No threads: poll on two pipes and a pidfd.

mod outputs;
#[cfg(test)]
mod tests;

use std::ffi::{CString, OsString};
use std::io::{Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::WaitStatus;

use crate::error::{Context, Error, Phase, Result};
use crate::log;
use crate::plan::hooks::{Environment, Hook};
use crate::sys::file::{self, c_path};
use crate::sys::process::OwnedProcess;
use crate::sys::program::{self, Program};
use crate::sys::{check, memory};
use crate::trace;

pub use outputs::Outputs;

/// So much of what a hook prints is kept; engines read an error in one read of 8 KiB.
const KEPT_BYTES: usize = 1024;

/// What may end the wait for a hook before its time.
pub trait Interruption {
    /// Readable when it may have come.
    fn fd(&self) -> BorrowedFd<'_>;

    /// An error if it has.
    fn check(&self) -> Result<()>;
}

/// What hooks find where they run.
pub struct Place<'a> {
    /// The working directory; None: where init is. The specification names none; hooks count
    /// on runc's.
    directory: Option<&'a Path>,
    /// For a hook that config.json gives no environment.
    env: Vec<CString>,
    interruption: Option<&'a dyn Interruption>,
}

impl<'a> Place<'a> {
    /// Outside of the container: the bundle, and the environment of rt's caller.
    pub fn outside(bundle: &'a Path) -> Place<'a> {
        let entry = |(mut name, value): (OsString, OsString)| {
            name.push("=");
            name.push(value);
            CString::new(name.into_vec()).ok()
        };
        Place {
            directory: Some(bundle),
            env: std::env::vars_os().filter_map(entry).collect(),
            interruption: None,
        }
    }

    /// The same for hooks that `interruption` kills.
    pub fn until(self, interruption: &'a dyn Interruption) -> Place<'a> {
        Place {
            interruption: Some(interruption),
            ..self
        }
    }

    /// In the container's namespaces: its payload's environment, and before the root is changed
    /// the folder that it is, with the container's mounts in it.
    pub fn inside(root: Option<&'a Path>, env: &[CString]) -> Place<'a> {
        Place {
            directory: root,
            env: env.to_vec(),
            interruption: None,
        }
    }
}

/// Runs `hooks` in their order with `state`, the JSON of runtime.md#state, on their standard
/// input. The first that fails ends it: the error names its place in config.json, its path,
/// how it ended and what it said.
pub fn run(hooks: &[Hook], state: &[u8], place: &Place, outputs: &Outputs) -> Result<()> {
    hooks
        .iter()
        .try_for_each(|hook| run_one(hook, state, place, outputs))
}

/// Runs all of `hooks`, whichever fail, and gives the errors.
pub fn run_all(hooks: &[Hook], state: &[u8], place: &Place, outputs: &Outputs) -> Vec<Error> {
    hooks
        .iter()
        .filter_map(|hook| run_one(hook, state, place, outputs).err())
        .collect()
}

/// What [`run`] will say of hooks that are not there or cannot be executed, as far as the caller
/// can look.
pub fn foresee(hooks: &[Hook]) -> Vec<Error> {
    let refused = |hook: &Hook| {
        let path = hook.path.as_path();
        if path.as_os_str().is_empty() {
            // Told as a rule that config.json breaks.
            return None;
        }
        let access = file::check_access(AT_FDCWD, path, nix::unistd::AccessFlags::X_OK);
        let errno = match access {
            // execve(2) of a folder.
            Ok(()) if path.is_dir() => nix::errno::Errno::EACCES,
            Ok(()) => return None,
            Err(errno) => errno,
        };
        let failed = Error::syscall("execve", format_args!("{path:?}"), errno as i32);
        at_place(hook, Err(failed)).err()
    };
    hooks.iter().filter_map(refused).collect()
}

fn run_one(hook: &Hook, state: &[u8], place: &Place, outputs: &Outputs) -> Result<()> {
    let _step = trace::step_of(|| name(hook));
    at_place(hook, execute(hook, state, place, outputs)).map_err(|e| e.in_phase(Phase::Hook))
}

fn at_place(hook: &Hook, ran: Result<()>) -> Result<()> {
    ran.at(&hook.pointer, || name(hook))
}

fn name(hook: &Hook) -> String {
    format!("{} ({})", words_of(&hook.pointer), hook.path)
}

/// `/hooks/prestart/0` as `hooks.prestart[0]`.
fn words_of(pointer: &str) -> String {
    match pointer.trim_start_matches('/').rsplit_once('/') {
        Some((list, index)) => format!("{}[{index}]", list.replace('/', ".")),
        None => pointer.to_owned(),
    }
}

fn execute(hook: &Hook, state: &[u8], place: &Place, files: &Outputs) -> Result<()> {
    let path = c_path(hook.path.as_path())?;
    let directory = place.directory.map(c_path).transpose()?;
    let stdin = state_file(state)?;
    let (out, out_writer) = output_pipe()?;
    let (err, err_writer) = output_pipe()?;
    let mut child = program::start(&Program {
        path: &path,
        args: &hook.args,
        env: match &hook.env {
            Environment::Given(env) => env,
            Environment::Inherited => &place.env,
        },
        directory: directory.as_deref(),
        stdin: stdin.as_fd(),
        stdout: files.stdout().unwrap_or(out_writer.as_fd()),
        stderr: files.stderr().unwrap_or(err_writer.as_fd()),
    })?;
    drop((stdin, out_writer, err_writer));

    let mut outputs = [Output::new(out), Output::new(err)];
    // One that lies beyond the end of time is none.
    let deadline = hook
        .timeout
        .and_then(|time| Instant::now().checked_add(time));
    // An interruption drops the child, which kills it.
    let in_time = follow(&child, &mut outputs, deadline, place.interruption)?;
    if !in_time {
        child.kill();
    }
    let status = child.wait()?;
    outputs.iter_mut().for_each(Output::drain);
    let [out, err] = outputs.map(Output::text);
    if !in_time {
        let seconds = hook.timeout.unwrap_or_default().as_secs_f64();
        return Err(failure(
            format!("ran past its timeout of {seconds} s and was killed"),
            &out,
            &err,
        ));
    }
    match status {
        WaitStatus::Exited(_, 0) => {
            log::debug(|| failure(format!("{}: ended well", hook.path), &out, &err).to_string());
            Ok(())
        }
        WaitStatus::Exited(_, code) => Err(failure(format!("exit status {code}"), &out, &err)),
        WaitStatus::Signaled(_, signal, _) => Err(failure(
            format!("killed by {}", signal.as_str()),
            &out,
            &err,
        )),
        other => Err(failure(format!("ended as {other:?}"), &out, &err)),
    }
}

/// The standard input of a hook. A file has no reader to wait for and no SIGPIPE.
fn state_file(state: &[u8]) -> Result<std::fs::File> {
    let mut file = memory::anonymous_file(c"state")?;
    file.write_all(state)
        .and_then(|()| file.rewind())
        .map_err(|e| Error::io("write", "memfd:state", &e))?;
    Ok(file)
}

/// A pipe whose reading end does not block.
fn output_pipe() -> Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = check(nix::unistd::pipe2(OFlag::O_CLOEXEC), "pipe2", "O_CLOEXEC")?;
    let result = fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
    check(result, "fcntl", "F_SETFL, O_NONBLOCK")?;
    Ok((reader, writer))
}

/// Reads `outputs` until the child has ended. `Ok(false)`: the deadline was first. The end of
/// the outputs is not waited for: a hook may leave a process behind that holds them.
fn follow(
    child: &OwnedProcess,
    outputs: &mut [Output; 2],
    deadline: Option<Instant>,
    interruption: Option<&dyn Interruption>,
) -> Result<bool> {
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let (ended, ready) = {
            let mut fds = vec![PollFd::new(child.as_fd(), PollFlags::POLLIN)];
            fds.extend(interruption.map(|it| PollFd::new(it.fd(), PollFlags::POLLIN)));
            fds.extend(
                outputs
                    .iter()
                    .filter_map(|output| output.pipe.as_ref())
                    .map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)),
            );
            match poll(&mut fds, timeout_of(left)) {
                Ok(count) => (fds[0].any().unwrap_or(true), count > 0),
                Err(Errno::EINTR) => continue,
                failed => return check(failed, "poll", "hook").map(|_| false),
            }
        };
        if ended {
            return Ok(true);
        }
        if ready {
            outputs.iter_mut().for_each(Output::drain);
            interruption.map_or(Ok(()), Interruption::check)?;
        }
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(false);
        }
    }
}

/// Rounded up, so that the last wait does not spin.
fn timeout_of(left: Option<Duration>) -> PollTimeout {
    let Some(left) = left else {
        return PollTimeout::NONE;
    };
    let left = left.saturating_add(Duration::from_millis(1));
    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
}

/// One stream of a hook, of which the beginning is kept.
struct Output {
    /// None once the hook has closed it.
    pipe: Option<OwnedFd>,
    kept: Vec<u8>,
}

impl Output {
    fn new(pipe: OwnedFd) -> Output {
        Output {
            pipe: Some(pipe),
            kept: Vec::new(),
        }
    }

    /// Reads what is there, at most a pipe's worth: a left-over process may go on writing.
    fn drain(&mut self) {
        let mut buffer = [0; 4096];
        for _ in 0..16 {
            let Some(pipe) = &self.pipe else { return };
            match nix::unistd::read(pipe, &mut buffer) {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Ok(0) | Err(_) => self.pipe = None,
                Ok(count) => {
                    let room = KEPT_BYTES - self.kept.len();
                    self.kept.extend_from_slice(&buffer[..count.min(room)]);
                }
            }
        }
    }

    /// What was kept, as one line.
    fn text(self) -> String {
        let text = String::from_utf8_lossy(&self.kept);
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        lines.join("; ").replace(char::is_control, " ")
    }
}

fn failure(what: String, out: &str, err: &str) -> Error {
    let mut message = what;
    for (name, text) in [("stderr", err), ("stdout", out)] {
        if !text.is_empty() {
            message.push_str(&format!(", {name}: {text}"));
        }
    }
    Error::system(message)
}
