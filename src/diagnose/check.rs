//! `rt check`: everything that is wrong with a bundle and with this host for it, at once.
//!
//! Owns the order of the questions. What config.json breaks and what cannot be planned is said
//! by the code that `create` runs, in its words. What only the kernel would say is looked for
//! here, an area in each file: facts are gathered, and judged by functions of them.
//!
//! Runs in: parent, with the caller's rights. It makes nothing but a process that ends at once.

mod access;
mod capabilities;
mod executable;
mod finding;
mod hooks;
mod ids;
mod kernel;
mod limits;
mod mount_points;
mod network;
mod program;
mod services;
mod sources;

use std::path::Path;

pub use finding::{Finding, Severity, text};

use super::hints::Situation;
use crate::bundle::checks::pointer_of_words;
use crate::bundle::{Bundle, Places, Violation};
use crate::error::Error;
use crate::host::{Host, Wanted};
use crate::plan::namespaces::{Kind, Namespace, Namespaces};
use crate::plan::{self, CreateOptions, Plan};
use crate::process::notify;

/// What is wrong with the bundle in `dir`, with config.json from elsewhere if `config` says so,
/// for a container with these options.
pub fn bundle(dir: &Path, config: Option<&Path>, options: &CreateOptions) -> Vec<Finding> {
    let situation = Situation::here();
    let (bundle, violations, root) = match Bundle::examine(dir, config) {
        Ok(examined) => examined,
        Err(error) => return vec![Finding::error("bundle", &error, &situation)],
    };
    let mut findings: Vec<Finding> = violations.iter().map(of_violation).collect();
    if let Err(error) = root {
        findings.push(Finding::error("root-folder", &error, &situation));
    }
    match Host::probe(plan::wanted(&bundle, options)) {
        Ok(host) => findings.extend(of_plan(&bundle, options, &host, &situation, &violations)),
        Err(error) => findings.push(Finding::error("host", &error, &situation)),
    }
    let offsets = bundle.offsets();
    findings.sort_by_cached_key(|finding| {
        let place = finding.pointer.as_deref();
        // What has no place in config.json comes last.
        let place = place.map_or(usize::MAX, |pointer| offsets.of(pointer));
        (finding.severity, place)
    });
    findings
}

/// What this host keeps its caller from, whatever the bundle.
pub fn host() -> Vec<Finding> {
    let situation = Situation::here();
    let wanted = Wanted {
        subordinate_ids: true,
        cgroup: true,
        ..Wanted::default()
    };
    let host = match Host::probe(wanted) {
        Ok(host) => host,
        Err(error) => return vec![Finding::error("host", &error, &situation)],
    };
    let list = match host.is_privileged() {
        true => Vec::new(),
        false => vec![(Kind::User, Namespace::New)],
    };
    let namespaces = Namespaces {
        list,
        ..Namespaces::default()
    };
    let mut findings = ids::of_host(&host);
    findings.extend(ids::of_namespaces(&namespaces, &situation));
    findings.extend(network::of_host(&host));
    findings.extend(limits::of_host(&host));
    findings.extend(kernel::of_host());
    findings.extend(services::of_host(&host));
    findings.sort_by_key(|finding| finding.severity);
    findings
}

fn of_violation(violation: &Violation) -> Finding {
    let error = Error::invalid(violation.text()).with_pointer(violation.pointer.clone());
    Finding::error(violation.check, &error, &Situation::default()).clause(violation.clause())
}

fn of_plan(
    bundle: &Bundle,
    options: &CreateOptions,
    host: &Host,
    situation: &Situation,
    violations: &[Violation],
) -> Vec<Finding> {
    let (plan, faults) = Plan::examine(bundle, options, host);
    let broken = Places::of(violations);
    let mut findings: Vec<Finding> = faults
        .iter()
        .filter(|fault| {
            // What follows from a violation of the same place was told with it.
            let place = fault.pointer();
            !place.is_some_and(|place| broken.concern(place))
        })
        .map(|fault| Finding::error("plan", fault, situation))
        .collect();
    let Some(plan) = plan else {
        return findings;
    };
    findings.extend(plan.warnings.iter().map(|warning| tolerated(warning)));
    findings.extend(ids::of_namespaces(&plan.namespaces, situation));
    findings.extend(ids::of_tools(&plan, host));
    findings.extend(capabilities::findings(&plan, host));
    findings.extend(network::findings(bundle, &plan, host));
    findings.extend(network::of_devices(&plan, situation));
    findings.extend(agent(&plan, situation));
    findings.extend(sources::findings(&plan, host, situation));
    findings.extend(mount_points::findings(&plan, host, situation));
    findings.extend(limits::findings(&plan, host, situation));
    findings.extend(kernel::findings(bundle, &plan, host, situation));
    findings.extend(hooks::findings(&plan, situation));
    findings.extend(program::findings(&plan, host, situation));
    findings
}

/// The seccomp agent, where nothing is in its place.
fn agent(plan: &Plan, situation: &Situation) -> Option<Finding> {
    let error = notify::foresee(&plan.process)?;
    let finding = Finding::error("seccomp-agent", &error, situation);
    Some(hooks::may_mend(finding, plan))
}

/// What the specification wants tolerated.
fn tolerated(warning: &str) -> Finding {
    let text = warning.strip_prefix("config.json: ").unwrap_or(warning);
    Finding {
        pointer: pointer_of_words(text),
        ..Finding::warning("tolerated", text)
    }
}
