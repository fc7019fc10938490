//! `rt start`: lets a created container's payload go.
//!
//! Runs in: parent.

use std::os::fd::AsFd;
use std::time::Duration;

use clap::Args;

use super::{Global, Verb, late_hooks, passed, processes};
use crate::cgroup::Handle;
use crate::cgroup::oom::Above;
use crate::error::{Context, Error, Kind, Result};
use crate::process::foreground::Signals;
use crate::process::gate;
use crate::process::readiness::{Main, Relay};
use crate::state::{Container, Manager, Record, Status};

/// How long to wait for another `rt` that is at work on the same container.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Args, Debug)]
pub struct Start {
    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    pub id: String,
}

impl Verb for Start {
    const NAME: &'static str = "start";
    const ABOUT: &'static str = "Start the payload of a created container";

    fn run(self, global: &Global) -> Result<u8> {
        self.start(global)
            .context(|| format!("start {:?}", self.id))?;
        Ok(0)
    }
}

impl Start {
    fn start(&self, global: &Global) -> Result<()> {
        let mut container = global.root()?.open(&self.id)?;
        container.lock(PATIENCE)?;
        refuse_unless_created(container.status_by_name()?)?;
        let relay = relay(&container)?;
        let cgroup = processes::cgroup(&container.record)?;
        let above = cgroup.as_ref().filter(|_| is_unit(&container.record));
        let above = above.map(Above::of);
        let signals = Signals::block()?;
        let opened = gate::pass(container.dir(), &signals, || {
            let limit = cgroup.as_ref().and_then(Handle::out_of_memory);
            limit.or_else(|| above.as_ref()?.out_of_memory())
        });
        // Failed or not, the gate has been gone through once: what is left is a container
        // that runs or one that has stopped.
        container.remove_gate()?;
        // A signal to this process ends what init may still be at.
        opened.or_else(|error| processes::end_init(&container).and(Err(error)))?;
        let hooks = late_hooks::read(&container, "poststart");
        late_hooks::run_poststart(&hooks, &container.record, &signals)
            .or_else(|error| processes::end_init(&container).and(Err(error)))?;
        // What follows may take as long as the payload likes: others may stop it meanwhile.
        container.unlock();
        match (relay, container.pidfd()?) {
            (Some(relay), Some(init)) => relay.wait_until_ready(init.as_fd(), &signals),
            _ => Ok(()),
        }
    }
}

/// Whether systemd takes the cgroup away with its last process.
fn is_unit(record: &Record) -> bool {
    let cgroup = record.cgroup.as_ref();
    cgroup.is_some_and(|cgroup| cgroup.manager != Manager::Cgroupfs)
}

/// The way from the payload to the caller's service manager, where both are there.
fn relay(container: &Container) -> Result<Option<Relay>> {
    let (Some(manager), Some(init)) = (passed::notify_socket(), container.record.init) else {
        return Ok(None);
    };
    let Some(directory) = container.notify_directory()? else {
        return Ok(None);
    };
    let main = Main::Payload {
        init: init.pid(),
        named: None,
    };
    Relay::listen(directory.as_fd(), &manager, main)
}

/// The words are runc's, which containerd's tests and people match.
fn refuse_unless_created(status: Status) -> Result<()> {
    let message = match status {
        Status::Created => return Ok(()),
        Status::Stopped => "cannot start a container that has stopped".to_owned(),
        Status::Running => "cannot start an already running container".to_owned(),
        other => format!("cannot start a container in the {} state", other.name()),
    };
    Err(Error::new(Kind::WrongState, message))
}
