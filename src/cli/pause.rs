//! `rt pause`.
//!
//! Runs in: parent.

use clap::Args;

use super::{Global, Verb, not_yet};
use crate::error::Result;

#[derive(Args, Debug)]
pub struct Pause {
    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

impl Verb for Pause {
    const NAME: &'static str = "pause";
    const ABOUT: &'static str = "Stop every process of a container where it is";

    fn run(self, _global: &Global) -> Result<u8> {
        Err(not_yet(Self::NAME))
    }
}
