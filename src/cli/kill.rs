//! `rt kill`: a signal to the container's init, or to all of its processes.
//!
//! Runs in: parent.

use clap::Args;

use super::{Global, Verb, not_yet};
use crate::error::Result;

#[derive(Args, Debug)]
pub struct Kill {
    /// Signal every process of the container
    #[arg(short, long)]
    all: bool,

    /// CONTAINER is a regular expression
    #[arg(short, long, hide = true)]
    regex: bool,

    /// Name of the container, then the signal: a name with or without SIG, or a number (TERM)
    #[arg(value_name = "CONTAINER", required = true, trailing_var_arg = true, num_args = 1..=2)]
    container_and_signal: Vec<String>,
}

impl Verb for Kill {
    const NAME: &'static str = "kill";
    const ABOUT: &'static str = "Send a signal to a container's init";
    const USAGE: Option<&'static str> = Some("[OPTIONS] <CONTAINER> [SIGNAL]");

    fn run(self, _global: &Global) -> Result<u8> {
        if self.regex {
            return Err(not_yet("kill --regex"));
        }
        Err(not_yet(Self::NAME))
    }
}
