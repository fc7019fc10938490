//! `rt list`: the containers below one state directory.
//!
//! Runs in: parent.

use clap::{Args, ValueEnum};

use super::{Global, Verb, not_yet};
use crate::error::Result;

#[derive(Args, Debug)]
pub struct List {
    /// Form of the output: table or json
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        default_value = "table",
        hide_default_value = true
    )]
    format: ListFormat,

    /// Print the names alone
    #[arg(short, long)]
    quiet: bool,
}

/// The forms of `list` and `ps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    Table,
    Json,
}

impl Verb for List {
    const NAME: &'static str = "list";
    const ABOUT: &'static str = "List the containers";

    fn run(self, _global: &Global) -> Result<u8> {
        Err(not_yet(Self::NAME))
    }
}
