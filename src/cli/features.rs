//! `rt features`: what this version can do, as JSON (runtime-spec 1.3, features.md).
//!
//! Runs in: parent.

use clap::Args;

use super::{Global, Verb, not_yet};
use crate::error::Result;

#[derive(Args, Debug)]
pub struct Features {}

impl Verb for Features {
    const NAME: &'static str = "features";
    const ABOUT: &'static str = "Print what rt can do as JSON";

    fn run(self, _global: &Global) -> Result<u8> {
        Err(not_yet(Self::NAME))
    }
}
