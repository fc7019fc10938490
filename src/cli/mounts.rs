//! `rt mounts`: mounts added to or removed from a running container. Not built yet.
//!
//! Runs in: parent.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Global, Verb, not_yet};
use crate::error::Result;

#[derive(Args, Debug)]
pub struct Mounts {
    /// What to do
    #[arg(value_name = "ACTION")]
    action: Action,

    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,

    /// File with a list in the form of `mounts` in config.json
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Action {
    Add,
    Remove,
}

impl Verb for Mounts {
    const NAME: &'static str = "mounts";
    const ABOUT: &'static str = "Add mounts to a running container, or remove them";

    fn works() -> Result<()> {
        Err(not_yet(Self::NAME))
    }

    fn run(self, _global: &Global) -> Result<u8> {
        Err(not_yet(Self::NAME))
    }
}
