//! `rt plan`: what `create` would do, printed.
//!
//! Runs in: parent, with the caller's rights; makes and changes nothing.

use clap::{Args, ValueEnum};

use super::bundle_options::PlanOptions;
use super::{Global, Verb, print};
use crate::error::{Context, Result};
use crate::plan::outline;

#[derive(Args, Debug)]
pub struct Plan {
    #[command(flatten)]
    options: PlanOptions,

    /// An outline in the order in which things happen, or all of it for programs
    #[arg(long, value_enum, default_value_t = PlanFormat::Text)]
    format: PlanFormat,

    /// Name of the container
    #[arg(value_name = "CONTAINER", default_value = "rt-plan")]
    id: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PlanFormat {
    Text,
    Json,
}

impl Verb for Plan {
    const NAME: &'static str = "plan";
    const ABOUT: &'static str = "Print what `create` would do, step by step, and make nothing";

    fn run(self, global: &Global) -> Result<u8> {
        let planned = self.options.plan(&self.id, Self::NAME, global);
        let (_, plan) = planned.context(|| format!("plan {:?}", self.id))?;
        print(match self.format {
            PlanFormat::Text => outline::text(&plan)?,
            PlanFormat::Json => outline::json(&plan)?,
        })?;
        Ok(0)
    }
}
