//! `rt features`: what this version can do, as JSON (runtime-spec 1.3, features.md).
//!
//! Engines decide by it what they ask for, so it says only what is true of this version.
//!
//! Runs in: parent.

use clap::Args;
use serde_json::{Value, json};

use super::{Global, Verb, print, version};
use crate::bundle::mount_options::{Meaning, WORDS};
use crate::criu;
use crate::error::{Error, Result};
use crate::plan::namespaces::Kind;
use crate::seccomp::{Action, Arch, Flag, Operator};
use crate::sys::mount::has_id_maps;

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
        "intelRdt": { "enabled": false },
        "mountExtensions": { "idmap": { "enabled": has_id_maps() } },
        "netDevices": { "enabled": true },
    })
}

fn seccomp() -> Value {
    let known: Vec<&str> = Flag::ALL.iter().map(|flag| flag.name()).collect();
    let supported = Flag::ALL.iter().filter(|flag| flag.is_supported());
    let supported: Vec<&str> = supported.map(|flag| flag.name()).collect();
    let mut actions: Vec<&str> = Action::ALL.iter().map(|action| action.name()).collect();
    let mut operators: Vec<&str> = Operator::ALL.iter().map(|op| op.name()).collect();
    let with_table = Arch::ALL.iter().filter(|arch| arch.has_table());
    let mut arches: Vec<&str> = with_table.map(|arch| arch.name()).collect();
    for list in [&mut actions, &mut operators, &mut arches] {
        list.sort_unstable();
    }
    json!({
        "enabled": true,
        "actions": actions,
        "operators": operators,
        "archs": arches,
        "knownFlags": known,
        "supportedFlags": supported,
    })
}

fn mount_options() -> Vec<&'static str> {
    let mut words: Vec<&str> = WORDS
        .iter()
        .filter(|(_, meaning)| has_id_maps() || !matches!(meaning, Meaning::IdMap { .. }))
        .map(|(word, _)| *word)
        .collect();
    words.sort_unstable();
    words
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(
            features.pointer("/linux/mountExtensions/idmap/enabled"),
            Some(&Value::Bool(has_id_maps()))
        );
    }
}
