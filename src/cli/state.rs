//! `rt state`.
//!
//! Runs in: parent.

use clap::Args;

use super::{Global, Verb, not_yet};
use crate::error::Result;

#[derive(Args, Debug)]
pub struct State {
    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

impl Verb for State {
    const NAME: &'static str = "state";
    const ABOUT: &'static str = "Print the state of a container as JSON";

    fn run(self, _global: &Global) -> Result<u8> {
        Err(not_yet(Self::NAME))
    }
}
