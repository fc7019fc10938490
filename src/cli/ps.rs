//! `rt ps`: the processes of a container.
//!
//! Runs in: parent.

use clap::Args;

use super::list::ListFormat;
use super::{Global, Verb, not_yet};
use crate::error::Result;

#[derive(Args, Debug)]
pub struct Ps {
    /// Form of the output: table or json
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        default_value = "table",
        hide_default_value = true
    )]
    format: ListFormat,

    /// Name of the container, then the options of the host's ps (-ef)
    #[arg(value_name = "CONTAINER", required = true, trailing_var_arg = true)]
    container_and_options: Vec<String>,
}

impl Verb for Ps {
    const NAME: &'static str = "ps";
    const ABOUT: &'static str = "List the processes of a container";
    const USAGE: Option<&'static str> = Some("[OPTIONS] <CONTAINER> [PS OPTIONS]...");

    fn run(self, _global: &Global) -> Result<u8> {
        Err(not_yet(Self::NAME))
    }
}
