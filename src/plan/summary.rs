//! The plan in some lines, for `--debug`.
//!
//! Neither arguments nor environment nor data of a file system are among them, which may hold
//! secrets: a log is read by more people than a config.json.
//!
//! Runs in: parent.

use super::Plan;
use super::cgroup::{Cgroup, Placement};
use super::namespaces::{Kind, Namespace, Namespaces};
use super::process::Process;
use super::rootfs::{Mount, Rootfs, Source};
use crate::host::IdRange;

impl Plan {
    /// What was decided, a line for each part of the container.
    pub fn summary(&self) -> Vec<String> {
        let mut lines = of_namespaces(&self.namespaces);
        lines.push(of_cgroup(&self.cgroup));
        lines.extend(of_rootfs(&self.rootfs));
        lines.push(of_process(&self.process));
        if self.rootless {
            lines.push("rootless: what takes rights over the host is left out".to_owned());
        }
        lines
    }
}

fn of_namespaces(namespaces: &Namespaces) -> Vec<String> {
    let each: Vec<String> = Kind::ALL
        .into_iter()
        .map(|kind| match namespaces.get(kind) {
            Some(Namespace::New) => format!("new {}", kind.name()),
            Some(Namespace::Join(path)) => format!("{} of {path}", kind.name()),
            None => format!("the caller's {}", kind.name()),
        })
        .collect();
    let mut lines = vec![format!("namespaces: {}", each.join(", "))];
    if let Some(maps) = &namespaces.id_maps {
        let join = |ranges: &[IdRange]| -> String {
            let ranges: Vec<String> = ranges.iter().map(ToString::to_string).collect();
            ranges.join(" ")
        };
        lines.push(format!(
            "id maps (inside:outside:count): uids {}, gids {}, written by {:?}",
            join(&maps.uids),
            join(&maps.gids),
            maps.writer
        ));
    }
    lines
}

fn of_cgroup(cgroup: &Cgroup) -> String {
    let place = match &cgroup.placement {
        Placement::Path { mount, path } => format!("{:?}", mount.as_path().join(path)),
        Placement::Unit { scope, .. } => {
            format!("{:?} of systemd on the bus {:?}", scope.unit, scope.bus)
        }
        without => format!("none: {}", without.why_none().unwrap_or_default()),
    };
    let settings = cgroup.settings.iter();
    let settings: String = settings
        .map(|setting| format!(", {}={:?}", setting.file, setting.value))
        .collect();
    let rules = cgroup.devices.as_ref().map_or_else(String::new, |rules| {
        format!(", {} device rules", rules.len())
    });
    format!("cgroup: {place}{settings}{rules}")
}

fn of_rootfs(rootfs: &Rootfs) -> Vec<String> {
    let access = if rootfs.readonly { ", read-only" } else { "" };
    let mut lines = vec![format!(
        "root: {}{access}, {:?}, {} masked and {} read-only paths",
        rootfs.root,
        rootfs.pivot,
        rootfs.masked_paths.len(),
        rootfs.readonly_paths.len()
    )];
    lines.extend(rootfs.mounts.iter().map(of_mount));
    lines
}

fn of_mount(mount: &Mount) -> String {
    let what = match &mount.source {
        Source::Bind { path, .. } => format!("bind of {path}"),
        Source::New(fs)
        | Source::CopyUp(fs)
        | Source::Cgroup(fs)
        | Source::Proc(fs)
        | Source::Sysfs(fs) => format!("new {}", fs.kind.to_string_lossy()),
        Source::Remount(_) => "other options for what is there".to_owned(),
    };
    let mapped = if mount.id_map.is_some() {
        ", ids mapped"
    } else {
        ""
    };
    format!("mount {}: {what}{mapped}", mount.destination)
}

fn of_process(process: &Process) -> String {
    let program = process.args.first().map_or_else(String::new, |program| {
        format!("{:?}", program.to_string_lossy())
    });
    let groups = match &process.groups {
        Some(groups) => format!("groups {groups:?}"),
        None => "the caller's groups".to_owned(),
    };
    let seccomp = match &process.seccomp {
        Some(filter) => format!("seccomp {} instructions", filter.program.len()),
        None => "no seccomp".to_owned(),
    };
    format!(
        "process: {program} as {}:{}, {groups}, capabilities {:#x} of bounding {:#x}, no_new_privs {}, {seccomp}",
        process.uid,
        process.gid,
        process.capabilities.effective,
        process.capabilities.bounding,
        process.no_new_privileges
    )
}

#[cfg(test)]
mod tests {
    use crate::bundle::example;
    use crate::plan::{CreateOptions, golden};

    #[test]
    fn a_summary_says_what_was_decided_and_no_secrets() {
        let config = example(true).replace("TERM=xterm", "SECRET=x");
        let plan = golden::plan(config, CreateOptions::default(), &golden::podman());
        let text = plan.summary().join("\n");
        for part in [
            "new user",
            "the caller's network",
            "root: /bundle/rootfs",
            "mount /proc: new proc",
            "mount /sys: bind of /sys",
            "process: \"sh\" as 0:0",
            "no seccomp",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("SECRET"), "{text}");
    }
}
