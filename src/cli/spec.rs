//! `rt spec`: a config.json to begin with.
//!
//! Runs in: parent.

use std::path::PathBuf;

use clap::Args;

use super::{Global, Verb, not_yet};
use crate::error::Result;

#[derive(Args, Debug)]
pub struct Spec {
    /// Directory that config.json is written to
    #[arg(short, long, value_name = "DIR")]
    bundle: Option<PathBuf>,

    /// Write to this file in place of config.json
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// For a container that an ordinary user runs
    #[arg(long)]
    rootless: bool,
}

impl Verb for Spec {
    const NAME: &'static str = "spec";
    const ABOUT: &'static str = "Write a config.json to begin with";

    fn run(self, _global: &Global) -> Result<u8> {
        Err(not_yet(Self::NAME))
    }
}
