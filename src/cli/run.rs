//! `rt run`: create, start, wait, delete.
//!
//! Runs in: parent.

use std::os::fd::AsFd;

use clap::Args;

use super::bundle_options::BundleOptions;
use super::passed;
use super::pidfd_socket::PidfdSocket;
use super::{Global, Verb, delete, late_hooks};
use crate::bundle::Bundle;
use crate::error::{Context, Result};
use crate::plan::Plan;
use crate::process::foreground::{self, Signals};
use crate::process::parent::{self, Child, Release};
use crate::process::readiness::{Main, Relay};
use crate::process::record;
use crate::state::Slot;
use crate::trace;

#[derive(Args, Debug)]
pub struct Run {
    #[command(flatten)]
    pub options: BundleOptions,

    /// Return as soon as the payload runs
    #[arg(short, long)]
    pub detach: bool,

    /// Keep the container when the payload has ended
    #[arg(long)]
    pub keep: bool,

    /// Do not adopt the payload's orphans
    #[arg(long)]
    pub no_subreaper: bool,
}

impl Verb for Run {
    const NAME: &'static str = "run";
    const ABOUT: &'static str = "Make a container, start it, and wait for its end";
    const SHIELDED: bool = true;

    fn run(self, global: &Global) -> Result<u8> {
        self.run_container(global)
            .context(|| format!("run {:?}", self.options.id))
    }
}

impl Run {
    fn run_container(&self, global: &Global) -> Result<u8> {
        let options = &self.options;
        let (bundle, plan) = options.plan(Self::NAME, global)?;
        options.check_console_socket(&plan, self.detach)?;
        if !self.detach && !self.no_subreaper {
            foreground::adopt_orphans()?;
        }
        let pidfd_sockets = options.pidfd_sockets(&plan)?;
        let signals = Signals::block()?;
        let root = global.root()?;
        let slot = trace::during("state directory", || root.reserve(&plan.id))?;
        let (child, relay) = self
            .start(&bundle, &plan, slot, &signals, &pidfd_sockets)
            .inspect_err(|_| {
                late_hooks::run_poststop(&plan.hooks, &record::of_plan(&plan), Some(&signals));
            })?;
        if self.detach {
            let waited = match relay {
                Some(relay) => relay.wait_until_ready(child.process.as_fd(), &signals),
                None => Ok(()),
            };
            child.keep();
            return waited.map(|()| 0);
        }
        // What can be done before the payload ends is done by then: our caller waits for our end.
        let record = child.record.clone();
        let opened = (!self.keep).then(|| root.open(&record.id));
        let hooks = plan.hooks.clone();
        drop((bundle, plan));
        let status = child.attend(&signals, relay);
        if let Some(opened) = opened {
            let _step = trace::step("removal");
            delete::remove_own(&root, opened, &record, &hooks, &signals)?;
        }
        status
    }

    /// Makes the container and lets its payload go. An error leaves nothing.
    fn start(
        &self,
        bundle: &Bundle,
        plan: &Plan,
        slot: Slot,
        signals: &Signals,
        pidfd_sockets: &[PidfdSocket],
    ) -> Result<(Child, Option<Relay>)> {
        let options = &self.options;
        let wishes = options.wishes(Release::ByParent, bundle, signals)?;
        let mut child = parent::create(plan, &slot, &wishes)?;
        options.announce(&child.process, pidfd_sockets)?;
        let relay = self.relay(&slot, &child)?;
        child.release(signals)?;
        late_hooks::run_poststart(&plan.hooks, &child.record, signals)?;
        slot.keep();
        Ok((child, relay))
    }

    /// The way from the payload to the caller's service manager, where both are there.
    fn relay(&self, slot: &Slot, child: &Child) -> Result<Option<Relay>> {
        let (Some(manager), Some(directory)) = (passed::notify_socket(), slot.notify_directory()?)
        else {
            return Ok(None);
        };
        let init = child.process.pid();
        let main = match self.detach {
            true => Main::Payload { init, named: None },
            false => Main::ThisProcess,
        };
        Relay::listen(directory.as_fd(), &manager, main)
    }
}
