//! What is remembered of a container while it is made, and what its hooks are told of it.
//!
//! Runs in: parent, and the verbs that run hooks.

use crate::cgroup::{Guard, resctrl};
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::plan::cgroup::Placement;
use crate::plan::namespaces::Kind as Namespace;
use crate::state::{CgroupRecord, Manager, Record, Report, Status};

/// What is known of the container before there is a process.
pub fn of_plan(plan: &Plan) -> Record {
    let mut record = Record::new(
        &plan.id,
        plan.bundle.as_path().to_owned(),
        plan.rootfs.root.as_path().to_owned(),
    );
    record.annotations = plan.annotations.clone();
    record.private_pid_namespace = plan.namespaces.is_new(Namespace::Pid);
    record.rootless = plan.rootless;
    record.resctrl = plan.intel_rdt.as_ref().map(resctrl::record);
    record.session_keyring = plan.process.keyring.is_some();
    let filter = plan.process.seccomp.as_ref();
    record.seccomp_receiver = filter
        .and_then(|filter| filter.listener.as_ref())
        .map(|listener| listener.path.to_string_lossy().into_owned());
    record.cgroup = match &plan.cgroup.placement {
        Placement::Path { mount, path } => Some(CgroupRecord {
            mount: mount.as_path().to_owned(),
            path: path.clone(),
            inode: None,
            manager: Manager::Cgroupfs,
        }),
        // The path is known for sure once systemd has made it; until then the unit's name is
        // what counts.
        Placement::Unit { mount, scope } => Some(CgroupRecord {
            mount: mount.as_path().to_owned(),
            path: scope.path.clone(),
            inode: None,
            manager: Manager::Systemd {
                unit: scope.unit.clone(),
                bus: scope.bus,
            },
        }),
        Placement::Disabled | Placement::None { .. } => None,
    };
    record
}

/// Adds this process's three streams, which become the payload's.
pub(super) fn note_streams(record: &mut Record, plan: &Plan) {
    if plan.process.terminal.is_none() {
        record.streams = (0..3)
            .filter_map(|number| std::fs::read_link(format!("/proc/self/fd/{number}")).ok())
            .map(|target| target.to_string_lossy().into_owned())
            .collect();
    }
}

/// Adds where the cgroup really is, and which one it is, once it is there. A container that goes
/// without one has none to remember.
pub(super) fn note_cgroup(record: &mut Record, guard: Option<&Guard>) -> Result<()> {
    let Some(handle) = guard.and_then(Guard::handle) else {
        record.cgroup = None;
        return Ok(());
    };
    if let Some(cgroup) = &mut record.cgroup {
        cgroup.path = handle.path().to_owned();
        cgroup.inode = Some(handle.inode()?);
    }
    Ok(())
}

/// The state on a hook's standard input.
pub fn for_hooks(record: &Record, status: Status) -> Result<Vec<u8>> {
    serde_json::to_vec(&Report::for_hook(record, status))
        .map_err(|e| Error::system(format!("the state for hooks: {e}")))
}
