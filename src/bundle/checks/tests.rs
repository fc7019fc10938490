//! Each check by name: what it refuses, and where it says so.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::bundle::{example, read};

/// The check, the JSON pointer at which a value is put into the example, the value (null:
/// taken away), and the place that has to be named.
type Case = (&'static str, &'static str, Value, &'static str);

fn cases() -> Vec<Case> {
    [
        of_bundle_and_process(),
        of_mounts_and_hooks(),
        of_namespaces(),
        of_linux(),
        of_resources(),
    ]
    .concat()
}

#[test]
fn words_lead_back_to_the_pointer() {
    for pointer in [
        "/hostname",
        "/mounts/3/destination",
        "/linux/sysctl/net.ipv4~1x",
        "/process/rlimits/0",
    ] {
        let text = format!("{}: is wrong: so", place_in_words(pointer));
        assert_eq!(pointer_of_words(&text).as_deref(), Some(pointer), "{text}");
    }
    for text in ["no place here: x", "", "a", "mounts[3] (/a): x", ".: x"] {
        assert_eq!(pointer_of_words(text), None, "{text}");
    }
}

#[rustfmt::skip]
fn of_bundle_and_process() -> Vec<Case> {
    let without_uts = json!([{"type": "pid"}, {"type": "mount"}]);
    vec![
        ("version-is-there", "/ociVersion", Value::Null, "ociVersion"),
        ("version-is-1", "/ociVersion", json!("2.0.0"), "ociVersion"),
        ("root-is-there", "/root", Value::Null, "root"),
        ("root-is-there", "/root/path", json!(""), "root.path"),
        ("name-in-own-uts-namespace", "/linux/namespaces", without_uts, "hostname"),
        ("name-fits", "/hostname", json!("x".repeat(65)), "hostname"),
        ("mount-context-type-is-known", "/annotations", json!({"run.oci.mount_context_type": "x"}),
         "annotations[\"run.oci.mount_context_type\"]"),
        ("annotation-has-a-key", "/annotations", json!({"": "x"}), "annotations"),
        ("no-nul-byte", "/process/args", json!(["sh", "a\0b"]), "process.args[1]"),
        ("no-nul-byte", "/linux/sysctl", json!({"net.ipv4.x": "\0"}), "linux.sysctl[\"net.ipv4.x\"]"),
        ("process-is-there", "/process", Value::Null, "process"),
        ("args-name-a-program", "/process/args", json!([]), "process.args"),
        ("args-name-a-program", "/process/args", Value::Null, "process.args"),
        ("cwd-is-absolute", "/process/cwd", json!("tmp"), "process.cwd"),
        ("cwd-is-absolute", "/process/cwd", Value::Null, "process.cwd"),
        ("env-has-names", "/process/env", json!(["A=1", "B"]), "process.env[1]"),
        ("env-has-names", "/process/env", json!(["=x"]), "process.env[0]"),
        ("rlimit-is-known", "/process/rlimits/0/type", json!("RLIMIT_JOY"), "process.rlimits[0].type"),
        ("rlimit-once", "/process/rlimits", json!([
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]), "process.rlimits[1].type"),
        ("rlimit-soft-below-hard", "/process/rlimits/0/soft", json!(2000), "process.rlimits[0].soft"),
        ("rlimit-soft-below-hard", "/process/rlimits/0/hard", Value::Null, "process.rlimits[0].hard"),
        ("oom-score-in-range", "/process/oomScoreAdj", json!(1001), "process.oomScoreAdj"),
        ("console-size-in-range", "/process/consoleSize", json!({"height": 25, "width": 70000}),
         "process.consoleSize.width"),
        ("scheduler-is-known", "/process/scheduler", json!({}), "process.scheduler.policy"),
        ("scheduler-is-known", "/process/scheduler", json!({"policy": "SCHED_OTHER", "flags": ["X"]}),
         "process.scheduler.flags[0]"),
        ("scheduler-fields-agree", "/process/scheduler", json!({"policy": "SCHED_OTHER", "priority": 3}),
         "process.scheduler.priority"),
        ("scheduler-fields-agree", "/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 20}),
         "process.scheduler.nice"),
        ("scheduler-fields-agree", "/process/scheduler", json!({"policy": "SCHED_FIFO", "priority": 1,
         "deadline": 5}), "process.scheduler.deadline"),
        ("io-priority-is-known", "/process/ioPriority", json!({"class": "BEST"}), "process.ioPriority.class"),
        ("io-priority-is-known", "/process/ioPriority", json!({"class": "IOPRIO_CLASS_RT", "priority": 8}),
         "process.ioPriority.priority"),
        ("cpu-affinity-is-a-list", "/process/execCPUAffinity", json!({"final": "a"}),
         "process.execCPUAffinity.final"),
    ]
}

#[rustfmt::skip]
fn of_mounts_and_hooks() -> Vec<Case> {
    vec![
        ("mount-has-a-destination", "/mounts/0/destination", Value::Null, "mounts[0].destination"),
        ("mount-has-a-type", "/mounts/1/type", Value::Null, "mounts[1].type"),
        ("bind-mount-has-a-source", "/mounts/1", json!({"destination": "/x", "options": ["rbind"]}),
         "mounts[1].source"),
        ("option-fits-the-mount", "/mounts/0/options", json!(["tmpcopyup"]), "mounts[0].options[0]"),
        ("option-fits-the-mount", "/mounts/0/options", json!(["src-nofollow"]), "mounts[0].options[0]"),
        ("nothing-mounted-in-proc", "/mounts/0/type", json!("tmpfs"), "mounts[0].destination"),
        ("nothing-mounted-in-proc", "/mounts/1/destination", json!("/x/../proc//sys"), "mounts[1].destination"),
        ("mount-maps-uids-and-gids", "/mounts/1/uidMappings",
         json!([{"containerID": 0, "hostID": 1, "size": 1}]), "mounts[1].gidMappings"),
        ("idmap-reads-as-a-map", "/mounts/1/options", json!(["idmap=uids=0-1-1;gids=0-1"]), "mounts[1].options[0]"),
        ("idmap-reads-as-a-map", "/mounts/1/options", json!(["ridmap=uids=0-1-1;gids=0-1-1#0-2-1"]),
         "mounts[1].options[0]"),
        ("idmap-reads-as-a-map", "/mounts/1", json!({"destination": "/x", "source": "/", "type": "bind",
         "options": ["idmap=uids=0-1-1;gids=0-1-1"], "uidMappings": [{"size": 1}], "gidMappings": [{"size": 1}]}),
         "mounts[1].options[0]"),
        ("idmap-has-a-map", "/mounts/1/options", json!(["ro", "idmap"]), "mounts[1].options[1]"),
        ("mount-can-be-id-mapped", "/mounts/0/options", json!(["idmap=uids=0-1-1;gids=0-1-1"]),
         "mounts[0].options[0]"),
        ("mount-can-be-id-mapped", "/mounts/1", json!({"destination": "/x", "options": ["remount"],
         "uidMappings": [{"size": 1}], "gidMappings": [{"size": 1}]}), "mounts[1].uidMappings"),
        ("mounts-in-own-namespace", "/linux/namespaces", json!([{"type": "uts"}]), "mounts"),
        ("hook-path-is-absolute", "/hooks", json!({"poststop": [{"path": "a"}]}), "hooks.poststop[0].path"),
        ("hook-path-is-absolute", "/hooks", json!({"prestart": [{}]}), "hooks.prestart[0].path"),
        ("hook-timeout-is-positive", "/hooks", json!({"createRuntime": [{"path": "/a", "timeout": 0}]}),
         "hooks.createRuntime[0].timeout"),
    ]
}

#[rustfmt::skip]
fn of_namespaces() -> Vec<Case> {
    vec![
        ("namespace-is-known", "/linux/namespaces/0/type", json!("dream"), "linux.namespaces[0].type"),
        ("namespace-once", "/linux/namespaces/1/type", json!("pid"), "linux.namespaces[1].type"),
        ("namespace-path-is-absolute", "/linux/namespaces/1/path", json!("ns/net"), "linux.namespaces[1].path"),
        ("masks-in-own-mount-namespace", "/linux/namespaces", json!([{"type": "uts"}]), "linux.readonlyPaths"),
        ("time-offsets-in-new-namespace", "/linux/timeOffsets", json!({"boottime": {"secs": 1}}),
         "linux.timeOffsets"),
        ("time-offset-is-legal", "/linux/timeOffsets", json!({"realtime": {"secs": 1}}),
         "linux.timeOffsets.realtime"),
        ("time-offset-is-legal", "/linux/timeOffsets", json!({"boottime": {"nanosecs": 1_000_000_000}}),
         "linux.timeOffsets.boottime.nanosecs"),
        ("uids-and-gids-are-mapped", "/linux/gidMappings", json!([{"containerID": 0, "hostID": 1, "size": 1}]),
         "linux.uidMappings"),
        ("id-mapping-is-legal", "/linux/uidMappings", json!([{"containerID": 0, "hostID": 1, "size": 0}]),
         "linux.uidMappings[0].size"),
        ("id-mapping-is-legal", "/linux/uidMappings", json!([{"containerID": 5, "hostID": 1,
         "size": 4_294_967_295_u32}]), "linux.uidMappings[0]"),
        ("id-mappings-do-not-overlap", "/linux/gidMappings", json!([
            {"containerID": 0, "hostID": 1000, "size": 5}, {"containerID": 4, "hostID": 7, "size": 1}]),
         "linux.gidMappings[1]"),
        ("id-mappings-do-not-overlap", "/linux/gidMappings", json!([
            {"containerID": 0, "hostID": 1000, "size": 5}, {"containerID": 5, "hostID": 1004, "size": 1}]),
         "linux.gidMappings[1]"),
    ]
}

#[rustfmt::skip]
fn of_linux() -> Vec<Case> {
    vec![
        ("device-is-legal", "/linux/devices", json!([{"type": "x", "path": "/dev/x", "major": 1, "minor": 1}]),
         "linux.devices[0].type"),
        ("device-is-legal", "/linux/devices", json!([{"type": "p", "path": "dev/x"}]), "linux.devices[0].path"),
        ("device-is-legal", "/linux/devices", json!([{"type": "p", "path": "/x", "fileMode": 0o200_000}]),
         "linux.devices[0].fileMode"),
        ("device-has-numbers", "/linux/devices", json!([{"type": "c", "path": "/x", "major": 4096, "minor": 1}]),
         "linux.devices[0].major"),
        ("device-has-numbers", "/linux/devices", json!([{"type": "b", "path": "/x", "major": 1}]),
         "linux.devices[0].minor"),
        ("paths-are-absolute", "/linux/maskedPaths", json!(["proc/kcore"]), "linux.maskedPaths[0]"),
        ("propagation-is-known", "/linux/rootfsPropagation", json!("public"), "linux.rootfsPropagation"),
        ("personality-is-known", "/linux/personality", json!({"domain": "BSD"}), "linux.personality.domain"),
        ("sysctl-stays-below-proc-sys", "/linux/sysctl", json!({"net.//.kernel.core_pattern": "x"}),
         "linux.sysctl[\"net.//.kernel.core_pattern\"]"),
        ("sysctl-in-own-namespace", "/linux/sysctl", json!({"kernel.core_pattern": "x"}),
         "linux.sysctl[\"kernel.core_pattern\"]"),
        ("sysctl-in-own-namespace", "/linux/sysctl", json!({"kernel.hostname": "x"}),
         "linux.sysctl[\"kernel.hostname\"]"),
        ("sysctl-in-own-namespace", "/linux/sysctl", json!({"user.max_pid_namespaces": "1"}),
         "linux.sysctl[\"user.max_pid_namespaces\"]"),
        ("network-device-has-a-name", "/linux/netDevices", json!({"eth 0": {}}), "linux.netDevices[\"eth 0\"]"),
        ("network-device-has-a-name", "/linux/netDevices", json!({"eth0": {"name": ".."}}),
         "linux.netDevices.eth0.name"),
        ("network-device-has-a-name", "/linux/netDevices", json!({"eth0": {"name": "x%s"}}),
         "linux.netDevices.eth0.name"),
        ("intel-rdt-is-legal", "/linux/intelRdt", json!({"schemata": ["L3:0=f", "L2"]}), "linux.intelRdt.schemata[1]"),
        ("network-device-names-differ", "/linux/netDevices", json!({"eth0": {"name": "x"}, "x": {}}),
         "linux.netDevices.x"),
        ("memory-policy-is-known", "/linux/memoryPolicy", json!({"mode": "MPOL_X"}), "linux.memoryPolicy.mode"),
        ("memory-policy-is-known", "/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "x"}),
         "linux.memoryPolicy.nodes"),
        ("memory-policy-fields-agree", "/linux/memoryPolicy", json!({"mode": "MPOL_LOCAL", "nodes": "0"}),
         "linux.memoryPolicy.nodes"),
        ("memory-policy-fields-agree", "/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0",
         "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]}), "linux.memoryPolicy.flags"),
        ("intel-rdt-is-legal", "/linux/intelRdt", json!({"closID": "a/b"}), "linux.intelRdt.closID"),
    ]
}

#[rustfmt::skip]
fn of_resources() -> Vec<Case> {
    vec![
        ("device-rule-is-legal", "/linux/resources/devices/0/access", json!("rx"),
         "linux.resources.devices[0].access"),
        ("device-rule-is-legal", "/linux/resources/devices/0/type", json!("p"),
         "linux.resources.devices[0].type"),
        ("memory-limits-agree", "/linux/resources/memory", json!({"limit": -2}), "linux.resources.memory.limit"),
        ("memory-limits-agree", "/linux/resources/memory", json!({"limit": 200, "swap": 100}),
         "linux.resources.memory.swap"),
        ("cpu-limits-agree", "/linux/resources/cpu", json!({"quota": 5, "burst": 6}), "linux.resources.cpu.burst"),
        ("cpu-limits-agree", "/linux/resources/cpu", json!({"idle": 2}), "linux.resources.cpu.idle"),
        ("cpuset-is-a-list", "/linux/resources/cpu", json!({"cpus": "all"}), "linux.resources.cpu.cpus"),
        ("block-weight-is-legal", "/linux/resources/blockIO", json!({"weight": 5}),
         "linux.resources.blockIO.weight"),
        ("hugepage-limit-is-legal", "/linux/resources/hugepageLimits", json!([{"pageSize": "2M", "limit": 1}]),
         "linux.resources.hugepageLimits[0].pageSize"),
        ("rdma-limit-is-there", "/linux/resources/rdma", json!({"mlx5_1": {}}), "linux.resources.rdma.mlx5_1"),
        ("unified-names-a-file", "/linux/resources/unified", json!({"../x.y": "1"}),
         "linux.resources.unified[\"../x.y\"]"),
    ]
}

/// Puts `value` at `pointer`; null takes away what is there.
fn put(config: &mut Value, pointer: &str, value: Value) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = match config.pointer_mut(parent) {
        Some(parent) if !parent.is_null() => parent,
        _ => {
            put(config, parent, json!({}));
            config.pointer_mut(parent).unwrap()
        }
    };
    match (parent, value) {
        (Value::Object(fields), Value::Null) => {
            fields.remove(name);
        }
        (Value::Object(fields), value) => {
            fields.insert(name.to_owned(), value);
        }
        (Value::Array(items), value) => items[name.parse::<usize>().unwrap()] = value,
        (other, _) => panic!("{other} at {pointer}"),
    }
}

fn violations(config: &Value) -> Vec<Violation> {
    let source = config.to_string().into_bytes();
    check_all(&read::parse(&source).unwrap(), &source).violations
}

#[test]
fn each_check_refuses_what_it_is_there_for_and_names_the_place() {
    for (check, pointer, value, place) in cases() {
        let mut config: Value = serde_json::from_str(&example(false)).unwrap();
        put(&mut config, pointer, value.clone());
        let found = violations(&config);
        assert!(
            found
                .iter()
                .any(|v| v.check == check && place_in_words(&v.pointer) == place),
            "{check}: {pointer} = {value}: {found:?}"
        );
    }
}

#[test]
fn every_check_is_tested_and_has_a_name_of_its_own() {
    let tested: BTreeSet<&str> = cases().iter().map(|case| case.0).collect();
    let names: Vec<&str> = table().map(|check| check.name).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    assert_eq!(names.into_iter().collect::<BTreeSet<_>>(), tested);
}

/// `UPDATE_GOLDEN=1` writes the document anew.
#[test]
fn the_documented_list_of_checks_is_this_table() {
    let mut text = String::from(
        "# What is checked in config.json\n\n\
         Every rule that can be checked without the kernel, before anything is made; all that is\n\
         broken is said in one error. Generated from `src/bundle/checks` by its tests.\n\n\
         | rule | place | from |\n|---|---|---|\n",
    );
    for check in table() {
        let Check {
            name,
            clause,
            pointer,
            ..
        } = check;
        text.push_str(&format!("| {name} | `{pointer}` | {clause} |\n"));
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/checks.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), text);
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let mut bad: Value = serde_json::from_str(&example(false)).unwrap();
    put(&mut bad, "/process/cwd", json!("x"));
    put(&mut bad, "/mounts/3/destination", Value::Null);
    let source = bad.to_string().into_bytes();
    let error = config(&read::parse(&source).unwrap(), &source).unwrap_err();
    assert_eq!(
        error.to_string(),
        "process.cwd: \"x\" must be an absolute path; mounts[3].destination: is missing"
    );
    assert_eq!(error.pointer(), Some("/process/cwd"));
}

#[test]
fn a_process_file_is_checked_with_its_own_places() {
    let source = br#"{"args": [], "cwd": "/", "env": ["\u0000"]}"#;
    let error = process(&read::parse(source).unwrap(), source).unwrap_err();
    assert!(error.to_string().contains("args: must name a program"));
    assert!(
        error
            .to_string()
            .contains("env[0]: must not hold a NUL byte")
    );
}

#[test]
fn what_engines_send_and_the_specification_tolerates_is_no_violation() {
    for (pointer, value) in [
        ("/ociVersion", json!("1.2.1")),
        ("/ociVersion", json!("1.99.0-rc.1+dev")),
        ("/linux/namespaces/0", json!({"type": "time"})),
        ("/linux/namespaces/0/path", json!("")),
        ("/process/capabilities/bounding", json!(["CAP_OF_TOMORROW"])),
        ("/annotations", json!({"run.oci.unknown": "1"})),
        ("/annotations", json!({"a": "\0"})),
        ("/futureField", json!({"x": [1]})),
        ("/mounts/1/destination", json!("dev")),
        ("/mounts/0/options", json!([""])),
        ("/process/env", Value::Null),
        (
            "/linux/devices",
            json!([{"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229,
                                   "fileMode": 0o020_666}]),
        ),
        ("/linux/resources/devices/0/major", json!(-1)),
        ("/linux/resources/pids", json!({})),
        (
            "/linux/sysctl",
            json!({"net.ipv4.ip_unprivileged_port_start": "0", "kernel.shmmax": "1",
                                 "net/ipv4/conf/eth0.1/forwarding": "1"}),
        ),
        ("/hooks", json!({"prestart": null})),
        ("/windows", json!({"layerFolders": []})),
    ] {
        let mut config: Value = serde_json::from_str(&example(false)).unwrap();
        put(&mut config, pointer, value.clone());
        assert_eq!(violations(&config), [], "{pointer} = {value}");
    }
}

#[test]
fn a_place_in_words_is_the_pointer_without_riddles() {
    for (pointer, words) in [
        ("/mounts/3/destination", "mounts[3].destination"),
        ("/linux/sysctl/net.core~1x", "linux.sysctl[\"net.core/x\"]"),
        ("", ""),
    ] {
        assert_eq!(place_in_words(pointer), words);
    }
}
