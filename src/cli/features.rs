//! `rt features`: what this version can do, as JSON (runtime-spec 1.3, features.md).
//!
//! Engines decide by it what they ask for, so it says only what is true of this version.
//!
//! SPEC: features.md wants it to be the same on every machine. Where engines offer users what
//! it names (recursive attributes, id-mapped mounts, actions and flags of seccomp), what this
//! kernel lacks is left out: the offer could not be kept.
//!
//! Runs in: parent.

use clap::Args;
use serde_json::{Value, json};

use super::{Global, Verb, print, version};
use crate::bundle::mount_options::{Meaning, WORDS};
use crate::bundle::words::{MEMORY_FLAGS, MEMORY_MODES};
use crate::criu;
use crate::error::{Error, Result};
use crate::plan::namespaces::Kind;
use crate::seccomp::{Action, Arch, Flag, Operator};
use crate::sys::mount::has_mount_setattr;
use crate::sys::schedule::has_memory_policies;

#[derive(Args, Debug)]
pub struct Features {}

impl Verb for Features {
    const NAME: &'static str = "features";
    const ABOUT: &'static str = "Print what rt can do as JSON";

    fn run(self, _global: &Global) -> Result<u8> {
        let text =
            serde_json::to_string_pretty(&features()).map_err(|e| Error::system(e.to_string()))?;
        print(text + "\n").map(|()| 0)
    }
}

fn features() -> Value {
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": version::SPECIFICATION,
        "hooks": [
            "prestart", "createRuntime", "createContainer", "startContainer",
            "poststart", "poststop",
        ],
        "mountOptions": mount_options(),
        "linux": linux(),
        "annotations": {
            "org.opencontainers.runc.checkpoint.enabled": criu::find(None).is_ok().to_string(),
            "rt.version": version::NUMBER,
            "rt.commit": version::COMMIT,
        },
        // Engines keep these away from users: each changes what the runtime does.
        "potentiallyUnsafeConfigAnnotations": ["org.criu.", "org.systemd.property.", "run.oci."],
    })
}

fn linux() -> Value {
    let mut capabilities: Vec<String> = caps::all().iter().map(ToString::to_string).collect();
    capabilities.sort_unstable();
    let mut namespaces = Kind::ALL.map(Kind::name);
    namespaces.sort_unstable();
    json!({
        "namespaces": namespaces,
        "capabilities": capabilities,
        "cgroup": {
            "v1": false, "v2": true, "systemd": true, "systemdUser": true, "rdma": true,
        },
        "seccomp": seccomp(),
        "apparmor": { "enabled": true },
        "selinux": { "enabled": true },
        "intelRdt": { "enabled": true, "schemata": true, "monitoring": true },
        "memoryPolicy": has_memory_policies().then(memory_policy),
        "mountExtensions": { "idmap": { "enabled": has_mount_setattr() } },
        "netDevices": { "enabled": true },
    })
}

fn memory_policy() -> Value {
    let names = |table: &[(&'static str, u64)]| -> Vec<&str> {
        table.iter().map(|(name, _)| *name).collect()
    };
    json!({ "modes": names(MEMORY_MODES), "flags": names(MEMORY_FLAGS) })
}

fn seccomp() -> Value {
    let known: Vec<&str> = Flag::ALL.iter().map(|flag| flag.name()).collect();
    let supported = Flag::ALL.iter().filter(|flag| flag.is_supported());
    let supported: Vec<&str> = supported.map(|flag| flag.name()).collect();
    let actions = Action::ALL.iter().filter(|action| action.is_supported());
    let mut actions: Vec<&str> = actions.map(|action| action.name()).collect();
    let mut operators: Vec<&str> = Operator::ALL.iter().map(|op| op.name()).collect();
    let with_table = Arch::ALL.iter().filter(|arch| arch.has_table());
    let mut arches: Vec<&str> = with_table.map(|arch| arch.name()).collect();
    for list in [&mut actions, &mut operators, &mut arches] {
        list.sort_unstable();
    }
    json!({
        "enabled": !actions.is_empty(),
        "actions": actions,
        "operators": operators,
        "archs": arches,
        "knownFlags": known,
        "supportedFlags": supported,
    })
}

fn mount_options() -> Vec<&'static str> {
    let is_new = |meaning| matches!(meaning, Meaning::IdMap { .. } | Meaning::Recursive { .. });
    let mut words: Vec<&str> = WORDS
        .iter()
        .filter(|(_, meaning)| has_mount_setattr() || !is_new(*meaning))
        .map(|(word, _)| *word)
        .collect();
    words.sort_unstable();
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::example;
    use crate::plan::{CreateOptions, golden};

    #[test]
    fn what_engines_look_for_is_there() {
        let features = features();
        let has = |pointer: &str, word: &str| {
            let list = features.pointer(pointer).and_then(Value::as_array);
            list.is_some_and(|list| list.iter().any(|item| item == word))
        };
        assert!(has("/mountOptions", "rro"));
        assert!(has("/hooks", "poststop"));
        assert!(has("/linux/namespaces", "time"));
        assert!(has("/linux/seccomp/actions", "SCMP_ACT_NOTIFY"));
        assert!(has("/linux/seccomp/archs", "SCMP_ARCH_X32"));
        assert!(!has("/linux/seccomp/archs", "SCMP_ARCH_S390"));
        assert!(has(
            "/linux/seccomp/supportedFlags",
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW"
        ));
        assert!(has("/linux/capabilities", "CAP_SYS_ADMIN"));
        assert!(has("/linux/memoryPolicy/modes", "MPOL_BIND") == has_memory_policies());
    }

    /// Whether a container whose config.json has this in `linux` is planned.
    fn is_planned(field: &str, value: Value) -> bool {
        let mut config: Value = serde_json::from_str(&example(false)).unwrap();
        config["linux"][field] = value;
        golden::try_plan(
            config.to_string(),
            CreateOptions::default(),
            &golden::root(),
        )
        .is_ok()
    }

    #[test]
    fn what_is_said_to_be_honoured_is_planned_and_nothing_else() {
        let features = features();
        let enabled = |pointer: &str| features.pointer(pointer) == Some(&Value::Bool(true));
        for field in ["enabled", "schemata", "monitoring"] {
            assert_eq!(
                enabled(&format!("/linux/intelRdt/{field}")),
                is_planned("intelRdt", json!({ "closID": "a" })),
                "{field}"
            );
        }
        assert_eq!(
            enabled("/linux/netDevices/enabled"),
            is_planned("netDevices", json!({ "eth0": {} }))
        );
        assert!(is_planned(
            "memoryPolicy",
            json!({ "mode": "MPOL_BIND", "nodes": "0" })
        ));
    }
}
