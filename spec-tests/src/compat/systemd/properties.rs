//! What config.json asks for, as properties of the unit

use serde_json::{Value, json};

use super::{annotated, cgroup_of, files, has_its_controllers, named};
use crate::harness::bundle::Bundle;
use crate::harness::case::Case;
use crate::harness::verdict::{Verdict, equal, holds};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "config-linux.md#control-groups" Compat limits_are_properties_of_the_unit;
    "config-linux.md#control-groups" Compat unlimited_processes_are_more_than_systemds_default;
    "config-linux.md#unified" Compat unified_values_are_properties_of_the_unit;
    "config-linux.md#control-groups" Compat a_reload_of_systemd_keeps_the_limits;
    "config-linux.md#allowed-device-list" Compat a_reload_of_systemd_keeps_the_device_rules;
    "runc-update(8)" Compat update_tells_systemd_too;
    "runc-update(8)" Compat a_quota_that_systemd_rounds_is_exact_all_the_same;
    "runc-update(8)" Compat a_refused_update_changes_neither_systemd_nor_the_cgroup;
    "runc-update(8)" Compat update_keeps_what_systemd_writes_otherwise;
    "runc systemd.md" Compat annotations_become_properties;
    "runc systemd.md" Compat a_property_in_seconds_is_given_in_microseconds;
    "runc systemd.md" Compat an_annotation_that_is_no_value_is_refused;
    "runc systemd.md" Compat a_property_that_systemd_refuses_is_an_error_with_its_words;
    "crun(1)" Compat a_delegated_cgroup_is_made_by_its_annotation;
    "crun(1)" Compat a_subgroup_is_made_by_its_annotation;
}

fn limited(case: &Case, resources: Value) -> Verdict<(Bundle, String)> {
    let (mut bundle, unit) = named(case)?;
    bundle.linux()["resources"] = resources;
    Ok((bundle, unit))
}

fn limits_are_properties_of_the_unit(case: &Case) -> Verdict {
    let systemd = case.need_systemd()?;
    let resources = json!({
        "memory": {"limit": 64 << 20, "swap": 96 << 20, "reservation": 32 << 20},
        "pids": {"limit": 50},
        "cpu": {"quota": 20_000, "period": 50_000, "shares": 2048},
    });
    let (mut bundle, unit) = limited(case, resources)?;
    let _container = case.started_in_unit(&mut bundle)?;
    let weight = systemd.show(&unit, "CPUWeight")?;
    systemd.holds(
        &unit,
        &[
            ("MemoryMax", "67108864"),
            ("MemorySwapMax", "33554432"),
            ("MemoryLow", "33554432"),
            ("TasksMax", "50"),
            ("CPUQuotaPerSecUSec", "400ms"),
            ("CPUQuotaPeriodUSec", "50ms"),
        ],
    )?;
    files(
        &systemd,
        &unit,
        &[
            ("memory.max", "67108864"),
            ("memory.low", "33554432"),
            ("pids.max", "50"),
            ("cpu.max", "20000 50000"),
            ("cpu.weight", &weight),
        ],
    )
}

fn unlimited_processes_are_more_than_systemds_default(case: &Case) -> Verdict {
    let systemd = case.need_systemd()?;
    let (mut bundle, unit) = limited(case, json!({"pids": {"limit": -1}}))?;
    let _container = case.started_in_unit(&mut bundle)?;
    systemd.holds(&unit, &[("TasksMax", "infinity")])?;
    files(&systemd, &unit, &[("pids.max", "max")])
}

fn unified_values_are_properties_of_the_unit(case: &Case) -> Verdict {
    let systemd = case.need_systemd()?;
    let unified = json!({"memory.high": "50331648", "pids.max": "max", "cpu.max": "30000 100000", "cgroup.max.depth": "3"});
    let (mut bundle, unit) = limited(case, json!({"unified": unified}))?;
    let _container = case.started_in_unit(&mut bundle)?;
    systemd.holds(
        &unit,
        &[
            ("MemoryHigh", "50331648"),
            ("TasksMax", "infinity"),
            ("CPUQuotaPerSecUSec", "300ms"),
        ],
    )?;
    files(
        &systemd,
        &unit,
        &[
            ("memory.high", "50331648"),
            ("cpu.max", "30000 100000"),
            ("cgroup.max.depth", "3"),
        ],
    )
}

fn a_reload_of_systemd_keeps_the_limits(case: &Case) -> Verdict {
    let systemd = case.need_systemd()?;
    let resources = json!({
        "memory": {"limit": 64 << 20},
        "pids": {"limit": 50},
        "cpu": {"quota": 33_000, "period": 100_000, "shares": 512},
    });
    let (mut bundle, unit) = limited(case, resources)?;
    let container = case.started_in_unit(&mut bundle)?;
    let weight = systemd.show(&unit, "CPUWeight")?;
    systemd.control(&["daemon-reload"])?;
    let wanted = [
        ("memory.max", "67108864"),
        ("pids.max", "50"),
        ("cpu.max", "33000 100000"),
        ("cpu.weight", weight.as_str()),
    ];
    files(&systemd, &unit, &wanted)?;
    equal("status", container.status()?, "running")
}

fn a_reload_of_systemd_keeps_the_device_rules(case: &Case) -> Verdict {
    case.need_root()?;
    let systemd = case.need_systemd()?;
    // /dev/kmsg and the memory device of the same driver that nobody has a node of.
    let rules = json!([
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"},
    ]);
    let (mut bundle, _) = limited(case, json!({"devices": rules}))?;
    bundle.capabilities(&[
        "CAP_MKNOD",
        "CAP_SYSLOG",
        "CAP_DAC_OVERRIDE",
        "CAP_SYS_RAWIO",
    ]);
    let mut container = case.started_in_unit(&mut bundle)?;
    let node = |path: &str, minor| Ask::Mknod {
        path: path.into(),
        kind: 'c',
        major: 1,
        minor,
    };
    let asks = [
        Ask::Open("/tmp/kmsg".into()),
        Ask::Write {
            path: "/tmp/kmsg".into(),
            text: String::new(),
        },
        Ask::Open("/tmp/mem".into()),
        Ask::Open("/dev/null".into()),
    ];
    container.ask(&[node("/tmp/kmsg", 11), node("/tmp/mem", 1)])?;
    for when in ["before", "after"] {
        let answers = container.ask(&asks)?;
        answers[0].done()?;
        answers[1].failed_with(
            &format!("writing to kmsg {when} the reload"),
            &[libc::EPERM],
        )?;
        answers[2].failed_with(&format!("opening mem {when} the reload"), &[libc::EPERM])?;
        answers[3].done()?;
        systemd.control(&["daemon-reload"])?;
    }
    Ok(())
}

fn update_tells_systemd_too(case: &Case) -> Verdict {
    let systemd = case.need_systemd()?;
    let (mut bundle, unit) = limited(case, json!({"memory": {"limit": 64 << 20}}))?;
    let container = case.started_in_unit(&mut bundle)?;
    let flags = [
        "--memory",
        "33554432",
        "--pids-limit",
        "20",
        "--cpu-quota",
        "50000",
        "--cpu-period",
        "100000",
    ];
    case.runtime(["update"])
        .args(flags)
        .arg(&container.id)
        .run()?
        .succeeded()?;
    systemd.holds(
        &unit,
        &[
            ("MemoryMax", "33554432"),
            ("TasksMax", "20"),
            ("CPUQuotaPerSecUSec", "500ms"),
        ],
    )?;
    systemd.control(&["daemon-reload"])?;
    let wanted = [
        ("memory.max", "33554432"),
        ("pids.max", "20"),
        ("cpu.max", "50000 100000"),
    ];
    files(&systemd, &unit, &wanted)
}

fn a_quota_that_systemd_rounds_is_exact_all_the_same(case: &Case) -> Verdict {
    let systemd = case.need_systemd()?;
    let quota = |quota| json!({"cpu": {"quota": quota, "period": 100_000}});
    let (mut bundle, unit) = limited(case, quota(33_333))?;
    let container = case.started_in_unit(&mut bundle)?;
    files(&systemd, &unit, &[("cpu.max", "33333 100000")])?;
    case.runtime(["update", "--resources", "-", container.id.as_str()])
        .input(&quota(44_444).to_string())?
        .run()?
        .succeeded()?;
    files(&systemd, &unit, &[("cpu.max", "44444 100000")])?;
    // systemd itself knows whole percents, and no less than was asked for.
    systemd.holds(&unit, &[("CPUQuotaPerSecUSec", "450ms")])
}

fn a_refused_update_changes_neither_systemd_nor_the_cgroup(case: &Case) -> Verdict {
    let systemd = case.need_systemd()?;
    let (mut bundle, unit) = limited(case, json!({"memory": {"limit": 64 << 20}}))?;
    let container = case.started_in_unit(&mut bundle)?;
    // The kernel refuses the second, when the first is written already.
    let resources =
        json!({"memory": {"limit": 32 << 20}, "unified": {"cgroup.max.depth": "no number"}});
    case.runtime(["update", "--resources", "-", container.id.as_str()])
        .input(&resources.to_string())?
        .run()?
        .refused()?;
    systemd.holds(&unit, &[("MemoryMax", "67108864")])?;
    files(&systemd, &unit, &[("memory.max", "67108864")])
}

/// With any change of a unit: memory.oom.group, which Kubernetes sets, and a quota in whole percents.
fn update_keeps_what_systemd_writes_otherwise(case: &Case) -> Verdict {
    let systemd = case.need_systemd()?;
    case.need_controller("memory")?;
    case.need_controller("cpu")?;
    let resources = json!({
        "memory": {"limit": 64 << 20}, "cpu": {"quota": 33_333, "period": 100_000},
        "unified": {"memory.oom.group": "1", "cgroup.max.depth": "9"},
    });
    let (mut bundle, unit) = limited(case, resources)?;
    let container = case.started_in_unit(&mut bundle)?;
    let update = |resources: Value| {
        let call = case.runtime(["update", "--resources", "-", container.id.as_str()]);
        call.input(&resources.to_string())?.run()
    };
    let kept = [
        ("cpu.max", "33333 100000"),
        ("memory.oom.group", "1"),
        ("cgroup.max.depth", "9"),
    ];
    update(json!({"memory": {"limit": 32 << 20}}))?.succeeded()?;
    files(&systemd, &unit, &kept)?;
    let refused = json!({"memory": {"limit": 16 << 20}, "unified": {"cgroup.max.depth": "x"}});
    update(refused)?.refused()?;
    files(&systemd, &unit, &kept)?;
    update(json!({"unified": {"memory.oom.group": "0"}}))?.succeeded()?;
    files(&systemd, &unit, &[("memory.oom.group", "0")])
}

/// A bundle with this annotation, in a unit.
fn annotations_become_properties(case: &Case) -> Verdict {
    let systemd = case.need_systemd()?;
    let (mut bundle, unit) = named(case)?;
    bundle.config["annotations"] = json!({
        "org.systemd.property.TimeoutStopUSec": "uint64 7000000",
        "org.systemd.property.KillSignal": "12",
        "org.systemd.property.SendSIGHUP": "true",
        "org.systemd.property.Documentation": "['man:a(1)', 'man:b(1)']",
        "org.systemd.property.KillMode": "'mixed'",
    });
    let _container = case.started_in_unit(&mut bundle)?;
    systemd.holds(
        &unit,
        &[
            ("TimeoutStopUSec", "7s"),
            ("KillSignal", "12"),
            ("SendSIGHUP", "yes"),
            ("KillMode", "mixed"),
        ],
    )?;
    let pages = systemd.show(&unit, "Documentation")?;
    holds(
        pages.contains("man:a(1)") && pages.contains("man:b(1)"),
        format!("Documentation is {pages}"),
    )
}

fn a_property_in_seconds_is_given_in_microseconds(case: &Case) -> Verdict {
    let systemd = case.need_systemd()?;
    let key = "org.systemd.property.TimeoutStopSec";
    let (mut bundle, unit) = annotated(case, key, "uint64 3")?;
    let _container = case.started_in_unit(&mut bundle)?;
    systemd.holds(&unit, &[("TimeoutStopUSec", "3s")])
}

fn an_annotation_that_is_no_value_is_refused(case: &Case) -> Verdict {
    let systemd = case.need_systemd()?;
    let (bundle, _) = annotated(case, "org.systemd.property.KillSignal", "'unfinished")?;
    case.refused_in_unit(&bundle)?.says(&["KillSignal"])?;
    systemd.forgets(case)
}

fn a_property_that_systemd_refuses_is_an_error_with_its_words(case: &Case) -> Verdict {
    let systemd = case.need_systemd()?;
    let (bundle, _) = annotated(case, "org.systemd.property.NoSuchThing", "true")?;
    case.refused_in_unit(&bundle)?.says(&["NoSuchThing"])?;
    systemd.forgets(case)
}

fn a_subgroup_is_made_by_its_annotation(case: &Case) -> Verdict {
    let systemd = case.need_systemd()?;
    let (mut bundle, unit) = annotated(case, "run.oci.systemd.subgroup", "inner")?;
    bundle.linux()["resources"] = json!({"pids": {"limit": 50}});
    let container = case.started_in_unit(&mut bundle)?;
    let seen = cgroup_of(&container)?;
    equal(
        "the payload's cgroup",
        seen,
        format!("{}/inner", systemd.show(&unit, "ControlGroup")?),
    )?;
    files(
        &systemd,
        &unit,
        &[("pids.max", "50"), ("inner/pids.max", "50")],
    )?;
    has_its_controllers(&systemd, &unit, "inner")?;
    container.exec_process(&[])?;
    container.stop()?;
    container.delete()?;
    systemd.forgets(case)
}

fn a_delegated_cgroup_is_made_by_its_annotation(case: &Case) -> Verdict {
    let systemd = case.need_systemd()?;
    let (mut bundle, unit) = annotated(case, "run.oci.systemd.subgroup", "inner")?;
    bundle.config["annotations"]["run.oci.delegate-cgroup"] = json!("own");
    bundle.namespace("cgroup");
    let mut container = case.started_in_unit(&mut bundle)?;
    let seen = cgroup_of(&container)?;
    equal(
        "the payload's cgroup",
        seen,
        format!("{}/inner/own", systemd.show(&unit, "ControlGroup")?),
    )?;
    // The container's namespace begins above it.
    let seen = container.ask_one(Ask::Read("/proc/self/cgroup".into()))?;
    equal("as it sees it", seen.text()?.trim(), "0::/own")?;
    container.exec_process(&[])?;
    container.stop()?;
    container.delete()?;
    systemd.forgets(case)
}
