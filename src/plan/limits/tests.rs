//! Each limit as the lines that it becomes.

use serde_json::{Value, json};

use super::*;

fn plan(resources: Value) -> Result<Vec<(String, String)>> {
    plan_for(Target::New, resources)
}

fn plan_for(target: Target, resources: Value) -> Result<Vec<(String, String)>> {
    let given = serde_json::from_value(resources).unwrap();
    let settings = settings(&given, "1.2.0", target, &mut Vec::new())?;
    Ok(settings.into_iter().map(|s| (s.file, s.value)).collect())
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(file, value)| ((*file).into(), (*value).into()))
        .collect()
}

#[test]
fn what_a_new_cgroup_has_anyhow_makes_no_setting() {
    for resources in [
        json!({}),
        json!({"cpu": {"shares": 1024}}),
        json!({"cpu": {"shares": 0, "quota": -1, "period": 100_000, "idle": 0, "cpus": ""}}),
        json!({"memory": {"limit": -1, "swap": -1, "swappiness": 60, "disableOOMKiller": false}}),
        json!({"memory": {"limit": 0, "swap": 0, "reservation": 0, "useHierarchy": true}}),
        json!({"pids": {"limit": -1}, "network": {}, "blockIO": {"weight": 0}}),
        json!({"pids": {"limit": 0}}),
    ] {
        assert_eq!(plan(resources.clone()).unwrap(), [], "{resources}");
    }
}

#[test]
fn limits_become_files() {
    let limits = json!({
        "memory": {"limit": 1000, "swap": 1500, "reservation": 500},
        "cpu": {"shares": 512, "quota": 50_000, "burst": 10, "cpus": "0-1"},
        "pids": {"limit": 20},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4}],
        "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10_000}},
        "unified": {"io.max": "8:0 rbps=1\n8:16 wbps=2", "memory.high": "900"},
    });
    assert_eq!(
        plan(limits).unwrap(),
        pairs(&[
            ("memory.swap.max", "500"),
            ("memory.max", "1000"),
            ("memory.low", "500"),
            ("cpu.weight", "59"),
            ("cpu.max", "50000 100000"),
            ("cpu.max.burst", "10"),
            ("cpuset.cpus", "0-1"),
            ("pids.max", "20"),
            ("hugetlb.2MB.max", "4"),
            ("hugetlb.2MB.rsvd.max", "4"),
            ("rdma.max", "mlx5_1 hca_handle=3 hca_object=10000"),
            ("io.max", "8:0 rbps=1"),
            ("io.max", "8:16 wbps=2"),
            ("memory.high", "900"),
        ])
    );
}

#[test]
fn a_cgroup_in_use_gets_its_defaults_back() {
    let limits = json!({
        "memory": {"limit": -1, "reservation": -1},
        "cpu": {"shares": 1024, "quota": -1, "burst": 0, "idle": 0},
        "pids": {"limit": -1},
    });
    assert_eq!(
        plan_for(Target::InUse, limits).unwrap(),
        pairs(&[
            ("memory.swap.max", "max"),
            ("memory.max", "max"),
            ("memory.low", "0"),
            ("cpu.idle", "0"),
            ("cpu.weight", "100"),
            ("cpu.max.burst", "0"),
            ("cpu.max", "max 100000"),
            ("pids.max", "max"),
        ])
    );
}

#[test]
fn a_limit_can_ask_for_what_is_in_use() {
    let given = json!({"memory": {"limit": 9, "swap": 9, "checkBeforeUpdate": true}});
    let given = serde_json::from_value(given).unwrap();
    let settings = settings(&given, "1.2.0", Target::InUse, &mut Vec::new()).unwrap();
    let files: Vec<_> = settings.iter().filter_map(|s| s.in_use).collect();
    assert_eq!(files, ["memory.swap.current", "memory.current"]);
}

#[test]
fn shares_become_weights_along_the_agreed_curve() {
    for (shares, weight) in [
        (2, 1),
        (512, 59),
        (1024, 100),
        (10_240, 639),
        (262_144, 10_000),
        (1 << 40, 10_000),
    ] {
        assert_eq!(weight_of_shares(shares), weight);
    }
}

#[test]
fn what_cgroup_v2_cannot_do_is_refused_by_name() {
    let error = plan(json!({"memory": {"swappiness": 10}, "cpu": {"realtimeRuntime": 5}}));
    assert_eq!(
        error.unwrap_err().to_string(),
        "linux.resources.memory.swappiness: cgroup v2 has no such limit; \
             linux.resources.cpu.realtimeRuntime: cgroup v2 has no such limit"
    );
    assert!(plan(json!({"network": {"classID": 1}})).is_err());
    assert!(plan(json!({"memory": {"swap": 5}})).is_err());
}

#[test]
fn no_process_at_all_is_a_limit_since_version_1_3() {
    let given: Resources = serde_json::from_value(json!({"pids": {"limit": 0}})).unwrap();
    let settings = settings(&given, "1.3.0", Target::New, &mut Vec::new()).unwrap();
    assert_eq!(settings[0].value, "1");
}
