//! One run of the runtime's command line, with a deadline.
//!
//! Runs in: the worker.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use super::case::Case;
use super::host::Mode;
use super::systemd::user_bus;
use super::verdict::{Doing, Verdict, fail};
use crate::sys;

/// How often ended orphans are waited for while the runtime is at work.
const ORPHANS_EVERY: Duration = Duration::from_millis(20);

/// Numbers the output files of one test.
static CALLS: AtomicU32 = AtomicU32::new(0);

pub struct Call<'a> {
    case: &'a Case,
    args: Vec<OsString>,
    globals: Vec<OsString>,
    env: Vec<(String, String)>,
    cwd: Option<PathBuf>,
    stdin: Stdio,
    stdout: Option<OwnedFd>,
    fds: Vec<(OwnedFd, i32)>,
    terminal: bool,
    refused_calls: Option<(RangeInclusive<u32>, i32)>,
    through: Vec<OsString>,
    program: PathBuf,
}

/// What a finished call left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub command: String,
    /// Exit status; 128 + signal if a signal ended the runtime.
    pub status: i32,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A runtime that is at work.
pub struct Running<'a> {
    case: &'a Case,
    child: Child,
    command: String,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl<'a> Call<'a> {
    pub(super) fn new<I: IntoIterator<Item = S>, S: Into<OsString>>(
        case: &'a Case,
        args: I,
    ) -> Self {
        let mut globals: Vec<OsString> = vec!["--root".into(), case.root().into()];
        globals.extend(case.globals.iter().map(OsString::from));
        Self {
            case,
            args: args.into_iter().map(Into::into).collect(),
            globals,
            env: Vec::new(),
            cwd: None,
            stdin: Stdio::null(),
            stdout: None,
            fds: Vec::new(),
            terminal: false,
            refused_calls: None,
            through: Vec::new(),
            program: case.runtime.clone(),
        }
    }

    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub fn args<I: IntoIterator<Item = S>, S: Into<OsString>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Arguments before the verb, after `--root`.
    pub fn globals<I: IntoIterator<Item = S>, S: Into<OsString>>(mut self, args: I) -> Self {
        self.globals.extend(args.into_iter().map(Into::into));
        self
    }

    /// Without `--root` and everything else before the verb.
    pub fn bare(mut self) -> Self {
        self.globals.clear();
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn cwd(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cwd = Some(dir.into());
        self
    }

    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.stdin = stdin.into();
        self
    }

    /// The text as standard input.
    pub fn input(self, text: &str) -> Verdict<Self> {
        let path = self
            .case
            .dir
            .join(format!("{}.stdin", CALLS.fetch_add(1, Ordering::Relaxed)));
        fs::write(&path, text)?;
        Ok(self.stdin(File::open(path)?))
    }

    pub fn stdout(mut self, stdout: OwnedFd) -> Self {
        self.stdout = Some(stdout);
        self
    }

    /// One more descriptor, under this number.
    pub fn fd(mut self, fd: impl Into<OwnedFd>, number: i32) -> Self {
        self.fds.push((fd.into(), number));
        self
    }

    /// Descriptors 0 and 1 are this terminal, and it becomes the controlling one of the runtime.
    pub fn terminal(mut self, terminal: &OwnedFd) -> Verdict<Self> {
        self.stdin = terminal.try_clone()?.into();
        self.stdout = Some(terminal.try_clone()?);
        self.terminal = true;
        Ok(self)
    }

    /// Below a seccomp profile that answers `errno` to these system calls. Takes root.
    pub fn without_calls(mut self, numbers: RangeInclusive<u32>, errno: i32) -> Self {
        self.refused_calls = Some((numbers, errno));
        self
    }

    /// Runs the runtime through another program, e.g. `sh -c 'exec "$@"' sh`.
    pub fn through<I: IntoIterator<Item = S>, S: Into<OsString>>(mut self, program: I) -> Self {
        self.through = program.into_iter().map(Into::into).collect();
        self
    }

    /// Another binary of the runtime.
    pub fn program(mut self, program: &Path) -> Self {
        self.program = program.to_owned();
        self
    }

    /// Runs it to its end.
    pub fn run(self) -> Verdict<Outcome> {
        self.start()?.wait()
    }

    /// Starts it and returns at once.
    pub fn start(self) -> Verdict<Running<'a>> {
        let case = self.case;
        let mut line: Vec<OsString> = self.through;
        line.push(self.program.into());
        line.extend(self.globals);
        line.extend(self.args);
        let text = line
            .iter()
            .map(|arg| arg.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ");
        let number = CALLS.fetch_add(1, Ordering::Relaxed);
        let stdout = case.dir.join(format!("{number}.stdout"));
        let stderr = case.dir.join(format!("{number}.stderr"));
        let mut command = Command::new(&line[0]);
        command
            .args(&line[1..])
            .env_clear()
            .envs(environment(case))
            .envs(self.env)
            .stdin(self.stdin);
        command.current_dir(self.cwd.as_ref().unwrap_or(&case.dir));
        command.stderr(File::create(&stderr)?);
        match self.stdout {
            Some(fd) => command.stdout(fd),
            None => command.stdout(File::create(&stdout)?),
        };
        if self.terminal {
            sys::own_terminal(&mut command);
        }
        for (fd, number) in self.fds {
            sys::give_fd(&mut command, fd, number);
        }
        if let Some((numbers, errno)) = self.refused_calls {
            sys::refuse_calls(&mut command, &numbers, errno);
        }
        let child = command.spawn().doing(&text)?;
        case.calls
            .borrow_mut()
            .insert(i32::try_from(child.id()).unwrap_or(0));
        Ok(Running {
            case,
            child,
            command: text,
            stdout,
            stderr,
        })
    }
}

/// The runtime gets a small environment of its own, so that no test depends on the caller's.
fn environment(case: &Case) -> Vec<(OsString, OsString)> {
    let mut env: Vec<(OsString, OsString)> = Vec::new();
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    env.push(("PATH".into(), path));
    if let Mode::Rootless(user) = &case.mode {
        env.push(("XDG_RUNTIME_DIR".into(), case.dir.clone().into()));
        env.push(("HOME".into(), case.dir.clone().into()));
        env.push(("USER".into(), OsStr::new(&user.name).to_owned()));
        let bus = user_bus(user.uid);
        if bus.exists() {
            let address = format!("unix:path={}", bus.display());
            env.push(("DBUS_SESSION_BUS_ADDRESS".into(), address.into()));
        }
    }
    env
}

impl Running<'_> {
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(0))
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) -> Verdict {
        // Our own child, not yet waited for: the pid is still its.
        nix::sys::signal::kill(self.pid(), signal).doing("signal to the runtime")
    }

    /// Waits for its end; a runtime that does not end in the test's time fails the test.
    pub fn wait(mut self) -> Verdict<Outcome> {
        let pidfd = sys::pidfd_open(self.pid()).doing(&self.command)?;
        while !sys::readable_before(pidfd.as_fd(), Instant::now() + ORPHANS_EVERY)? {
            self.case.reap_orphans();
            if Instant::now() > self.case.deadline {
                let stderr = fs::read_to_string(&self.stderr).unwrap_or_default();
                return fail(format!("it hung: {}\nstderr: {stderr}", self.command));
            }
        }
        let status = self.child.wait()?;
        self.case.calls.borrow_mut().remove(&self.pid().as_raw());
        let signal = status.signal();
        let read = |path: &PathBuf| {
            fs::read(path)
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .unwrap_or_default()
        };
        Ok(Outcome {
            command: self.command,
            status: status
                .code()
                .or(signal.map(|signal| 128 + signal))
                .unwrap_or(-1),
            signal,
            stdout: read(&self.stdout),
            stderr: read(&self.stderr),
        })
    }
}

impl Outcome {
    /// Fails unless the exit status is 0.
    pub fn succeeded(self) -> Verdict<Self> {
        self.ended_with(0)
    }

    /// Fails unless this is the exit status.
    pub fn ended_with(self, status: i32) -> Verdict<Self> {
        if self.status == status {
            Ok(self)
        } else {
            fail(format!(
                "exit status {}, not {status}: {}",
                self.status,
                self.told()
            ))
        }
    }

    /// Fails unless the runtime itself reported an error: nonzero, by no signal, with words on standard error.
    pub fn refused(self) -> Verdict<Self> {
        if self.status == 0 {
            return fail(format!("it was not refused: {}", self.told()));
        }
        if self.signal.is_some() {
            return fail(format!("a signal ended it: {}", self.told()));
        }
        if self.stderr.trim().is_empty() {
            return fail(format!("it failed without a word: {}", self.told()));
        }
        Ok(self)
    }

    /// Fails unless standard error contains one of the texts, whatever the case.
    pub fn says(self, texts: &[&str]) -> Verdict<Self> {
        let told = self.stderr.to_lowercase();
        if texts.iter().any(|text| told.contains(&text.to_lowercase())) {
            return Ok(self);
        }
        fail(format!(
            "standard error has none of {texts:?}: {}",
            self.told()
        ))
    }

    /// The command and all it said, for messages.
    pub fn told(&self) -> String {
        format!(
            "{}\nstdout: {}\nstderr: {}",
            self.command,
            self.stdout.trim(),
            self.stderr.trim()
        )
    }
}
