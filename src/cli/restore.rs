//! `rt restore`: a container from its checkpoint.
//!
//! Runs in: parent.

use clap::Args;

use super::bundle_options::BundleOptions;
use super::criu_options::CriuOptions;
use super::pidfd_socket::PidfdSocket;
use super::{Global, Verb, delete, late_hooks};
use crate::bundle::Bundle;
use crate::criu;
use crate::error::{Context, Result};
use crate::host::{Host, Wanted};
use crate::plan::Plan;
use crate::plan::checkpoint::External;
use crate::process::foreground::{self, Signals};
use crate::process::record;
use crate::process::restore::{self, Restored, Wishes};
use crate::state::Slot;

#[derive(Args, Debug)]
pub struct Restore {
    #[command(flatten)]
    criu: CriuOptions,
    #[command(flatten)]
    options: BundleOptions,

    /// Return as soon as the payload runs
    #[arg(short, long)]
    detach: bool,
    /// Do not adopt the payload's orphans
    #[arg(long)]
    no_subreaper: bool,
    /// Profile of the security module in place of the one in the images
    #[arg(long, value_name = "TYPE:NAME")]
    lsm_profile: Option<String>,
    /// Label of the restored mounts in place of the one in the images
    #[arg(long, value_name = "CONTEXT")]
    lsm_mount_context: Option<String>,
}

impl Verb for Restore {
    const NAME: &'static str = "restore";
    const ABOUT: &'static str = "Make a container from its checkpoint";
    const SHIELDED: bool = true;

    fn works() -> Result<()> {
        criu::find(None).map(drop)
    }

    fn run(self, global: &Global) -> Result<u8> {
        self.restore(global)
            .context(|| format!("restore {:?}", self.options.id))
    }
}

impl Restore {
    fn restore(&self, global: &Global) -> Result<u8> {
        let options = &self.options;
        criu::require_rights(Self::NAME, &Host::probe(Wanted::default())?)?;
        let places = self.criu.places(global)?;
        let (bundle, plan) = options.plan(Self::NAME, global)?;
        options.check_console_socket(&plan, self.detach)?;
        if !self.detach && !self.no_subreaper {
            foreground::adopt_orphans()?;
        }
        let wishes = Wishes {
            places,
            config: &bundle.source,
            console_socket: options.console_socket()?,
            empty_namespaces: self.criu.empty_namespaces()?,
            cgroups_mode: self.criu.cgroups_mode(),
            network_lock: self.criu.network_lock(),
            lsm_profile: self.lsm_profile.clone(),
            lsm_mount_context: self.lsm_mount_context.clone(),
            switches: self.criu.switches(),
        };
        let pidfd_sockets = options.pidfd_sockets(&plan)?;
        let signals = Signals::block()?;
        let root = global.root()?;
        let slot = root.reserve(&plan.id)?;
        let restored = self
            .make(&bundle, &plan, slot, &wishes, &signals, &pidfd_sockets)
            .inspect_err(|_| {
                late_hooks::run_poststop(&plan.hooks, &record::of_plan(&plan), Some(&signals));
            })?;
        if self.detach {
            restored.keep();
            return Ok(0);
        }
        let record = restored.record.clone();
        let opened = root.open(&record.id);
        let status = restored.attend(&signals);
        delete::remove_own(&root, opened, &record, &plan.hooks, &signals)?;
        status
    }

    /// Restores the container. An error leaves nothing.
    fn make(
        &self,
        bundle: &Bundle,
        plan: &Plan,
        slot: Slot,
        wishes: &Wishes<'_>,
        signals: &Signals,
        pidfd_sockets: &[PidfdSocket],
    ) -> Result<Restored> {
        let external = External::plan(bundle)?;
        let restored = restore::restore(plan, &external, &slot, wishes, signals)?;
        self.options.announce(&restored.process, pidfd_sockets)?;
        late_hooks::run_poststart(&plan.hooks, &restored.record, signals)?;
        slot.keep();
        Ok(restored)
    }
}
