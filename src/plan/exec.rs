//! The plan of one more process in a container: exec.
//!
//! Runs in: parent; a function of its arguments.

use super::process::Process;
use crate::bundle::{Bundle, config};
use crate::error::{Error, Result};
use crate::host::Host;

/// What the command line says of a process to be added.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExecOptions {
    /// The whole process, from `--process FILE`: then the options below are not used.
    pub process: Option<config::Process>,
    /// Instead of config.json's.
    pub args: Vec<String>,
    pub cwd: Option<String>,
    /// Added to config.json's.
    pub env: Vec<String>,
    pub user: Option<User>,
    pub additional_gids: Vec<u32>,
    /// Names with or without `CAP_`, in any case.
    pub capabilities: Vec<String>,
    pub terminal: bool,
    pub no_new_privileges: bool,
}

/// `--user UID[:GID]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: Option<u32>,
}

/// Decides everything about a process that joins a container.
pub fn for_exec(_bundle: &Bundle, _options: &ExecOptions, _host: &Host) -> Result<Process> {
    Err(Error::unsupported("exec: is not there yet"))
}
