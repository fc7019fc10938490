//! `rt run`: create, start, wait, delete.
//!
//! Runs in: parent.

use clap::Args;

use super::bundle_options::BundleOptions;
use super::{Global, Verb, not_yet};
use crate::error::Result;

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

    fn run(self, _global: &Global) -> Result<u8> {
        self.options.check()?;
        Err(not_yet(Self::NAME))
    }
}
