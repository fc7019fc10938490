//! `rt exec`: one more process in a running container.
//!
//! Runs in: parent.

use std::cell::OnceCell;
use std::ffi::{CString, OsString};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::passed::{self, PidFile};
use super::pidfd_socket::{PidfdSocket, Sort};
use super::{Global, Verb, sub_cgroup};
use crate::bundle::{self, Bundle};
use crate::cgroup::Handle;
use crate::error::{Context, Error, Kind, Result};
use crate::host::{Host, UserNamespace, Wanted};
use crate::log;
use crate::plan::{self, ExecOptions};
use crate::process::enter::{self, Container, Wishes};
use crate::process::foreground::Signals;
use crate::state::{Record, Status};
use crate::trace;

#[derive(Args, Debug)]
pub struct Exec {
    /// Read the process from this file, which has the form of `process` in config.json
    #[arg(short, long, value_name = "FILE")]
    pub process: Option<PathBuf>,

    /// Return as soon as the process runs
    #[arg(short, long)]
    pub detach: bool,

    /// Give the process a terminal
    #[arg(short, long)]
    pub tty: bool,

    /// Unix socket that receives the master end of the terminal
    #[arg(long, value_name = "PATH")]
    pub console_socket: Option<PathBuf>,

    /// Unix socket that receives a pidfd of the process
    #[arg(long, value_name = "PATH")]
    pidfd_socket: Option<PathBuf>,

    /// Write the pid of the process to this file
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,

    /// Working directory in place of that of config.json
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<String>,

    /// Add a variable to the environment of config.json
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,

    /// User, and group, that the process runs as, by number
    #[arg(short, long, value_name = "UID[:GID]")]
    pub user: Option<User>,

    /// Add a group, by its number, to those of config.json
    #[arg(short = 'g', long, value_name = "GID")]
    pub additional_gids: Vec<u32>,

    /// Add a capability to those of config.json
    #[arg(short, long, value_name = "NAME")]
    pub cap: Vec<String>,

    /// Keep execve(2) from giving the process more privileges
    #[arg(long)]
    pub no_new_privs: bool,

    /// Keep N more descriptors open, behind the three streams and LISTEN_FDS
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub preserve_fds: u32,

    /// SELinux label in place of that of config.json
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,

    /// AppArmor profile in place of that of config.json
    #[arg(long, value_name = "PROFILE")]
    apparmor: Option<String>,

    /// Cgroup below the container's own
    #[arg(long, value_name = "[CONTROLLER:]PATH")]
    cgroup: Vec<String>,

    /// Enter a paused container too, and wait until it is resumed
    #[arg(long)]
    ignore_paused: bool,

    /// Understood for crun's callers; exec adopts no orphans
    #[arg(long, hide = true)]
    no_subreaper: bool,

    /// Name of the container, followed by the program and its arguments, options included;
    /// no program with --process
    #[arg(value_names = ["CONTAINER", "COMMAND"], required = true, trailing_var_arg = true, num_args = 1..)]
    container_and_args: Vec<OsString>,
}

/// `--user`: numbers only, as names mean something in the container alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: Option<u32>,
}

impl FromStr for User {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<User, String> {
        let number = |part: &str| {
            // Rust takes a sign too.
            let digits = Some(part).filter(|part| part.bytes().all(|b| b.is_ascii_digit()));
            digits
                .and_then(|digits| digits.parse::<u32>().ok())
                .ok_or_else(|| format!("{part:?} is not the number of a user or group"))
        };
        let (uid, gid) = match text.split_once(':') {
            Some((uid, gid)) => (uid, Some(number(gid)?)),
            None => (text, None),
        };
        Ok(User {
            uid: number(uid)?,
            gid,
        })
    }
}

impl Exec {
    pub fn id(&self) -> String {
        self.container_and_args[0].to_string_lossy().into_owned()
    }

    /// The program and its arguments; empty with `--process`.
    pub fn args(&self) -> &[OsString] {
        &self.container_and_args[1..]
    }
}

impl Verb for Exec {
    const NAME: &'static str = "exec";
    const ABOUT: &'static str = "Run one more process in a running container";
    const SHIELDED: bool = true;
    const USAGE: Option<&'static str> = Some("[OPTIONS] <CONTAINER> [COMMAND [ARGUMENTS]...]");
    /// As runc's, so that a caller can tell it from most statuses of the process itself.
    const FAILURE: u8 = 255;

    fn run(self, global: &Global) -> Result<u8> {
        let id = self.id();
        self.exec(&id, global).context(|| format!("exec in {id:?}"))
    }
}

impl Exec {
    fn exec(&self, id: &str, global: &Global) -> Result<u8> {
        let descriptors = passed::descriptors(self.preserve_fds)?;
        let console_socket = passed::absolute(self.console_socket.as_deref())?;
        let reading = trace::step("state, config.json, plan");
        let mut container = global.root()?.open(id)?;
        let status = container.status()?;
        self.refuse_unless_alive(status)?;
        let pidfd = container
            .pidfd()?
            .ok_or_else(|| wrong_state("cannot exec in a stopped container"))?;
        let record = &container.record;
        let init = record
            .init
            .ok_or_else(|| wrong_state("cannot exec in a container that is being created"))?
            .pid();
        let bundle = Bundle::from_state(container.config()?, record.bundle.clone())?;
        let host = Host::probe(Wanted::default())?;
        let inside = UserNamespace::of(init.as_raw())?;
        let (process, warnings) = plan::for_exec(&bundle, &self.options(record)?, &host, &inside)?;
        drop(reading);
        for warning in warnings {
            log::warning(|| warning);
        }
        if process.terminal.is_some() && self.detach && console_socket.is_none() {
            return Err(Error::invalid(
                "a terminal without somebody at its other end: --detach needs --console-socket",
            ));
        }
        let pidfd_socket = passed::absolute(self.pidfd_socket.as_deref())?
            .map(|path| PidfdSocket::connect(path, "--pidfd-socket"))
            .transpose()?;
        let signals = Signals::block()?;
        let asked = sub_cgroup::open(&self.cgroup, record)?;
        // Who asks for a place gets that one, or an error.
        let elsewhere = match asked {
            Some(_) => None,
            None => record.cgroup.as_ref().map(|cgroup| cgroup.mount.as_path()),
        };
        let cgroup = match (asked, &record.cgroup) {
            (None, Some(cgroup)) => match Handle::of_container(cgroup)? {
                // Whoever took it away has moved init, and with it what holds for the container.
                None => Handle::of_process(&cgroup.mount, init)?,
                found => found,
            },
            (asked, _) => asked,
        };
        let entry = Container {
            init,
            pidfd: pidfd.as_fd(),
            cgroup: cgroup.as_ref(),
            cgroup_mount: elsewhere,
            rootless: record.rootless,
            record,
            status,
        };
        let pid_file = OnceCell::new();
        let wishes = Wishes {
            console_socket: console_socket.as_ref(),
            announce: &|process| {
                if let Some(path) = &self.pid_file {
                    let _ = pid_file.set(PidFile::write(path, process.pid())?);
                }
                match &pidfd_socket {
                    Some(socket) => socket.send(process, Sort::Exec),
                    None => Ok(()),
                }
            },
        };
        let entered = enter::enter(&entry, &process, descriptors, &wishes, &signals)?;
        if let Some(pid_file) = pid_file.into_inner() {
            pid_file.keep();
        }
        if self.detach {
            entered.keep();
            return Ok(0);
        }
        // Before the process ends rather than after it: then our caller waits for our end.
        drop((bundle, process));
        entered.attend(&signals)
    }

    /// The words are runc's. A process that enters a paused container stands still, and its
    /// exec waits, until the container is resumed.
    fn refuse_unless_alive(&self, status: Status) -> Result<()> {
        match status {
            Status::Created | Status::Running => Ok(()),
            Status::Paused if self.ignore_paused => Ok(()),
            Status::Stopped => Err(wrong_state("cannot exec in a stopped container")),
            Status::Paused => Err(wrong_state(
                "cannot exec in a paused container (use --ignore-paused to override)",
            )),
            Status::Creating => Err(wrong_state(
                "cannot exec in a container that is being created",
            )),
        }
    }

    fn options(&self, record: &Record) -> Result<ExecOptions> {
        let text = |arg: &OsString| -> Result<String> {
            arg.to_str()
                .map(str::to_owned)
                .ok_or_else(|| Error::invalid(format!("the argument {arg:?} is no UTF-8 text")))
        };
        let process = match &self.process {
            Some(path) => {
                let source = std::fs::read(path)
                    .map_err(|e| Error::io("open", path, &e))
                    .context(|| "--process")?;
                Some(bundle::process_from_json(&source)?)
            }
            None if self.args().is_empty() => {
                return Err(Error::invalid(
                    "there is no program to run: name one after the container, or give --process FILE",
                ));
            }
            None => None,
        };
        Ok(ExecOptions {
            process,
            args: self.args().iter().map(text).collect::<Result<_>>()?,
            cwd: self.cwd.clone(),
            env: self.env.clone(),
            user: self.user.map(|user| plan::User {
                uid: user.uid,
                gid: user.gid,
            }),
            additional_gids: self.additional_gids.clone(),
            capabilities: self.cap.clone(),
            terminal: self.tty,
            apparmor_profile: self.apparmor.clone(),
            selinux_label: self.process_label.clone(),
            no_new_privileges: self.no_new_privs,
            seccomp_receiver: record.seccomp_receiver.clone(),
            keyring: session_keyring(record)?,
        })
    }
}

/// The keyring that the container's init made, if it did.
fn session_keyring(record: &Record) -> Result<Option<CString>> {
    if !record.session_keyring {
        return Ok(None);
    }
    CString::new(format!("_ses.{}", record.id))
        .map(Some)
        .map_err(|_| Error::invalid("the container's id holds a NUL byte"))
}

fn wrong_state(message: &str) -> Error {
    Error::new(Kind::WrongState, message)
}
