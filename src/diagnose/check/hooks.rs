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

/// What a hook that runs before it is needed may still make is no error.
pub fn may_mend(finding: Finding, plan: &Plan) -> Finding {
    let hooks = &plan.hooks;
    let before = [
        &hooks.prestart,
        &hooks.create_runtime,
        &hooks.create_container,
    ];
    match before.into_iter().all(|list| list.is_empty()) {
        true => finding,
        false => Finding {
            severity: Severity::Warning,
            code: None,
            hint: Some("create fails unless a hook of the bundle makes it".into()),
            ..finding
        },
    }
}

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
