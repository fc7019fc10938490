//! `rt check`: what would go wrong with a bundle, all of it, before anything is made.
//!
//! Runs in: parent.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Global, Verb, passed, print};
use crate::diagnose::check::{self, Severity};
use crate::error::{Error, Result};
use crate::plan::CreateOptions;

#[derive(Args, Debug)]
pub struct Check {
    /// Directory of the bundle; if not given the present one, or, where that has no config.json,
    /// the host alone
    #[arg(short, long, value_name = "DIR")]
    bundle: Option<PathBuf>,

    /// Read this file in place of config.json
    #[arg(short = 'f', long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Print a list in JSON
    #[arg(long)]
    json: bool,
}

impl Verb for Check {
    const NAME: &'static str = "check";
    const ABOUT: &'static str =
        "Report all that is wrong with a bundle, or with this host for it, and make nothing";

    fn run(self, global: &Global) -> Result<u8> {
        let here = Path::new(".");
        let has_bundle =
            self.bundle.is_some() || self.config.is_some() || here.join("config.json").exists();
        let findings = match has_bundle {
            true => {
                let dir = self.bundle.as_deref().unwrap_or(here);
                check::bundle(dir, self.config.as_deref(), &options(global)?)
            }
            false => check::host(),
        };
        let text = match self.json {
            true => {
                serde_json::to_string_pretty(&findings).map_err(|e| Error::system(e.to_string()))?
                    + "\n"
            }
            false => check::text(&findings),
        };
        print(text)?;
        let fails = findings.iter().any(|f| f.severity == Severity::Error);
        Ok(u8::from(fails))
    }
}

/// Those of `rt create` without any but the global ones.
fn options(global: &Global) -> Result<CreateOptions> {
    Ok(CreateOptions {
        id: "rt-check".into(),
        descriptors: passed::descriptors(0)?,
        cgroup_manager: global.cgroup_manager().into(),
        rootless: global.rootless().into(),
        seccomp_receiver: passed::seccomp_receiver(),
        ..CreateOptions::default()
    })
}
