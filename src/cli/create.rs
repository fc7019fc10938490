//! `rt create`: a container that waits for `start`.
//!
//! Runs in: parent.

use clap::Args;

use super::bundle_options::BundleOptions;
use super::{Global, Verb, not_yet};
use crate::error::Result;

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
    const ABOUT: &'static str = "Make a container and leave it waiting for start";

    fn run(self, _global: &Global) -> Result<u8> {
        self.options.check()?;
        Err(not_yet(Self::NAME))
    }
}
