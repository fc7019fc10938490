//! spec: a config.json that runs

use serde_json::{Value, json};

use crate::harness::case::Case;
use crate::harness::verdict::{Doing, Verdict, equal, holds};
use crate::tests;

tests! {
    "runc-spec(8)" Compat spec_writes_a_config_that_runs;
    "runc-spec(8)" Compat spec_takes_the_bundle_by_option;
    "runc-spec(8)" Compat spec_does_not_overwrite;
    "runc-spec(8)" Compat rootless_spec_maps_the_caller;
}

/// The config.json that `spec` writes into the bundle.
fn written(case: &Case, flags: &[&str]) -> Verdict<(crate::harness::bundle::Bundle, Value)> {
    let bundle = case.bundle()?;
    case.runtime(["spec"])
        .args(flags)
        .cwd(&bundle.dir)
        .run()?
        .succeeded()?;
    let text =
        std::fs::read_to_string(bundle.dir.join("config.json")).doing("config.json after spec")?;
    Ok((bundle, serde_json::from_str(&text)?))
}

fn spec_writes_a_config_that_runs(case: &Case) -> Verdict {
    let flags: &[&str] = if case.is_root() { &[] } else { &["--rootless"] };
    let (mut bundle, config) = written(case, flags)?;
    equal("args", &config["process"]["args"], &json!(["sh"]))?;
    equal("terminal", &config["process"]["terminal"], &json!(true))?;
    bundle.config = config;
    bundle.process()["terminal"] = json!(false);
    bundle.process()["args"] = json!(["/bin/probe", "exit", "12"]);
    // Raising a limit and loading device rules need more than every root has.
    if let Some(process) = bundle.process().as_object_mut() {
        process.remove("rlimits");
    }
    if let Some(linux) = bundle.linux().as_object_mut() {
        linux.remove("resources");
    }
    case.run_call(&bundle)?.run()?.ended_with(12).map(drop)
}

fn spec_takes_the_bundle_by_option(case: &Case) -> Verdict {
    let bundle = case.bundle()?;
    case.runtime(["spec", "--bundle"])
        .arg(&bundle.dir)
        .run()?
        .succeeded()?;
    holds(
        bundle.dir.join("config.json").exists(),
        "there is no config.json in the bundle",
    )
}

fn spec_does_not_overwrite(case: &Case) -> Verdict {
    let bundle = case.bundle()?;
    bundle.write_text("mine")?;
    case.runtime(["spec"]).cwd(&bundle.dir).run()?.refused()?;
    equal(
        "config.json",
        std::fs::read_to_string(bundle.dir.join("config.json"))?.as_str(),
        "mine",
    )
}

fn rootless_spec_maps_the_caller(case: &Case) -> Verdict {
    let (_, config) = written(case, &["--rootless"])?;
    let namespaces: Vec<&str> = config["linux"]["namespaces"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one["type"].as_str())
        .collect();
    holds(
        namespaces.contains(&"user"),
        format!("the namespaces are {namespaces:?}"),
    )?;
    holds(
        !namespaces.contains(&"network"),
        format!("the namespaces are {namespaces:?}"),
    )?;
    let own = nix::unistd::geteuid().as_raw();
    equal(
        "uidMappings",
        &config["linux"]["uidMappings"],
        &json!([{"containerID": 0, "hostID": own, "size": 1}]),
    )
}
