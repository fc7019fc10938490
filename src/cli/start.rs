//! `rt start`: lets a created container's payload go.
//!
//! Runs in: parent.

use std::time::Duration;

use clap::Args;

use super::{Global, Verb};
use crate::bundle::Bundle;
use crate::error::{Context, Error, Kind, Result};
use crate::hooks;
use crate::log;
use crate::plan::hooks::Hooks;
use crate::process::parent::{self, hook_state};
use crate::state::{Container, Status};

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
        refuse_unless_created(container.status()?)?;
        let opened = parent::open_gate(container.dir());
        // Failed or not, the gate has been gone through once: what is left is a container
        // that runs or one that has stopped.
        container.remove_gate()?;
        opened?;
        run_poststart_hooks(&container)
    }
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

/// A poststart hook that fails is a warning: the payload runs already.
fn run_poststart_hooks(container: &Container) -> Result<()> {
    let bundle = Bundle::from_config(container.config()?, container.record.bundle.clone())?;
    let hooks = Hooks::plan(&bundle.config)?;
    if hooks.poststart.is_empty() {
        return Ok(());
    }
    let state = hook_state(&container.record, Status::Running)?;
    for error in hooks::run_all(&hooks.poststart, &state) {
        log::warning(|| error.to_string());
    }
    Ok(())
}
