//! state, list and ps: what engines parse

use serde_json::{Value, json};

use super::options::is_rfc3339;
use crate::harness::case::Case;
use crate::harness::verdict::{Doing, Verdict, equal, holds};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "runc-state(8)" Compat the_state_of_a_stopped_container_has_pid_zero;
    "runc-state(8)" Compat the_state_says_when_it_was_created_and_where_its_root_is;
    "runc-list(8)" Compat list_quiet_prints_ids_alone;
    "runc-list(8)" Compat list_as_json_is_an_array_of_states;
    "runc-list(8)" Compat list_as_table_has_the_known_header;
    "runc-list(8)" Compat an_empty_list_is_no_error;
    "runc-list(8)" Compat an_unknown_format_is_an_error;
    "runc-ps(8)" Compat ps_as_json_is_an_array_of_pids;
    "runc-ps(8)" Compat ps_of_an_unknown_container_is_an_error;
}

fn the_state_of_a_stopped_container_has_pid_zero(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    container.stop()?;
    equal("pid", &container.state()?["pid"], &json!(0))
}

fn the_state_says_when_it_was_created_and_where_its_root_is(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let state = case.create(&mut bundle)?.state()?;
    let created = state["created"].as_str().unwrap_or_default();
    holds(is_rfc3339(created), format!("created is {created:?}"))?;
    let root = state["rootfs"].as_str().unwrap_or_default();
    equal(
        "rootfs",
        std::fs::canonicalize(root).ok(),
        Some(std::fs::canonicalize(bundle.rootfs())?),
    )
}

fn list_quiet_prints_ids_alone(case: &Case) -> Verdict {
    let (mut one, mut two) = (case.bundle_named("one")?, case.bundle_named("two")?);
    let ids = [format!("{}-1", case.id), format!("{}-2", case.id)];
    case.create_named(&mut one, &ids[0])?;
    case.create_named(&mut two, &ids[1])?;
    for flag in ["-q", "--quiet"] {
        let outcome = case.runtime(["list", flag]).run()?.succeeded()?;
        let mut seen: Vec<String> = outcome.stdout.lines().map(str::to_owned).collect();
        seen.sort();
        equal("the ids", seen, &ids)?;
    }
    Ok(())
}

fn list_as_json_is_an_array_of_states(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    for flags in [["--format", "json"], ["-f", "json"]] {
        let outcome = case.runtime(["list"]).args(flags).run()?.succeeded()?;
        let list: Value = serde_json::from_str(&outcome.stdout).doing(outcome.told())?;
        equal("containers", list.as_array().map(Vec::len), Some(1))?;
        equal("id", list[0]["id"].as_str(), Some(case.id.as_str()))?;
        equal("status", list[0]["status"].as_str(), Some("running"))?;
        equal(
            "pid",
            list[0]["pid"].as_i64(),
            Some(container.pid()?.as_raw().into()),
        )?;
        let bundle_path = list[0]["bundle"].as_str().unwrap_or_default();
        equal(
            "bundle",
            std::fs::canonicalize(bundle_path).ok(),
            Some(std::fs::canonicalize(&bundle.dir)?),
        )?;
        holds(
            list[0]["owner"].is_string(),
            format!("owner is {}", list[0]["owner"]),
        )?;
    }
    Ok(())
}

fn list_as_table_has_the_known_header(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    case.create(&mut bundle)?;
    let outcome = case.runtime(["list"]).run()?.succeeded()?;
    let mut lines = outcome.stdout.lines();
    let header: Vec<&str> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    // crun calls the first column NAME.
    holds(
        ["ID", "NAME"]
            .iter()
            .any(|name| header.first() == Some(name)),
        format!("the columns are {header:?}"),
    )?;
    equal(
        "the other columns",
        &header[1..],
        ["PID", "STATUS", "BUNDLE", "CREATED", "OWNER"],
    )?;
    let row = lines.next().unwrap_or_default();
    holds(
        row.starts_with(&case.id),
        format!("the first row is {row:?}"),
    )
}

fn an_empty_list_is_no_error(case: &Case) -> Verdict {
    let outcome = case
        .runtime(["list", "--format", "json"])
        .run()?
        .succeeded()?;
    let list: Value = serde_json::from_str(&outcome.stdout).doing(outcome.told())?;
    holds(
        list.is_null() || list == json!([]),
        format!("the list is {list}"),
    )?;
    equal(
        "the quiet list",
        case.runtime(["list", "-q"])
            .run()?
            .succeeded()?
            .stdout
            .as_str(),
        "",
    )
}

fn an_unknown_format_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    case.create(&mut bundle)?;
    case.runtime(["list", "--format", "nosuch"])
        .run()?
        .refused()
        .map(drop)
}

fn ps_as_json_is_an_array_of_pids(case: &Case) -> Verdict {
    case.need_cgroup2()?;
    let mut bundle = case.bundle()?;
    let mut container = case.started(&mut bundle)?;
    container.ask_one(Ask::SpawnSleeper)?.number()?;
    let outcome = case
        .runtime(["ps", "--format", "json", &case.id])
        .run()?
        .succeeded()?;
    let pids: Vec<i32> = serde_json::from_str(&outcome.stdout).doing(outcome.told())?;
    equal("processes", pids.len(), 2)?;
    holds(
        pids.contains(&container.pid()?.as_raw()),
        format!("the payload is not in {pids:?}"),
    )
}

fn ps_of_an_unknown_container_is_an_error(case: &Case) -> Verdict {
    case.runtime(["ps", &case.id]).run()?.refused().map(drop)
}
