//! `rt events`: what a container uses, and when it runs out of memory. Not built yet.
//!
//! Runs in: parent.

use clap::Args;

use super::{Global, Verb, not_yet};
use crate::error::Result;

#[derive(Args, Debug)]
pub struct Events {
    /// Time between two reports, as Go writes it: 5s, 500ms
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    interval: String,

    /// Print one report and end
    #[arg(long)]
    stats: bool,

    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

impl Verb for Events {
    const NAME: &'static str = "events";
    const ABOUT: &'static str = "Report what a container uses";
    const WORKS: bool = false;

    fn run(self, _global: &Global) -> Result<u8> {
        Err(not_yet(Self::NAME))
    }
}
