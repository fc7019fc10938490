//! `rt state`.
//!
//! Runs in: parent.

use clap::Args;

use super::{Global, Verb, print};
use crate::error::{Error, Result};
use crate::state::Report;

#[derive(Args, Debug)]
pub struct State {
    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

impl Verb for State {
    const NAME: &'static str = "state";
    const ABOUT: &'static str = "Print the state of a container as JSON";

    fn run(self, global: &Global) -> Result<u8> {
        let mut container = global.root()?.look_at(&self.id)?;
        let status = container.status()?;
        let report = Report::new(&container.record, status);
        let text =
            serde_json::to_string_pretty(&report).map_err(|e| Error::system(e.to_string()))?;
        print(text).map(|()| 0)
    }
}
