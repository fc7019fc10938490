//! `rt mounts`: mounts added to a running container, or removed from it, as crun has it.
//!
//! Runs in: parent.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::processes::not_running;
use super::{Global, Verb};
use crate::bundle::{self, Bundle};
use crate::error::{Context, Error, Result};
use crate::host::Host;
use crate::plan::namespaces::Kind;
use crate::plan::{self, ContainerPath, CreateOptions};
use crate::process::foreground::Signals;
use crate::process::mounter::{self, Change, Target};
use crate::state::Status;

/// How long another command on the same container is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Args, Debug)]
pub struct Mounts {
    /// What to do with the mounts of FILE
    #[arg(value_name = "ACTION")]
    action: Action,

    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,

    /// JSON file with a list in the form of `mounts` in config.json; `remove` looks at the
    /// destinations alone
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Action {
    Add,
    Remove,
}

impl Verb for Mounts {
    const NAME: &'static str = "mounts";
    const ABOUT: &'static str = "Add mounts to a running container, or remove them";

    fn run(self, global: &Global) -> Result<u8> {
        self.change(global)
            .context(|| format!("mounts of {:?}", self.id))
            .map(|()| 0)
    }
}

impl Mounts {
    fn change(&self, global: &Global) -> Result<()> {
        let source = std::fs::read(&self.file).map_err(|e| Error::io("open", &self.file, &e))?;
        let mut container = global.root()?.open(&self.id)?;
        container.lock(PATIENCE)?;
        match container.status()? {
            Status::Created | Status::Running | Status::Paused => {}
            Status::Creating | Status::Stopped => return Err(not_running()),
        }
        let (Some(init), Some(pidfd)) = (container.record.init, container.pidfd()?) else {
            return Err(not_running());
        };
        let bundle = Bundle::from_state(container.config()?, container.record.bundle.clone())?;
        // podman makes an ordinary user's containers as root of a user namespace, which its user
        // may not be in now.
        let is_outside = container.record.owner == 0 && !nix::unistd::geteuid().is_root();
        let has_own = bundle.config.linux().has_namespace(Kind::User.name());
        let depth = usize::from(has_own) + usize::from(is_outside);
        let in_file = |e: Error| e.within(format!("{:?}", self.file));
        let _signals = Signals::block()?;
        match self.action {
            Action::Add => {
                let bundle = bundle.with_mounts(&source).map_err(in_file)?;
                let options = CreateOptions::default();
                let host = Host::probe(plan::wanted(&bundle, &options))?;
                let (rootfs, namespaces) =
                    plan::for_mounts(&bundle, &options, &host).map_err(in_file)?;
                let target = Target {
                    init: init.pid(),
                    pidfd: pidfd.as_fd(),
                    is_privileged: host.is_privileged(),
                    depth,
                };
                mounter::change(&target, &Change::Add(&rootfs, &namespaces))
            }
            Action::Remove => {
                let destinations = bundle::destinations(&source).map_err(in_file)?;
                let paths: Vec<ContainerPath> = destinations
                    .iter()
                    .map(|path| ContainerPath::new(path))
                    .collect();
                let target = Target {
                    init: init.pid(),
                    pidfd: pidfd.as_fd(),
                    is_privileged: true,
                    depth,
                };
                mounter::change(&target, &Change::Remove(&paths))
            }
        }
    }
}
