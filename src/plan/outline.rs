//! The plan as text: what happens, in the order in which it happens.
//!
//! Owns that order, and nothing of the values: the text is made of the plan's JSON, whose names
//! and words it keeps. A field that no section names comes under the last heading, so none can be
//! forgotten.
//!
//! Runs in: parent.

#[cfg(test)]
mod tests;
mod text;
mod tree;

use super::Plan;
use crate::error::{Error, Result};
use text::Text;
use tree::Node;

/// Fields by their paths in the JSON, as far as they belong to one moment.
struct Section {
    title: &'static str,
    fields: &'static [&'static str],
}

const SECTIONS: &[Section] = &[
    Section {
        title: "The container",
        fields: &["id", "bundle", "rootless", "annotations", "warnings"],
    },
    Section {
        title: "The parent, before there is another process",
        fields: &[
            "hooks.stdout",
            "hooks.stderr",
            "notify",
            "cgroup.placement",
            "cgroup.required",
            "cgroup.settings",
            "cgroup.owner",
        ],
    },
    Section {
        title: "clone3(2): what init is born into, or joins",
        fields: &["namespaces.list"],
    },
    Section {
        title: "The parent, for init from outside",
        fields: &[
            "cgroup.devices",
            "intel_rdt",
            "process.oom_score_adj",
            "namespaces.id_maps",
            "net_devices",
        ],
    },
    Section {
        title: "init: its clocks and its session",
        fields: &["namespaces.time_offsets", "process.keyring"],
    },
    Section {
        title: "init: the container's files, while the host's are in view",
        fields: &[
            "rootfs.propagation",
            "rootfs.root",
            "rootfs.cgroup_mount",
            "rootfs.mount_label",
            "rootfs.mounts",
            "rootfs.devices",
            "rootfs.links",
        ],
    },
    Section {
        title: "Hooks of that moment, and the terminal",
        fields: &[
            "hooks.prestart",
            "hooks.create_runtime",
            "hooks.create_container",
            "process.terminal",
            "rootfs.console",
        ],
    },
    Section {
        title: "init: the change of root, and what is hidden",
        fields: &[
            "rootfs.pivot",
            "hostname",
            "domainname",
            "sysctls",
            "rootfs.readonly_paths",
            "rootfs.masked_paths",
            "rootfs.readonly",
            "rootfs.root_propagation",
        ],
    },
    Section {
        title: "init: becomes the payload's user; `rt create` ends here",
        fields: &[
            "process.rlimits",
            "process.io_priority",
            "process.memory_policy",
            "process.scheduler",
            "process.personality",
            "process.apparmor_profile",
            "process.selinux_label",
            "process.no_new_privileges",
            "process.uid",
            "process.gid",
            "process.groups",
            "process.uid_ranges",
            "process.capabilities",
            "process.umask",
            "process.cwd",
            "pidfd_receiver",
        ],
    },
    Section {
        title: "`rt start`: init executes the payload",
        fields: &[
            "descriptors",
            "process.seccomp",
            "hooks.start_container",
            "process.args",
            "process.env",
            "process.home_missing",
            "hooks.poststart",
        ],
    },
    Section {
        title: "Later: `rt exec`, `rt delete`",
        fields: &[
            "process.affinity_initial",
            "process.affinity_final",
            "hooks.poststop",
        ],
    },
];

/// Where what is in no section comes, which is nothing.
const REST: &str = "And";

/// What a value means for the rest of the plan, where its name does not tell.
const NOTES: &[(&str, &str, &str)] = &[
    (
        "rootless",
        "yes",
        "what the caller may not do to the host is left out where runc leaves it out",
    ),
    (
        "cgroup.required",
        "no",
        "where none can be made the container has none",
    ),
    (
        "namespaces.id_maps.writer",
        "parent",
        "which writes /proc/PID/uid_map and gid_map",
    ),
    (
        "namespaces.id_maps.writer",
        "itself",
        "init writes its own, and denies setgroups(2)",
    ),
    (
        "namespaces.id_maps.writer",
        "newidmap",
        "newuidmap(1) and newgidmap(1) write them",
    ),
    (
        "rootfs.pivot",
        "chroot",
        "no mount namespace of its own: nothing of the above is mounted, made or hidden",
    ),
    ("rootfs.console", "yes", "the terminal, at /dev/console"),
    ("process.groups", "null", "left as they are"),
    ("process.groups", "[]", "none, the caller's are given up"),
    (
        "process.seccomp.loaded",
        "at_start",
        "just before execve(2), or before the hooks of that moment",
    ),
    (
        "process.seccomp.loaded",
        "before_ready",
        "before `rt create` ends, and its listener is handed over",
    ),
    (
        "process.home_missing",
        "yes",
        "HOME is taken from the container's /etc/passwd",
    ),
];

/// The plan in JSON, complete.
pub fn json(plan: &Plan) -> Result<String> {
    let text = serde_json::to_string_pretty(plan);
    text.map(|text| text + "\n")
        .map_err(|e| Error::system(e.to_string()))
}

/// The plan for people.
pub fn text(plan: &Plan) -> Result<String> {
    let mut tree: Node =
        serde_json::from_str(&json(plan)?).map_err(|e| Error::system(e.to_string()))?;
    let mut text = Text::default();
    for section in SECTIONS {
        let fields = section.fields.iter();
        let taken = fields.filter_map(|path| Some(((*path).to_owned(), tree.take(path)?)));
        text.section(section.title, &taken.collect::<Vec<_>>());
    }
    if let Node::Object(rest) = &tree {
        text.section(REST, rest);
    }
    Ok(text.finish())
}

/// What is to be said of `value` at `path`.
fn note(path: &str, value: &str) -> Option<&'static str> {
    let mut notes = NOTES.iter();
    notes
        .find(|(at, of, _)| *at == path && *of == value)
        .map(|(_, _, note)| *note)
}
