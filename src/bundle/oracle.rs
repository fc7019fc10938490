//! The types of this folder held against the crate `oci-spec`: what it reads, `rt` reads
//! too, and to the same values.

use oci_spec::runtime::Spec;
use serde_json::{Value, json};

use super::config::Config;
use super::{example, example_for};

fn configs() -> Vec<(&'static str, String)> {
    vec![
        ("spec", example(false)),
        ("spec --rootless", example_for(1000, 1000)),
        (
            "podman",
            include_str!("../plan/golden/podman-rootless.json").into(),
        ),
        ("pod", include_str!("../plan/golden/pod-member.json").into()),
        ("oci-spec", serde_json::to_string(&Spec::default()).unwrap()),
        (
            "rootless oci-spec",
            serde_json::to_string(&Spec::rootless(1, 2)).unwrap(),
        ),
    ]
}

#[test]
fn what_oci_spec_reads_is_read_to_the_same_values() {
    for (name, text) in configs() {
        let theirs: Spec = serde_json::from_str(&text).unwrap();
        let theirs = serde_json::to_value(&theirs).unwrap();
        let ours: Config = serde_json::from_str(&text).unwrap();
        let process = ours.process.as_ref().unwrap();
        let linux = ours.linux();
        let text = |pointer: &str| theirs.pointer(pointer).cloned().unwrap_or(Value::Null);
        let kinds: Vec<_> = linux.namespaces.iter().map(|n| n.kind.clone()).collect();
        let their_kinds: Vec<_> = text("/linux/namespaces")
            .as_array()
            .unwrap()
            .iter()
            .map(|n| n["type"].as_str().map(str::to_owned))
            .collect();
        assert_eq!(kinds, their_kinds, "{name}");
        assert_eq!(json!(*process.args), text("/process/args"), "{name}");
        assert_eq!(json!(*process.env), text("/process/env"), "{name}");
        assert_eq!(json!(process.cwd), text("/process/cwd"), "{name}");
        assert_eq!(json!(process.user.uid), text("/process/user/uid"), "{name}");
        assert_eq!(json!(ours.hostname), text("/hostname"), "{name}");
        assert_eq!(
            json!(*linux.masked_paths),
            text("/linux/maskedPaths"),
            "{name}"
        );
        for (n, mount) in ours.mounts.iter().enumerate() {
            let options = theirs.pointer(&format!("/mounts/{n}/options"));
            let options = options.cloned().unwrap_or(json!([]));
            assert_eq!(json!(*mount.options), options, "{name}");
            assert_eq!(
                json!(mount.source),
                text(&format!("/mounts/{n}/source")),
                "{name}"
            );
        }
    }
}

/// Why these types are `rt`'s own; when this fails, the reasons have to be weighed again.
#[test]
fn what_oci_spec_refuses_and_the_specification_tolerates_is_read() {
    let put = |pointer: &str, key: &str, value: Value| {
        let mut config: Value = serde_json::from_str(&example(false)).unwrap();
        config.pointer_mut(pointer).unwrap()[key] = value;
        config.to_string()
    };
    for config in [
        // A capability of a newer kernel: config.md wants a warning.
        put(
            "/process/capabilities",
            "bounding",
            json!(["CAP_OF_TOMORROW"]),
        ),
        // Legal as JSON of the specification's types; that it is missing or unknown is said
        // together with all else that is wrong.
        put("/process", "cwd", Value::Null),
        put("/process/rlimits/0", "type", json!("RLIMIT_OF_TOMORROW")),
        put("/linux/namespaces/0", "type", json!("dream")),
    ] {
        assert!(serde_json::from_str::<Spec>(&config).is_err(), "{config}");
        assert!(serde_json::from_str::<Config>(&config).is_ok(), "{config}");
    }
    // No limit is read as the limit 0.
    let pids: oci_spec::runtime::LinuxPids = serde_json::from_str("{}").unwrap();
    assert_eq!(pids.limit(), 0);
}
