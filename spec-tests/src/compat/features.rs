//! features.md: what the runtime says of itself

use serde_json::{Value, json};

use crate::harness::case::Case;
use crate::harness::container::mount_at;
use crate::harness::verdict::{Doing, Verdict, fail, holds, skip};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "features.md#specification-version" Should features_name_the_versions;
    "features.md#hooks" Should features_name_the_hooks;
    "features.md#mount-options" Should features_name_the_mount_options;
    "features-linux.md#namespaces" Should features_name_namespaces_and_capabilities;
    "features.md" Should features_have_the_shape_of_the_specification;
    "features-linux.md#seccomp" Must seccomp_flags_that_are_supported_are_known_ones;
    "features.md#mount-options" Must recursive_options_that_are_named_work;
    "features-linux.md#namespaces" Must namespaces_that_are_named_can_be_made;
    "features-linux.md#seccomp" Must actions_that_are_named_are_accepted;
    "moby" Compat the_time_namespace_of_dockers_default_spec_works;
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

/// What stands where, by the specification's 1.3: a string, a list of strings, a boolean, or a
/// map of strings. Everything but the versions may be absent or null.
const SHAPE: &[(&str, char)] = &[
    ("/ociVersionMin", 's'),
    ("/ociVersionMax", 's'),
    ("/hooks", 'l'),
    ("/mountOptions", 'l'),
    ("/annotations", 'm'),
    ("/potentiallyUnsafeConfigAnnotations", 'l'),
    ("/linux/namespaces", 'l'),
    ("/linux/capabilities", 'l'),
    ("/linux/cgroup/v1", 'b'),
    ("/linux/cgroup/v2", 'b'),
    ("/linux/cgroup/systemd", 'b'),
    ("/linux/cgroup/systemdUser", 'b'),
    ("/linux/cgroup/rdma", 'b'),
    ("/linux/seccomp/enabled", 'b'),
    ("/linux/seccomp/actions", 'l'),
    ("/linux/seccomp/operators", 'l'),
    ("/linux/seccomp/archs", 'l'),
    ("/linux/seccomp/knownFlags", 'l'),
    ("/linux/seccomp/supportedFlags", 'l'),
    ("/linux/apparmor/enabled", 'b'),
    ("/linux/selinux/enabled", 'b'),
    ("/linux/intelRdt/enabled", 'b'),
    ("/linux/intelRdt/schemata", 'b'),
    ("/linux/intelRdt/monitoring", 'b'),
    ("/linux/memoryPolicy/modes", 'l'),
    ("/linux/memoryPolicy/flags", 'l'),
    ("/linux/mountExtensions/idmap/enabled", 'b'),
    ("/linux/netDevices/enabled", 'b'),
];

fn has_shape(value: &Value, shape: char) -> bool {
    let strings = |list: &Vec<Value>| list.iter().all(Value::is_string);
    match shape {
        's' => value.is_string(),
        'b' => value.is_boolean(),
        'l' => value.as_array().is_some_and(strings),
        _ => value
            .as_object()
            .is_some_and(|map| map.values().all(Value::is_string)),
    }
}

/// Every pointer below `value` that is no object of the specification's.
fn leaves(value: &Value, pointer: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) if pointer != "/annotations" => {
            for (name, field) in fields {
                leaves(field, &format!("{pointer}/{name}"), found);
            }
        }
        Value::Null => {}
        _ => found.push(pointer.to_owned()),
    }
}

fn features_have_the_shape_of_the_specification(case: &Case) -> Verdict {
    let features = features(case)?;
    let mut found = Vec::new();
    leaves(&features, "", &mut found);
    for pointer in &found {
        let row = SHAPE.iter().find(|(known, _)| known == pointer);
        let Some((_, shape)) = row else {
            return fail(format!("{pointer} is no field of the specification"));
        };
        let value = features.pointer(pointer).unwrap_or(&Value::Null);
        holds(has_shape(value, *shape), format!("{pointer} is {value}"))?;
    }
    Ok(())
}

fn names<'a>(features: &'a Value, pointer: &str) -> Vec<&'a str> {
    let list = features.pointer(pointer).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

fn seccomp_flags_that_are_supported_are_known_ones(case: &Case) -> Verdict {
    let features = features(case)?;
    let known = names(&features, "/linux/seccomp/knownFlags");
    for flag in names(&features, "/linux/seccomp/supportedFlags") {
        holds(known.contains(&flag), format!("{flag} is not in {known:?}"))?;
    }
    Ok(())
}

/// What containerd and cri-o offer pods by the name of recursive read-only mounts, and its
/// relatives.
fn recursive_options_that_are_named_work(case: &Case) -> Verdict {
    let features = features(case)?;
    let mut known = vec!["rro", "rnosuid", "rnodev", "rnoexec", "rnosymfollow"];
    if case.is_root() {
        // The kernel keeps an ordinary user from changing how the host's mounts note times.
        known.extend(["rnoatime", "rnodiratime"]);
    }
    let mut options = names(&features, "/mountOptions");
    options.retain(|name| known.contains(name));
    if options.is_empty() {
        return skip("it names no recursive option");
    }
    let mut bundle = case.bundle()?;
    let folder = case.dir.join("folder");
    std::fs::create_dir(&folder)?;
    let options = [&["rbind"], options.as_slice()].concat();
    bundle.bind(&folder, "/mnt", &options);
    let answer = case.run_one(&mut bundle, Ask::Mounts)?;
    let mount = mount_at(answer.mounts()?, "/mnt")?;
    let flags = &mount.flags;
    holds(
        flags.iter().any(|flag| flag == "ro"),
        format!("options {options:?} made {flags:?}"),
    )
}

fn namespaces_that_are_named_can_be_made(case: &Case) -> Verdict {
    let features = features(case)?;
    for name in names(&features, "/linux/namespaces") {
        // Of the kernel alone it depends whether there are time namespaces.
        let is_there = match name {
            "time" => std::path::Path::new("/proc/self/ns/time").exists(),
            _ => name != "user" || !case.is_root(),
        };
        if !is_there {
            continue;
        }
        let mut bundle = case.bundle_named(name)?;
        let listed = bundle.linux()["namespaces"].to_string();
        if !listed.contains(&format!("\"{name}\"")) {
            bundle.namespace(name);
        }
        bundle.args(&["/bin/probe", "exit", "0"]);
        case.run_call(&bundle)?.run()?.succeeded()?;
    }
    Ok(())
}

fn actions_that_are_named_are_accepted(case: &Case) -> Verdict {
    let features = features(case)?;
    let actions = names(&features, "/linux/seccomp/actions");
    // A listener has to be there for the one.
    for action in actions.iter().filter(|name| **name != "SCMP_ACT_NOTIFY") {
        let mut bundle = case.bundle_named(action)?;
        bundle.linux()["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["swapoff"], "action": action }],
        });
        bundle.args(&["/bin/probe", "exit", "0"]);
        case.run_call(&bundle)?.run()?.succeeded()?;
    }
    Ok(())
}

/// docker 29.5 and newer ask for one without offsets, in every container.
fn the_time_namespace_of_dockers_default_spec_works(case: &Case) -> Verdict {
    if !std::path::Path::new("/proc/self/ns/time").exists() {
        return skip("this kernel has no time namespaces");
    }
    let mut bundle = case.bundle()?;
    let list = bundle.linux()["namespaces"].as_array_mut();
    list.into_iter()
        .for_each(|list| list.push(json!({ "type": "time" })));
    let own = std::fs::read_link("/proc/self/ns/time")?;
    let process = case.run_process(&mut bundle)?;
    let inside = process.namespaces.get("time").cloned().unwrap_or_default();
    holds(
        !inside.is_empty() && inside != own.to_string_lossy(),
        format!("the payload's time namespace is {inside:?}, the caller's {own:?}"),
    )
}
