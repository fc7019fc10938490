//! What check finds, and what run does with the same bundle

use std::path::Path;

use serde_json::json;

use super::check;
use crate::harness::bundle::Bundle;
use crate::harness::case::Case;
use crate::harness::verdict::{Verdict, holds};
use crate::tests;

tests! {
    "rt-check(1)" Compat check_and_run_agree;
    "rt-check(1)" Compat check_and_run_agree_on_what_the_host_lacks;
}

pub fn duplicate_rlimit(bundle: &mut Bundle) {
    let limit = json!({"type": "RLIMIT_NOFILE", "soft": 64, "hard": 64});
    bundle.process()["rlimits"] = json!([limit, limit]);
}

pub fn missing_source(bundle: &mut Bundle) {
    bundle.bind(Path::new("/nowhere/at/all"), "/mnt", &[]);
}

pub fn unknown_namespace(bundle: &mut Bundle) {
    bundle.join_namespace("ipc", "/nowhere/at/all");
}

pub fn relative_cwd(bundle: &mut Bundle) {
    bundle.process()["cwd"] = json!("tmp");
}

pub fn missing_root(bundle: &mut Bundle) {
    bundle.config["root"]["path"] = json!("nowhere");
}

pub fn unmapped_mount_option(bundle: &mut Bundle) {
    bundle.namespace("user");
    let map = json!([{"containerID": 0, "hostID": nix::unistd::geteuid().as_raw(), "size": 1}]);
    bundle.linux()["uidMappings"] = map;
    bundle.linux()["gidMappings"] =
        json!([{"containerID": 0, "hostID": nix::unistd::getegid().as_raw(), "size": 1}]);
    bundle.mount(json!({"destination": "/mnt", "type": "tmpfs", "options": ["uid=7"]}));
}

type Change = fn(&mut Bundle);

/// What check calls an error fails, in the same words, and what it does not starts.
fn agree(case: &Case, table: &[(&str, Change)]) -> Verdict {
    for (number, (what, change)) in table.iter().enumerate() {
        let mut bundle = case.bundle_named(&format!("bundle{number}"))?;
        bundle.args(&["/bin/probe", "exit", "17"]);
        change(&mut bundle);
        let found = check(case, &bundle)?;
        let outcome = case.run_call(&bundle)?.run()?;
        let errors = found.errors();
        let agree = match outcome.status {
            17 => errors.is_empty() && found.status == 0,
            _ => {
                found.status == 1
                    && errors.first().is_some_and(|first| {
                        // The cgroup of a container without a name of its own.
                        let first = first.replace("rt-check", &case.id);
                        outcome.stderr.contains(&first)
                    })
            }
        };
        holds(
            agree,
            format!("{what}: check finds {errors:?}, but {}", outcome.told()),
        )?;
    }
    Ok(())
}

fn check_and_run_agree(case: &Case) -> Verdict {
    let table: [(&str, Change); 23] = [
        ("nothing", |_| ()),
        ("duplicate rlimit", duplicate_rlimit),
        ("missing source", missing_source),
        ("unknown namespace", unknown_namespace),
        ("relative cwd", relative_cwd),
        ("missing root", missing_root),
        ("unmapped option", unmapped_mount_option),
        ("read-only bind of /etc", |bundle| {
            bundle.bind(Path::new("/etc"), "/mnt", &["ro"]);
        }),
        ("SYS_TIME", |bundle| {
            bundle.capabilities(&["CAP_SYS_TIME"]);
        }),
        ("missing program", |bundle| {
            bundle.args(&["nowhere"]);
        }),
        ("folder as program", |bundle| {
            bundle.args(&["/bin"]);
        }),
        ("script without interpreter", |bundle| {
            let _ = bundle.file_with_mode("/bin/script", "#!/bin/nowhere\n", 0o755);
            bundle.args(&["script"]);
        }),
        ("program without execute right", |bundle| {
            let _ = bundle.file_with_mode("/bin/plain", "#!/bin/probe\n", 0o644);
            bundle.args(&["/bin/plain"]);
        }),
        ("program in a mount", |bundle| {
            bundle.bind(&bundle.inside("/bin"), "/mnt", &["ro"]);
            bundle.args(&["/mnt/probe", "exit", "17"]);
        }),
        ("too many files", |bundle| {
            bundle.process()["rlimits"] =
                json!([{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 1_u64 << 40}]);
        }),
        ("limit of memory", |bundle| {
            bundle.linux()["resources"] = json!({"memory": {"limit": 1 << 28}});
        }),
        ("limits of processes and processors", |bundle| {
            bundle.linux()["resources"] = json!({"pids": {"limit": 100}, "cpu": {"shares": 512}});
        }),
        ("working directory that is a file", |bundle| {
            bundle.process()["cwd"] = json!("/bin/probe");
        }),
        ("working directory below a file", |bundle| {
            bundle.process()["cwd"] = json!("/bin/probe/below");
        }),
        ("working directory that is not there", |bundle| {
            bundle.process()["cwd"] = json!("/no/such/folder");
        }),
        ("working directory behind a link to a mount", |bundle| {
            let _ = bundle.symlink("/dev/shm", "/memory");
            bundle.process()["cwd"] = json!("/memory");
        }),
        ("user outside of the map", |bundle| {
            unmapped_mount_option(bundle);
            bundle.config["mounts"].as_array_mut().and_then(Vec::pop);
            bundle.process()["user"]["uid"] = json!(7);
        }),
        ("group outside of the map", |bundle| {
            unmapped_mount_option(bundle);
            bundle.config["mounts"].as_array_mut().and_then(Vec::pop);
            bundle.process()["user"]["additionalGids"] = json!([7]);
        }),
    ];
    agree(case, &table)
}

fn check_and_run_agree_on_what_the_host_lacks(case: &Case) -> Verdict {
    let table: [(&str, Change); 15] = [
        ("device that the host has not", |bundle| {
            bundle.linux()["devices"] =
                json!([{"path": "/dev/nowhere", "type": "c", "major": 1, "minor": 3}]);
        }),
        ("missing hook", |bundle| {
            bundle.hook("createRuntime", json!({"path": "/nowhere/hook"}));
        }),
        ("SELinux label", |bundle| {
            bundle.process()["selinuxLabel"] = json!("system_u:system_r:nowhere_t:s0");
        }),
        ("hook that is a folder", |bundle| {
            bundle.hook("createContainer", json!({"path": "/etc"}));
        }),
        ("hook without execute right", |bundle| {
            let path = bundle
                .file_with_mode("/hook", "", 0o644)
                .unwrap_or_default();
            bundle.hook("prestart", json!({"path": path}));
        }),
        ("source that a hook makes", |bundle| {
            let source = bundle.dir.join("made");
            bundle.hook(
                "createRuntime",
                json!({"path": "/bin/mkdir", "args": ["mkdir", source]}),
            );
            bundle.bind(&source, "/mnt", &[]);
        }),
        ("AppArmor profile", |bundle| {
            bundle.process()["apparmorProfile"] = json!("spec-tests-nowhere");
        }),
        ("sysctl of the container's own", |bundle| {
            bundle.namespace("network");
            bundle.linux()["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
        }),
        ("sysctl that no kernel has", |bundle| {
            bundle.namespace("network");
            bundle.linux()["sysctl"] = json!({"net.ipv4.ip_forwards": "1"});
        }),
        ("sysctl of the host's network", |bundle| {
            bundle.without_namespace("network");
            bundle.linux()["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
        }),
        ("sysctl of the whole kernel", |bundle| {
            bundle.linux()["sysctl"] = json!({"vm.swappiness": "1"});
        }),
        ("network device that is not there", |bundle| {
            bundle.namespace("network");
            bundle.linux()["netDevices"] = json!({"stnowhere0": {}});
        }),
        ("network device for the host's network", |bundle| {
            bundle.without_namespace("network");
            bundle.linux()["netDevices"] = json!({"lo": {}});
        }),
        ("agent that is not there", |bundle| {
            asks_agent(bundle, Path::new("/nowhere/agent"));
        }),
        ("agent's socket that is a file", |bundle| {
            let path = bundle.file("/agent", "").unwrap_or_default();
            asks_agent(bundle, &path);
        }),
    ];
    agree(case, &table)
}

/// An agent answers for the payload's chdir(2).
fn asks_agent(bundle: &mut Bundle, path: &Path) {
    bundle.process()["noNewPrivileges"] = json!(true);
    bundle.linux()["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": path,
        "syscalls": [{"names": ["chdir"], "action": "SCMP_ACT_NOTIFY"}],
    });
}
