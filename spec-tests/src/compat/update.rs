//! update: other limits for a container that is there

use serde_json::{Value, json};

use crate::harness::call::Outcome;
use crate::harness::case::Case;
use crate::harness::cgroup::Cgroup;
use crate::harness::container::Container;
use crate::harness::verdict::{Verdict, equal};
use crate::tests;

tests! {
    "runc-update(8)" Compat update_takes_memory_flags_with_units;
    "runc-update(8)" Compat update_takes_cpu_flags;
    "runc-update(8)" Compat update_takes_cpusets;
    "runc-update(8)" Compat update_takes_a_pids_limit_and_its_end;
    "runc-update(8)" Compat update_reads_resources_from_standard_input;
    "runc-update(8)" Compat update_reads_resources_from_a_file;
    "runc-update(8)" Compat update_of_one_cpu_value_leaves_the_other;
    "runc-update(8)" Compat update_leaves_what_it_is_not_asked_for;
    "runc-update(8)" Compat update_changes_unified_values;
    "runc-update(8)" Compat update_of_a_created_container_works;
    "runc-update(8)" Compat an_update_with_one_bad_value_changes_nothing;
    "runc-update(8)" Compat update_that_is_below_what_is_used_can_be_refused;
    "runc-update(8)" Compat update_of_a_stopped_container_is_an_error;
    "runc-update(8)" Compat update_with_no_json_is_an_error;
    "runc-update(8)" Compat update_keeps_the_device_rules;
}

const MIB: u64 = 1 << 20;

/// A running container with these resources, where these controllers are.
fn with<'a>(case: &'a Case, needs: &[&str], resources: &Value) -> Verdict<(Container<'a>, Cgroup)> {
    let mut place = case.need_cgroups()?;
    for controller in needs {
        place = case.need_controller(controller)?;
    }
    let mut bundle = case.limited(&place, "update", resources)?;
    let container = case.started(&mut bundle)?;
    let cgroup = container.cgroup()?;
    Ok((container, cgroup))
}

/// The flags are taken, and then the files read so.
fn flags(case: &Case, cgroup: &Cgroup, flags: &[&str], files: &[(&str, &str)]) -> Verdict {
    let call = case.runtime(["update"]).args(flags).arg(&case.id);
    call.run()?.succeeded()?;
    cgroup.holds(files)
}

fn from_input(case: &Case, resources: &str) -> Verdict<Outcome> {
    let call = case.runtime(["update", "--resources", "-", &case.id]);
    call.input(resources)?.run()
}

fn update_takes_memory_flags_with_units(case: &Case) -> Verdict {
    let resources = json!({"memory": {"limit": 32 * MIB}});
    let (_container, cgroup) = with(case, &["memory"], &resources)?;
    let bytes = &[("memory.max", "67108864")];
    flags(case, &cgroup, &["--memory", "67108864"], bytes)?;
    let with_unit = &[("memory.max", "83886080")];
    flags(case, &cgroup, &["--memory=80m"], with_unit)?;
    let low = &[("memory.low", "8388608"), ("memory.max", "83886080")];
    flags(case, &cgroup, &["--memory-reservation", "8M"], low)
}

fn update_takes_cpu_flags(case: &Case) -> Verdict {
    let (_container, cgroup) = with(case, &["cpu"], &json!({"cpu": {"shares": 512}}))?;
    let quota = ["--cpu-period", "50000", "--cpu-quota", "25000"];
    flags(case, &cgroup, &quota, &[("cpu.max", "25000 50000")])?;
    let most = ["--cpu-share", "262144"];
    flags(case, &cgroup, &most, &[("cpu.weight", "10000")])
}

fn update_takes_cpusets(case: &Case) -> Verdict {
    let resources = json!({"cpu": {"cpus": "0"}});
    let (_container, cgroup) = with(case, &["cpuset"], &resources)?;
    let sets = ["--cpuset-cpus", "0", "--cpuset-mems", "0"];
    let files = &[("cpuset.cpus", "0"), ("cpuset.mems", "0")];
    flags(case, &cgroup, &sets, files)
}

fn update_takes_a_pids_limit_and_its_end(case: &Case) -> Verdict {
    let (_container, cgroup) = with(case, &["pids"], &json!({"pids": {"limit": 30}}))?;
    let limit = ["--pids-limit", "21"];
    flags(case, &cgroup, &limit, &[("pids.max", "21")])?;
    let none = ["--pids-limit", "-1"];
    flags(case, &cgroup, &none, &[("pids.max", "max")])
}

/// As containerd's shim and cri-o call it.
fn update_reads_resources_from_standard_input(case: &Case) -> Verdict {
    let resources = json!({"pids": {"limit": 30}, "memory": {"limit": 32 * MIB}});
    let (container, cgroup) = with(case, &["pids", "memory"], &resources)?;
    let text = json!({"memory": {"limit": 64 * MIB}, "pids": {"limit": 22}}).to_string();
    from_input(case, &text)?.succeeded()?;
    cgroup.holds(&[("memory.max", "67108864"), ("pids.max", "22")])?;
    let text = json!({"pids": {"limit": 23}}).to_string();
    let call = case.runtime(["update", "--resources=-", &container.id]);
    call.input(&text)?.run()?.succeeded()?;
    cgroup.holds(&[("pids.max", "23")])
}

/// As podman calls it.
fn update_reads_resources_from_a_file(case: &Case) -> Verdict {
    let (container, cgroup) = with(case, &["pids"], &json!({"pids": {"limit": 30}}))?;
    let file = case.file("resources.json", r#"{"pids": {"limit": 24}}"#)?;
    let option = format!("--resources={}", file.display());
    let call = case.runtime(["update", &option, &container.id]);
    call.run()?.succeeded()?;
    cgroup.holds(&[("pids.max", "24")])
}

fn update_of_one_cpu_value_leaves_the_other(case: &Case) -> Verdict {
    let resources = json!({"cpu": {"quota": 30_000, "period": 60_000}});
    let (_container, cgroup) = with(case, &["cpu"], &resources)?;
    let quota = ["--cpu-quota", "12000"];
    flags(case, &cgroup, &quota, &[("cpu.max", "12000 60000")])?;
    let period = ["--cpu-period", "40000"];
    flags(case, &cgroup, &period, &[("cpu.max", "12000 40000")])
}

fn update_leaves_what_it_is_not_asked_for(case: &Case) -> Verdict {
    let resources =
        json!({"memory": {"limit": 64 * MIB, "reservation": 16 * MIB}, "pids": {"limit": 30}});
    let (_container, cgroup) = with(case, &["pids", "memory"], &resources)?;
    let others = [
        ("pids.max", "25"),
        ("memory.max", "67108864"),
        ("memory.low", "16777216"),
    ];
    flags(case, &cgroup, &["--pids-limit", "25"], &others)
}

fn update_changes_unified_values(case: &Case) -> Verdict {
    let resources = json!({"memory": {"limit": 64 * MIB}});
    let (_container, cgroup) = with(case, &["memory"], &resources)?;
    let text = json!({"unified": {"memory.high": "50331648"}}).to_string();
    from_input(case, &text)?.succeeded()?;
    cgroup.holds(&[("memory.high", "50331648")])
}

/// As the kubelet's static CPU manager does.
fn update_of_a_created_container_works(case: &Case) -> Verdict {
    let place = case.need_controller("pids")?;
    let mut bundle = case.limited(&place, "update", &json!({"pids": {"limit": 30}}))?;
    let container = case.create(&mut bundle)?;
    let cgroup = container.cgroup()?;
    let limit = ["--pids-limit", "26"];
    flags(case, &cgroup, &limit, &[("pids.max", "26")])?;
    container.start()?;
    cgroup.holds(&[("pids.max", "26")])
}

fn an_update_with_one_bad_value_changes_nothing(case: &Case) -> Verdict {
    let resources = json!({"memory": {"limit": 64 * MIB}, "pids": {"limit": 30}});
    let (_container, cgroup) = with(case, &["pids", "memory"], &resources)?;
    let text = json!({
        "memory": {"limit": 32 * MIB}, "pids": {"limit": 27}, "unified": {"memory.high": "a lot"},
    });
    from_input(case, &text.to_string())?.refused()?;
    cgroup.holds(&[("memory.max", "67108864"), ("pids.max", "30")])
}

fn update_that_is_below_what_is_used_can_be_refused(case: &Case) -> Verdict {
    let resources = json!({"memory": {"limit": 64 * MIB}});
    let (_container, cgroup) = with(case, &["memory"], &resources)?;
    let text = json!({"memory": {"limit": 4096, "checkBeforeUpdate": true}});
    from_input(case, &text.to_string())?.refused()?;
    cgroup.holds(&[("memory.max", "67108864")])
}

fn update_of_a_stopped_container_is_an_error(case: &Case) -> Verdict {
    let (container, _) = with(case, &["pids"], &json!({"pids": {"limit": 30}}))?;
    container.stop()?;
    let call = case.runtime(["update", "--pids-limit", "9", &container.id]);
    call.run()?.refused().map(drop)
}

fn update_with_no_json_is_an_error(case: &Case) -> Verdict {
    let (_container, cgroup) = with(case, &["pids"], &json!({"pids": {"limit": 30}}))?;
    from_input(case, "pids: 12")?.refused()?;
    cgroup.holds(&[("pids.max", "30")])
}

/// What engines send with each update has no devices; the rules of the container stay.
fn update_keeps_the_device_rules(case: &Case) -> Verdict {
    use crate::probe::ask::Ask;
    case.need_root()?;
    let place = case.need_controller("pids")?;
    let rules = json!([{"allow": false, "access": "rwm"}]);
    let resources = json!({"pids": {"limit": 30}, "devices": rules});
    let mut bundle = case.limited(&place, "update", &resources)?;
    bundle.capabilities(&["CAP_MKNOD"]);
    let mut container = case.started(&mut bundle)?;
    let open = Ask::Mknod {
        path: "/tmp/kmsg".into(),
        kind: 'c',
        major: 1,
        minor: 11,
    };
    let opens = [open, Ask::Open("/tmp/kmsg".into())];
    // A node may be made by the default rules; it may not be opened.
    let denied = |answers: &[crate::probe::ask::Answer]| {
        answers[1].failed_with("opening a denied device", &[libc::EPERM])
    };
    denied(&container.ask(&opens)?)?;
    from_input(case, r#"{"pids": {"limit": 28}, "devices": []}"#)?.succeeded()?;
    equal(
        "pids.max",
        container.cgroup()?.read("pids.max")?.as_str(),
        "28",
    )?;
    denied(&container.ask(&opens)?)
}
