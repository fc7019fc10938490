//! `rt create`: a container that waits for `start`.
//!
//! Runs in: parent.

use clap::Args;

use super::bundle_options::BundleOptions;
use super::pidfd_socket::PidfdSocket;
use super::{Global, Verb, late_hooks};
use crate::bundle::Bundle;
use crate::error::{Context, Result};
use crate::plan::Plan;
use crate::process::foreground::Signals;
use crate::process::parent::{self, Release};
use crate::process::record;
use crate::state::Slot;
use crate::trace;

#[derive(Args, Debug)]
pub struct Create {
    #[command(flatten)]
    pub options: BundleOptions,

    /// Understood for runc's and crun's callers; create never reaps and never waits
    #[arg(long, hide = true)]
    no_subreaper: bool,
    #[arg(short, long, hide = true)]
    detach: bool,
}

impl Verb for Create {
    const NAME: &'static str = "create";
    const ABOUT: &'static str = "Make a container, which waits for `start`";
    const SHIELDED: bool = true;

    fn run(self, global: &Global) -> Result<u8> {
        self.create(global)
            .context(|| format!("create {:?}", self.options.id))?;
        Ok(0)
    }
}

impl Create {
    fn create(&self, global: &Global) -> Result<()> {
        let options = &self.options;
        let (bundle, plan) = options.plan(Self::NAME, global)?;
        options.check_console_socket(&plan, true)?;
        let pidfd_sockets = options.pidfd_sockets(&plan)?;
        let signals = Signals::block()?;
        let root = global.root()?;
        let slot = trace::during("state directory", || root.reserve(&plan.id))?;
        self.make(&bundle, &plan, slot, &signals, &pidfd_sockets)
            .inspect_err(|_| {
                late_hooks::run_poststop(&plan.hooks, &record::of_plan(&plan), Some(&signals));
            })
    }

    /// Makes the container. An error leaves nothing.
    fn make(
        &self,
        bundle: &Bundle,
        plan: &Plan,
        slot: Slot,
        signals: &Signals,
        pidfd_sockets: &[PidfdSocket],
    ) -> Result<()> {
        let options = &self.options;
        let wishes = options.wishes(Release::AtTheGate, bundle, signals)?;
        let child = parent::create(plan, &slot, &wishes)?;
        options.announce(&child.process, pidfd_sockets)?;
        slot.keep();
        child.keep();
        Ok(())
    }
}
