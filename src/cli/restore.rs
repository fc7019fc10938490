//! `rt restore`: a container from its checkpoint. Not built yet.
//!
//! Runs in: parent.

use clap::Args;

use super::bundle_options::BundleOptions;
use super::checkpoint::CriuOptions;
use super::{Global, Verb, not_yet};
use crate::error::Result;

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
    /// Profile of the security module, TYPE:NAME
    #[arg(long, value_name = "TYPE:NAME")]
    lsm_profile: Option<String>,
    /// Label of the restored mounts
    #[arg(long, value_name = "CONTEXT")]
    lsm_mount_context: Option<String>,
}

impl Verb for Restore {
    const NAME: &'static str = "restore";
    const ABOUT: &'static str = "Make a container from its checkpoint";
    const SHIELDED: bool = true;
    const WORKS: bool = false;

    fn run(self, _global: &Global) -> Result<u8> {
        Err(not_yet(Self::NAME))
    }
}
