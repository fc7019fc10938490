//! `rt delete`: removes what a container leaves behind.
//!
//! Runs in: parent.

use clap::Args;

use super::{Global, Verb, not_yet};
use crate::error::Result;

#[derive(Args, Debug)]
pub struct Delete {
    /// Kill the container first where it still runs
    #[arg(short, long)]
    force: bool,

    /// CONTAINER is a regular expression
    #[arg(short, long, hide = true)]
    regex: bool,

    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

impl Verb for Delete {
    const NAME: &'static str = "delete";
    const ABOUT: &'static str = "Remove a container that has ended";

    fn run(self, _global: &Global) -> Result<u8> {
        if self.regex {
            return Err(not_yet("delete --regex"));
        }
        Err(not_yet(Self::NAME))
    }
}
