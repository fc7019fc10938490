//! plan: what create would do, printed, and nothing made
//!
//! rt alone has this verb; the tests skip where a runtime has it not.

use serde_json::{Value, json};

use super::check::{
    duplicate_rlimit, missing_root, nothing_is_made, relative_cwd, unmapped_mount_option,
};
use crate::harness::bundle::Bundle;
use crate::harness::call::Call;
use crate::harness::case::Case;
use crate::harness::verdict::{Doing, Verdict, equal, fail, holds, skip};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "rt-plan(1)" Compat a_plan_makes_nothing;
    "rt-plan(1)" Compat what_create_refuses_is_refused_in_its_words;
    "rt-plan(1)" Compat every_mount_and_namespace_of_config_json_is_named;
    "rt-plan(1)" Compat the_container_is_as_planned;
    "rt-plan(1)" Compat a_users_plan_says_how_ids_are_mapped;
    "rt-plan(1)" Compat global_options_change_the_plan;
    "rt-plan(1)" Compat options_of_create_change_the_plan;
    "rt-plan(1)" Compat without_a_name_and_a_folder_the_bundle_is_the_present_one;
}

/// `plan` of the bundle as it is.
fn plan_call<'a>(case: &'a Case, bundle: &Bundle) -> Verdict<Call<'a>> {
    bundle.write()?;
    if case.runtime(["plan", "--help"]).run()?.status != 0 {
        return skip("the runtime has no plan");
    }
    Ok(case.runtime(["plan", "--bundle"]).arg(&bundle.dir))
}

fn parsed(case: &Case, call: Call<'_>) -> Verdict<Value> {
    let outcome = call.arg("--format=json").arg(&case.id).run()?.succeeded()?;
    equal("what is on standard error", outcome.stderr.as_str(), "")?;
    serde_json::from_str(&outcome.stdout).doing(outcome.told())
}

fn text_of(case: &Case, call: Call<'_>) -> Verdict<String> {
    let outcome = call.arg(&case.id).run()?.succeeded()?;
    equal("what is on standard error", outcome.stderr.as_str(), "")?;
    Ok(outcome.stdout)
}

fn a_plan_makes_nothing(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.mount(json!({"destination": "/new/point", "type": "tmpfs", "source": "tmpfs"}));
    bundle.linux()["cgroupsPath"] = json!(format!("/{}", case.id));
    text_of(case, plan_call(case, &bundle)?)?;
    parsed(case, plan_call(case, &bundle)?)?;
    relative_cwd(&mut bundle);
    let refused = plan_call(case, &bundle)?.arg(&case.id);
    refused.run()?.ended_with(1)?;
    nothing_is_made(case, &bundle)?;
    holds(!bundle.inside("/new").exists(), "a mount point was made")
}

type Change = fn(&mut Bundle);

fn what_create_refuses_is_refused_in_its_words(case: &Case) -> Verdict {
    let table: [(&str, Change); 8] = [
        ("duplicate rlimit", duplicate_rlimit),
        ("relative cwd", relative_cwd),
        ("missing root", missing_root),
        ("unmapped option", unmapped_mount_option),
        ("two mistakes", |bundle| {
            duplicate_rlimit(bundle);
            relative_cwd(bundle);
        }),
        ("word for a number", |bundle| {
            bundle.process()["user"]["uid"] = json!("root");
        }),
        ("a handler", |bundle| {
            bundle.config["annotations"] = json!({"run.oci.handler": "wasm"});
        }),
        ("seccomp action", |bundle| {
            bundle.linux()["seccomp"] = json!({"defaultAction": "SCMP_ACT_NOSUCH"});
        }),
    ];
    for (number, (what, change)) in table.iter().enumerate() {
        let mut bundle = case.bundle_named(&format!("bundle{number}"))?;
        change(&mut bundle);
        let planned = plan_call(case, &bundle)?.arg(&case.id).run()?;
        let created = case.create_refused(&bundle)?;
        equal("exit status", planned.status, 1)?;
        equal("standard output", planned.stdout.as_str(), "")?;
        let verb = |verb: &str| format!("{verb} {:?}: ", case.id);
        equal(
            what,
            planned.stderr.replacen(&verb("plan"), &verb("create"), 1),
            created.stderr,
        )?;
    }
    Ok(())
}

fn list<'a>(value: &'a Value, pointer: &str) -> Verdict<&'a [Value]> {
    match value.pointer(pointer).and_then(Value::as_array) {
        Some(list) => Ok(list),
        None => fail(format!("there is no list {pointer} in {value}")),
    }
}

fn strings<'a>(list: &'a [Value], key: &str) -> Vec<&'a str> {
    list.iter().filter_map(|item| item[key].as_str()).collect()
}

fn every_mount_and_namespace_of_config_json_is_named(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.mount(json!({
        "destination": "/scratch", "type": "tmpfs", "source": "tmpfs",
        "options": ["nosuid", "nodev", "size=64k", "mode=700"],
    }));
    let plan = parsed(case, plan_call(case, &bundle)?)?;
    let text = text_of(case, plan_call(case, &bundle)?)?;
    let planned = list(&plan, "/rootfs/mounts")?;
    let given = list(&bundle.config, "/mounts")?;
    equal(
        "destinations",
        strings(planned, "destination"),
        strings(given, "destination"),
    )?;
    for (n, mount) in given.iter().enumerate() {
        equal(
            "pointer",
            &planned[n]["pointer"],
            &json!(format!("/mounts/{n}")),
        )?;
        let destination = mount["destination"].as_str().unwrap_or_default();
        let mut lines = text.lines();
        let line = lines.find(|line| line.contains(&format!("mounts[{n}] ")));
        holds(
            line.is_some_and(|line| line.contains(destination)),
            format!("mounts[{n}], {destination}, is not in the text:\n{text}"),
        )?;
    }
    let last = &planned[given.len() - 1];
    equal("type", &last["type"], &json!("tmpfs"))?;
    equal(
        "attributes",
        &last["set"],
        &json!("MOUNT_ATTR_NOSUID|MOUNT_ATTR_NODEV"),
    )?;
    equal("options", &last["data"], &json!(["size=64k", "mode=700"]))?;
    let kinds = strings(list(&plan, "/namespaces/list")?, "type");
    for kind in strings(list(&bundle.config, "/linux/namespaces")?, "type") {
        holds(kinds.contains(&kind), format!("{kind} is not in {kinds:?}"))?;
    }
    Ok(())
}

/// What the payload finds of itself is what the plan says.
fn the_container_is_as_planned(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.capabilities(&["CAP_CHOWN", "CAP_KILL"]);
    bundle.process()["user"]["umask"] = json!(0o027);
    bundle.process()["rlimits"] = json!([{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]);
    let plan = parsed(case, plan_call(case, &bundle)?)?;
    equal("umask", &plan["process"]["umask"], &json!("0027"))?;
    equal(
        "rlimits",
        &plan["process"]["rlimits"],
        &json!([{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]),
    )?;
    let process = case.run_one(&mut bundle, Ask::Process)?.process()?;
    for (set, line) in [("bounding", "CapBnd"), ("effective", "CapEff")] {
        let named = list(&plan, &format!("/process/capabilities/{set}"))?;
        equal(set, named, [json!("CAP_CHOWN"), json!("CAP_KILL")])?;
        // By number: CHOWN is 0, KILL is 5.
        equal(line, process.bits(line), Some(1 | 1 << 5))?;
    }
    equal("umask", process.umask, 0o027)
}

fn a_users_plan_says_how_ids_are_mapped(case: &Case) -> Verdict {
    let uid = case.need_rootless()?.uid;
    let bundle = case.bundle()?;
    let plan = parsed(case, plan_call(case, &bundle)?)?;
    equal("rootless", &plan["rootless"], &json!(true))?;
    let maps = list(&plan, "/namespaces/id_maps/uids")?;
    let is_own = |map: &&Value| map["outside"] == json!(uid);
    holds(
        maps.iter().any(|map| is_own(&map)),
        format!("uid {uid} is not in {maps:?}"),
    )?;
    let text = text_of(case, plan_call(case, &bundle)?)?;
    holds(
        text.contains(&format!("outside {uid}, count")),
        format!("the map is not in the text:\n{text}"),
    )
}

fn global_options_change_the_plan(case: &Case) -> Verdict {
    let bundle = case.bundle()?;
    let with = |option: &str| -> Verdict<Value> {
        parsed(case, plan_call(case, &bundle)?.globals([option]))
    };
    let how = "/cgroup/placement/how";
    if with("--cgroup-manager=cgroupfs")?.pointer(how) == Some(&json!("none")) {
        return skip("no cgroup2 is mounted");
    }
    for manager in ["cgroupfs", "disabled", "systemd"] {
        let plan = with(&format!("--cgroup-manager={manager}"))?;
        equal(manager, plan.pointer(how), Some(&json!(manager)))?;
    }
    let plan = with("--systemd-cgroup")?;
    equal("driver", plan.pointer(how), Some(&json!("systemd")))?;
    let unit = plan["cgroup"]["placement"]["unit"]
        .as_str()
        .unwrap_or_default();
    holds(
        unit.contains(&case.id) && unit.ends_with(".scope"),
        format!("the unit: {unit:?}"),
    )?;
    let text = text_of(
        case,
        plan_call(case, &bundle)?.globals(["--systemd-cgroup"]),
    )?;
    holds(
        text.contains(unit),
        format!("no {unit} in the text:\n{text}"),
    )?;
    for (option, rootless) in [("--rootless=true", true), ("--rootless=false", false)] {
        equal(option, &with(option)?["rootless"], &json!(rootless))?;
    }
    Ok(())
}

fn options_of_create_change_the_plan(case: &Case) -> Verdict {
    let bundle = case.bundle()?;
    let plan = parsed(case, plan_call(case, &bundle)?)?;
    equal("pivot", &plan["rootfs"]["pivot"], &json!("pivot_root"))?;
    let keyring = json!(format!("_ses.{}", case.id));
    equal("keyring", &plan["process"]["keyring"], &keyring)?;
    let call = plan_call(case, &bundle)?.args(["--no-pivot", "--no-new-keyring"]);
    let plan = parsed(case, call)?;
    equal("pivot", &plan["rootfs"]["pivot"], &json!("move_and_chroot"))?;
    equal("keyring", &plan["process"]["keyring"], &Value::Null)?;
    let elsewhere = case.file(
        "other.json",
        &bundle.config.to_string().replace("/bin/probe", "/x"),
    )?;
    let call = plan_call(case, &bundle)?.arg("-f").arg(elsewhere);
    let plan = parsed(case, call)?;
    equal("args", &plan["process"]["args"][0], &json!("/x"))
}

fn without_a_name_and_a_folder_the_bundle_is_the_present_one(case: &Case) -> Verdict {
    let bundle = case.bundle()?;
    plan_call(case, &bundle)?;
    let outcome = case.runtime(["plan"]).cwd(&bundle.dir).run()?.succeeded()?;
    let dir = bundle.dir.to_string_lossy();
    holds(
        outcome.stdout.contains(&*dir),
        format!("no {dir} in {}", outcome.told()),
    )?;
    let empty = case.folder("empty")?;
    let outcome = case.runtime(["plan"]).cwd(empty).run()?.ended_with(1)?;
    outcome.says(&["config.json", "No such file"]).map(drop)
}
