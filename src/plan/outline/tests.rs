//! The outline of whole plans.

use serde_json::{Value, json};

use super::tree::Node;
use super::{json as plan_json, text};
use crate::bundle::{example, example_for};
use crate::host::Host;
use crate::plan::golden::{self, compare_text, config, podman, root, user};
use crate::plan::{CreateOptions, Plan};

fn planned(config: String, host: &Host) -> Plan {
    golden::plan(config, CreateOptions::default(), host)
}

#[test]
fn a_users_first_container() {
    let plan = planned(example_for(1000, 1000), &user());
    compare_text("spec-rootless.outline", &text(&plan).unwrap());
}

#[test]
fn a_container_of_podmans() {
    let plan = planned(config("podman-rootless"), &podman());
    compare_text("podman-rootless.outline", &text(&plan).unwrap());
}

/// Limits, device rules, offsets of time, a unit of systemd.
#[test]
fn a_container_of_containerds() {
    compare_text("unit.outline", &text(&golden::unit()).unwrap());
}

/// A plan with something in each field that a golden file leaves empty.
fn full() -> Plan {
    let mut config: Value = serde_json::from_str(&example(false)).unwrap();
    let hook =
        json!([{"path": "/bin/hook", "args": ["hook", "two words"], "env": ["A=1"], "timeout": 5}]);
    config["hooks"] = json!({
        "prestart": hook, "createRuntime": hook, "createContainer": [{"path": "/bin/hook"}],
        "startContainer": hook, "poststart": hook, "poststop": hook,
    });
    config["annotations"] = json!({
        "run.oci.hooks.stdout": "/log/out", "run.oci.hooks.stderr": "/log/err",
        "run.oci.pidfd_receiver": "/run/pidfd",
    });
    config["domainname"] = json!("example.org");
    let process = &mut config["process"];
    process["terminal"] = json!(true);
    process["consoleSize"] = json!({"width": 80, "height": 24});
    process["user"]["additionalGids"] = json!([5, 6]);
    process["oomScoreAdj"] = json!(-5);
    process["scheduler"] =
        json!({"policy": "SCHED_BATCH", "nice": 3, "flags": ["SCHED_FLAG_RESET_ON_FORK"]});
    process["ioPriority"] = json!({"class": "IOPRIO_CLASS_BE", "priority": 4});
    process["execCPUAffinity"] = json!({"initial": "0-1", "final": "2"});
    process["apparmorProfile"] = json!("profile");
    process["selinuxLabel"] = json!("a:b:c:s0");
    process["rlimits"] = json!([{"type": "RLIMIT_CORE", "soft": 0, "hard": u64::MAX}]);
    process["capabilities"]["inheritable"] = json!(["CAP_KILL"]);
    process["capabilities"]["ambient"] = json!(["CAP_KILL"]);
    let linux = &mut config["linux"];
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
    linux["namespaces"] = json!([
        {"type": "user"}, {"type": "mount"}, {"type": "time"}, {"type": "uts"}, {"type": "pid"},
        {"type": "cgroup"}, {"type": "network", "path": "/run/netns/web"}, {"type": "ipc"},
    ]);
    linux["uidMappings"] = map.clone();
    linux["gidMappings"] = map.clone();
    linux["timeOffsets"] = json!({"boottime": {"secs": -7, "nanosecs": 8}});
    linux["personality"] = json!({"domain": "LINUX32"});
    linux["memoryPolicy"] =
        json!({"mode": "MPOL_BIND", "nodes": "0,2", "flags": ["MPOL_F_STATIC_NODES"]});
    linux["mountLabel"] = json!("a:b:c:s0");
    linux["rootfsPropagation"] = json!("shared");
    linux["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
    linux["netDevices"] = json!({"eth1": {"name": "net0"}});
    linux["intelRdt"] = json!({"closID": "gold", "schemata": ["L3:0=f"], "enableMonitoring": true});
    linux["devices"] = json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]);
    linux["resources"] = json!({
        "devices": [{"allow": true, "type": "b", "major": 8, "access": "r"}],
        "pids": {"limit": 7}, "hugepageLimits": [{"pageSize": "2MB", "limit": 4096}],
        "memory": {"limit": 1 << 20},
    });
    linux["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent", "listenerMetadata": "m",
        "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}],
    });
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.push(json!({
        "destination": "/data", "source": "/srv/data", "options": [
            "rbind", "rro", "rslave", "idmap", "src-nofollow", "dest-nofollow", "copy-symlink",
        ],
    }));
    mounts
        .push(json!({"destination": "t", "type": "tmpfs", "options": ["sync", "tmpcopyup", "rw"]}));
    mounts.push(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["rw"]}));
    planned(config.to_string(), &root())
}

/// Keys that are said otherwise: by the value alone, by words for a place, as `major:minor`.
const SPOKEN: &[&str] = &[
    "pointer", "how", "type", "flag", "access", "value", "major", "minor",
];

/// Whether `text` tells of every field in `node` that has something to say, and of its value.
fn assert_told(text: &str, node: &Node, is_item: bool) {
    match node {
        Node::Object(fields) => {
            let subject = fields
                .iter()
                .position(|(key, _)| is_item && key != "pointer");
            for (n, (key, value)) in fields.iter().enumerate() {
                let is_silent = is_item && (value.is_empty() || *value == Node::Bool(false));
                let is_spoken = Some(n) == subject || SPOKEN.contains(&key.as_str());
                assert!(
                    is_silent || is_spoken || text.contains(key.as_str()),
                    "{key} is not told: {value:?}\n{text}"
                );
                if key != "pointer" {
                    assert_told(text, value, is_item);
                }
            }
        }
        Node::List(items) => items.iter().for_each(|item| assert_told(text, item, true)),
        Node::Text(value) | Node::Number(value) => {
            assert!(text.contains(value), "{value} is not told\n{text}");
        }
        Node::Bool(_) | Node::Null => {}
    }
}

#[test]
fn everything_in_the_plan_is_in_the_text() {
    for plan in [
        planned(example(false), &root()),
        planned(example_for(1000, 1000), &user()),
        planned(config("podman-rootless"), &podman()),
        golden::unit(),
        full(),
    ] {
        let tree: Node = serde_json::from_str(&plan_json(&plan).unwrap()).unwrap();
        assert_told(&text(&plan).unwrap(), &tree, false);
    }
}

#[test]
fn every_field_has_its_place_in_the_order() {
    let text = text(&full()).unwrap();
    let last = text.lines().rfind(|line| !line.starts_with(' '));
    assert_ne!(last, Some(super::REST), "{text}");
    let gaps = text
        .lines()
        .filter(|line| line.trim_start().starts_with(super::text::NONE));
    let gaps: Vec<&str> = gaps.collect();
    assert!(
        gaps.is_empty(),
        "this plan is to have something of everything: {gaps:?}"
    );
}

#[test]
fn every_mount_has_its_place_in_config_json_and_its_words() {
    let text = text(&full()).unwrap();
    let line = |place: &str| {
        let line = text.lines().find(|line| line.contains(place));
        line.unwrap_or_else(|| panic!("{place}: {text}")).to_owned()
    };
    assert!(line("mounts[7]").contains("/data"), "{text}");
    assert!(
        line("mounts[7]").contains("bind, source /srv/data"),
        "{text}"
    );
    assert!(line("linux.devices[0]").contains("c 10:229"), "{text}");
    assert!(
        line("linux.resources.pids.limit").contains("pids.max"),
        "{text}"
    );
}

#[test]
fn what_config_json_holds_does_nothing_to_a_terminal() {
    let mut config: Value = serde_json::from_str(&example(false)).unwrap();
    config["process"]["args"] = json!(["sh", "-c", "echo \u{1b}[2J\nlast"]);
    config["annotations"] = json!({"a\u{1b}[2J": "b\nc"});
    let plan = planned(config.to_string(), &root());
    let text = text(&plan).unwrap();
    assert!(!text.contains('\u{1b}'), "{text}");
    assert!(text.contains(r"\u{1b}[2J\nlast"), "{text}");
    assert!(text.contains(r"b\nc"), "{text}");
}
