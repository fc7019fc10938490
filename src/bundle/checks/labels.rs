//! Labels of Linux security modules.
//!
//! Runs in: parent.

use super::{Check, Report, Run};
use crate::bundle::config::Config;

pub const CHECKS: &[Check] = &[Check {
    name: "mount-context-type-is-known",
    clause: "crun(1)",
    pointer: "/annotations/run.oci.mount_context_type",
    run: Run::Config(mount_context_type_is_known),
}];

fn mount_context_type_is_known(config: &Config, report: &mut Report) {
    const KEY: &str = "run.oci.mount_context_type";
    const KNOWN: [&str; 4] = ["context", "fscontext", "defcontext", "rootcontext"];
    if let Some(given) = config.annotations.get(KEY)
        && !given.is_empty()
        && !KNOWN.contains(&given.as_str())
    {
        let known = KNOWN.join(", ");
        report.add(
            format!("/annotations/{KEY}"),
            format!("{given:?} is none of {known}"),
        );
    }
}
