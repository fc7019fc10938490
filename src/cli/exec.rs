//! `rt exec`: one more process in a running container.
//!
//! Runs in: parent.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::{Global, Verb, not_yet};
use crate::error::Result;

#[derive(Args, Debug)]
pub struct Exec {
    /// Read the process from this file, which has the form of `process` in config.json
    #[arg(short, long, value_name = "FILE")]
    pub process: Option<PathBuf>,

    /// Return as soon as the process runs
    #[arg(short, long)]
    pub detach: bool,

    /// Give the process a terminal
    #[arg(short, long, value_name = "WHETHER", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", default_value = "false", hide_default_value = true,
          action = clap::ArgAction::Set, hide_possible_values = true)]
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

    /// Working directory
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<String>,

    /// Add a variable to the environment
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,

    /// User, and group, of the process
    #[arg(short, long, value_name = "UID[:GID]")]
    pub user: Option<User>,

    /// Add a group
    #[arg(short = 'g', long, value_name = "GID")]
    pub additional_gids: Vec<u32>,

    /// Add a capability
    #[arg(short, long, value_name = "NAME")]
    pub cap: Vec<String>,

    /// Set no_new_privs
    #[arg(long)]
    pub no_new_privs: bool,

    /// Keep N more descriptors open, behind the three streams and LISTEN_FDS
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub preserve_fds: u32,

    /// SELinux label
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,

    /// AppArmor profile
    #[arg(long, value_name = "PROFILE")]
    apparmor: Option<String>,

    /// Cgroup below the container's own
    #[arg(long, value_name = "[CONTROLLER:]PATH")]
    cgroup: Vec<String>,

    /// Enter a paused container too
    #[arg(long)]
    ignore_paused: bool,

    /// Understood for crun's callers; exec adopts no orphans
    #[arg(long, hide = true)]
    no_subreaper: bool,

    /// Name of the container, then the program and its arguments
    #[arg(value_name = "CONTAINER", required = true, trailing_var_arg = true)]
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
            part.parse::<u32>()
                .map_err(|_| format!("{part:?} is not the number of a user or group"))
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

    /// Refuses the options that are understood and not built yet.
    fn check(&self) -> Result<()> {
        for (given, name) in [
            (self.pidfd_socket.is_some(), "exec --pidfd-socket"),
            (self.process_label.is_some(), "exec --process-label"),
            (self.apparmor.is_some(), "exec --apparmor"),
            (!self.cgroup.is_empty(), "exec --cgroup"),
            (self.ignore_paused, "exec --ignore-paused"),
        ] {
            if given {
                return Err(not_yet(name));
            }
        }
        Ok(())
    }
}

impl Verb for Exec {
    const NAME: &'static str = "exec";
    const ABOUT: &'static str = "Run one more process in a running container";
    const USAGE: Option<&'static str> = Some("[OPTIONS] <CONTAINER> [COMMAND [ARGUMENTS]...]");
    /// As runc's, so that a caller can tell it from most statuses of the process itself.
    const FAILURE: u8 = 255;

    fn run(self, _global: &Global) -> Result<u8> {
        self.check()?;
        Err(not_yet(Self::NAME))
    }
}
