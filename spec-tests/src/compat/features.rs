//! features.md: what the runtime says of itself

use serde_json::Value;

use crate::harness::case::Case;
use crate::harness::verdict::{Doing, Verdict, holds};
use crate::tests;

tests! {
    "features.md#specification-version" Should features_name_the_versions;
    "features.md#hooks" Should features_name_the_hooks;
    "features.md#mount-options" Should features_name_the_mount_options;
    "features-linux.md#namespaces" Should features_name_namespaces_and_capabilities;
}

fn features(case: &Case) -> Verdict<Value> {
    let outcome = case.runtime(["features"]).bare().run()?.succeeded()?;
    serde_json::from_str(&outcome.stdout).doing(outcome.told())
}

fn has_all(list: &Value, wanted: &[&str]) -> Verdict {
    let have: Vec<&str> = list
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for one in wanted {
        holds(have.contains(one), format!("{one} is not in {have:?}"))?;
    }
    Ok(())
}

fn features_name_the_versions(case: &Case) -> Verdict {
    let features = features(case)?;
    for field in ["ociVersionMin", "ociVersionMax"] {
        let version = features[field].as_str().unwrap_or_default();
        holds(version.starts_with("1."), format!("{field} is {version:?}"))?;
    }
    Ok(())
}

fn features_name_the_hooks(case: &Case) -> Verdict {
    let kinds = [
        "prestart",
        "createRuntime",
        "createContainer",
        "startContainer",
        "poststart",
        "poststop",
    ];
    has_all(&features(case)?["hooks"], &kinds)
}

fn features_name_the_mount_options(case: &Case) -> Verdict {
    let options = [
        "ro", "rw", "bind", "rbind", "nosuid", "nodev", "noexec", "rprivate", "rslave", "rshared",
    ];
    has_all(&features(case)?["mountOptions"], &options)
}

fn features_name_namespaces_and_capabilities(case: &Case) -> Verdict {
    let features = features(case)?;
    has_all(
        &features["linux"]["namespaces"],
        &["cgroup", "ipc", "mount", "network", "pid", "user", "uts"],
    )?;
    has_all(
        &features["linux"]["capabilities"],
        &["CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_NET_RAW"],
    )
}
