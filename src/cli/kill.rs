//! `rt kill`: a signal to the container's init, or to all of its processes.
//!
//! Runs in: parent.

use clap::Args;

use super::processes::{self, not_running};
use super::{Global, Verb, matching, signal};
use crate::cgroup::Handle;
use crate::error::{Context, Result};
use crate::log;
use crate::state::{Container, Root, Status};

#[derive(Args, Debug)]
pub struct Kill {
    /// Signal every process of the container; one that has ended is no error
    #[arg(short, long)]
    all: bool,

    /// CONTAINER is a regular expression, and every container that matches is meant
    #[arg(short, long)]
    regex: bool,

    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,

    /// A number, or a name with or without SIG; TERM if not given
    #[arg(value_name = "SIGNAL")]
    signal: Option<String>,
}

impl Verb for Kill {
    const NAME: &'static str = "kill";
    const ABOUT: &'static str = "Send a signal to a container's init";

    fn run(self, global: &Global) -> Result<u8> {
        let signal = match self.signal.as_deref() {
            // An empty word is none to runc and crun.
            None | Some("") => libc::SIGTERM,
            Some(text) => signal::parse(text)?,
        };
        let root = global.root()?;
        let kill_one = |id: &str| {
            let mut container = root.open(id)?;
            kill(&root, &mut container, signal, self.all).context(|| format!("kill {id:?}"))
        };
        match self.regex {
            true => matching::each(&root, &self.id, kill_one),
            false => kill_one(&self.id),
        }
        .map(|()| 0)
    }
}

fn kill(root: &Root, container: &mut Container, signal: i32, all: bool) -> Result<()> {
    let is_running = match container.status()? {
        Status::Created | Status::Running | Status::Paused => true,
        Status::Creating | Status::Stopped => false,
    };
    // Where other processes outlive init, SIGKILL means the container, not one of them.
    let every = all || (signal == libc::SIGKILL && !container.record.private_pid_namespace);
    if every && container.record.init.is_some() {
        match processes::cgroup(&container.record)? {
            Some(cgroup) if is_running || has_left_some(root, container, &cgroup)? => {
                return processes::signal_all(&cgroup, signal);
            }
            Some(_) => {}
            None => log::warning(|| "no cgroup: the signal reaches init alone".to_owned()),
        }
    }
    match is_running {
        true => processes::signal_init(container, signal),
        false if all => Ok(()),
        false => Err(not_running()),
    }
}

/// Whether processes of a container are left whose init has ended.
fn has_left_some(root: &Root, container: &Container, cgroup: &Handle) -> Result<bool> {
    Ok(cgroup.is_populated()? && !processes::has_successor(root, &container.record, cgroup)?)
}
