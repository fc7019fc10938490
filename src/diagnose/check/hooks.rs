//! Hooks that are not there or cannot be executed.
//!
//! Those of startContainer are programs of the container, and what one hook makes another may be.
//! So only what runs on the host is looked at.
//!
//! Runs in: parent.

use super::{Finding, Severity};
use crate::diagnose::hints::Situation;
use crate::hooks::foresee;
use crate::plan::Plan;

pub fn findings(plan: &Plan, situation: &Situation) -> Vec<Finding> {
    let hooks = &plan.hooks;
    let needed = [
        &hooks.prestart,
        &hooks.create_runtime,
        &hooks.create_container,
        &hooks.poststart,
    ];
    let errors = needed.into_iter().flat_map(|list| foresee(list));
    let errors = errors.map(|error| Finding::error("hooks", &error, situation));
    // SPEC: runtime.md#lifecycle: of poststop hooks a failure is only logged.
    let late = foresee(&hooks.poststop).into_iter().map(|error| Finding {
        severity: Severity::Warning,
        code: None,
        ..Finding::error("hooks", &error, situation)
    });
    errors.chain(late).collect()
}
