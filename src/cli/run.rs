//! `rt run`: create, start, wait, delete.
//!
//! Runs in: parent.

use clap::Args;

use super::bundle_options::BundleOptions;
use super::pidfd_socket::PidfdSocket;
use super::{Global, Verb, delete, late_hooks};
use crate::bundle::Bundle;
use crate::error::{Context, Result};
use crate::plan::Plan;
use crate::process::foreground::{self, Signals};
use crate::process::parent::{self, Child, Release, Wishes};
use crate::state::Slot;

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
        if self.detach {
            options.need_console_socket(&plan)?;
        } else if !self.no_subreaper {
            foreground::adopt_orphans()?;
        }
        let pidfd_sockets = options.pidfd_sockets(&plan)?;
        let signals = Signals::block()?;
        let root = global.root()?;
        let slot = root.reserve(&plan.id)?;
        let child = self
            .start(&bundle, &plan, slot, &signals, &pidfd_sockets)
            .inspect_err(|_| {
                late_hooks::run_poststop(&plan.hooks, &parent::new_record(&plan));
            })?;
        if self.detach {
            child.keep();
            return Ok(0);
        }
        let status = child.attend(&signals);
        if !self.keep {
            delete::remove_own(&root, &plan.id, &plan.hooks)?;
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
    ) -> Result<Child> {
        let options = &self.options;
        let wishes = Wishes {
            release: Release::ByParent,
            config: &bundle.source,
            console_socket: options.console_socket()?,
        };
        let mut child = parent::create(plan, &slot, &wishes, signals)?;
        options.announce(&child.process, pidfd_sockets)?;
        child.release()?;
        late_hooks::run_poststart(&plan.hooks, &child.record)?;
        slot.keep();
        Ok(child)
    }
}
