//! config-linux.md#memory-policy

use serde_json::json;

use crate::harness::case::Case;
use crate::harness::verdict::{Verdict, holds, skip};
use crate::probe::ask::{Answer, Ask};
use crate::tests;

tests! {
    "config-linux.md#memory-policy" Must the_memory_policy_is_the_payloads;
    "config-linux.md#memory-policy" Must a_memory_policy_with_flags_is_the_payloads;
    "config-linux.md#memory-policy" Compat the_memory_policy_is_that_of_exec_too;
    "config-linux.md#memory-policy" Must a_memory_policy_that_is_none_is_an_error;
}

/// Each mapping with its policy; where it has none of its own, the process's.
const MAPPINGS: &str = "/proc/self/numa_maps";

fn need_numa() -> Verdict {
    if std::path::Path::new(MAPPINGS).exists() {
        Ok(())
    } else {
        skip("this kernel knows no NUMA nodes")
    }
}

fn shows(answer: &Answer, policy: &str) -> Verdict {
    let text = answer.text()?;
    let first = text.lines().next().unwrap_or_default();
    holds(
        text.split_whitespace().any(|word| word == policy),
        format!("no mapping has the policy {policy}: {first}"),
    )
}

fn the_memory_policy_is_the_payloads(case: &Case) -> Verdict {
    need_numa()?;
    let mut bundle = case.bundle()?;
    bundle.linux()["memoryPolicy"] = json!({"mode": "MPOL_BIND", "nodes": "0"});
    shows(
        &case.run_one(&mut bundle, Ask::Read(MAPPINGS.into()))?,
        "bind:0",
    )
}

fn a_memory_policy_with_flags_is_the_payloads(case: &Case) -> Verdict {
    need_numa()?;
    let mut bundle = case.bundle()?;
    bundle.linux()["memoryPolicy"] =
        json!({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]});
    let answer = case.run_one(&mut bundle, Ask::Read(MAPPINGS.into()))?;
    shows(&answer, "interleave=static:0")
}

fn the_memory_policy_is_that_of_exec_too(case: &Case) -> Verdict {
    need_numa()?;
    let mut bundle = case.bundle()?;
    bundle.linux()["memoryPolicy"] = json!({"mode": "MPOL_BIND", "nodes": "0"});
    let container = case.started(&mut bundle)?;
    let answers = container.exec(&[], &[Ask::Read(MAPPINGS.into())])?;
    container.stop()?;
    container.delete()?;
    shows(&answers[0], "bind:0")
}

fn a_memory_policy_that_is_none_is_an_error(case: &Case) -> Verdict {
    let broken = [
        json!({"mode": "MPOL_DREAM", "nodes": "0"}),
        json!({"mode": "MPOL_BIND", "nodes": "zero"}),
        json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_DREAM"]}),
    ];
    for (n, policy) in broken.into_iter().enumerate() {
        let mut bundle = case.bundle_named(&n.to_string())?;
        bundle.linux()["memoryPolicy"] = policy;
        case.create_refused(&bundle)?;
    }
    Ok(())
}
