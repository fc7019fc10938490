//! config-linux.md#intelrdt

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::case::Case;
use crate::harness::verdict::{Verdict, equal, holds, skip};
use crate::tests;

tests! {
    "config-linux.md#intelrdt" Must intel_rdt_without_resctrl_is_an_error;
    "config-linux.md#intelrdt" Must a_class_id_that_is_no_name_is_an_error;
    "config-linux.md#intelrdt" Must the_containers_own_class_lives_as_long_as_it;
    "config-linux.md#intelrdt" Must a_class_that_is_not_there_is_an_error;
}

/// Where the kernel has resctrl it is here, says its documentation.
const RESCTRL: &str = "/sys/fs/resctrl";

fn has_resctrl() -> bool {
    Path::new(RESCTRL).join("schemata").exists()
}

fn need_resctrl(case: &Case) -> Verdict {
    case.need_root()?;
    match has_resctrl() {
        true => Ok(()),
        false => {
            skip("no resctrl is mounted: it takes a processor with cache or bandwidth allocation")
        }
    }
}

fn refused(case: &Case, rdt: Value) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.linux()["intelRdt"] = rdt;
    case.create_refused(&bundle).map(drop)
}

fn intel_rdt_without_resctrl_is_an_error(case: &Case) -> Verdict {
    if has_resctrl() {
        return skip("resctrl is mounted");
    }
    refused(case, json!({"closID": "guaranteed"}))
}

fn a_class_id_that_is_no_name_is_an_error(case: &Case) -> Verdict {
    refused(case, json!({"closID": "../x", "memBwSchema": "MB:0=100"}))
}

fn the_containers_own_class_lives_as_long_as_it(case: &Case) -> Verdict {
    need_resctrl(case)?;
    let mut bundle = case.bundle()?;
    bundle.linux()["intelRdt"] = json!({"enableMonitoring": true});
    let container = case.create(&mut bundle)?;
    let class = Path::new(RESCTRL).join(&container.id);
    let tasks = std::fs::read_to_string(class.join("tasks"))?;
    let pid = container.pid()?.to_string();
    let monitored = class.join("mon_groups").join(&container.id).is_dir();
    case.runtime(["delete", "--force", &container.id])
        .run()?
        .succeeded()?;
    equal("its first process", tasks.trim(), pid.as_str())?;
    holds(monitored, "it has no group of monitoring")?;
    holds(!class.exists(), "its class is still there")
}

fn a_class_that_is_not_there_is_an_error(case: &Case) -> Verdict {
    need_resctrl(case)?;
    refused(case, json!({"closID": format!("{}-missing", case.id)}))
}
