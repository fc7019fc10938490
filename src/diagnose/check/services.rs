//! Programs of the host that some verbs and options call upon: systemd, CRIU.
//!
//! Runs in: parent.

use super::Finding;
use crate::cgroup::systemd::Manager;
use crate::criu;
use crate::error::Error;
use crate::host::Host;
use crate::plan::scope::Bus;

/// What will not work for want of them; none of it is needed by every container.
pub fn of_host(host: &Host) -> Vec<Finding> {
    let (bus, whose) = match host.is_privileged() && host.in_initial_user_namespace() {
        true => (Bus::System, "the system's"),
        false => (Bus::User, "the user's"),
    };
    let systemd = Manager::connect(bus).err().map(|error| {
        let text = format!("--systemd-cgroup will not work: {whose} systemd is not within reach");
        lack("systemd", &text, &error)
    });
    let rights = criu::require_rights("checkpoint", host);
    let criu = rights.and_then(|()| criu::find(None).map(drop));
    let criu = criu
        .err()
        .map(|error| lack("criu", "checkpoint and restore will not work", &error));
    systemd.into_iter().chain(criu).collect()
}

fn lack(check: &'static str, text: &str, error: &Error) -> Finding {
    let finding = Finding::note(check, format!("{text}: {error}"));
    match error.hint() {
        Some(hint) => finding.hint(hint),
        None => finding,
    }
}
