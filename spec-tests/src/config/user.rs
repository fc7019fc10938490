//! config.md#user

use serde_json::json;

use crate::harness::case::Case;
use crate::harness::verdict::{Verdict, equal};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "config.md#posix-platform-user" Must uid_and_gid_are_set;
    "config.md#posix-platform-user" Must additional_gids_are_exactly_those_of_config;
    "config.md#posix-platform-user" Must without_additional_gids_the_callers_groups_are_gone;
    "config.md#posix-platform-user" Must umask_is_set;
    "config.md#posix-platform-user" Must another_user_has_no_capabilities_by_itself;
}

fn uid_and_gid_are_set(case: &Case) -> Verdict {
    case.need_root()?;
    let mut bundle = case.bundle()?;
    bundle.process()["user"] = json!({"uid": 6667, "gid": 6668});
    let process = case.run_process(&mut bundle)?;
    equal("uid", process.uid, 6667)?;
    equal("gid", process.gid, 6668)?;
    let status = |field: &str| process.status.get(field).map(String::as_str);
    // Real, effective, saved and file system id.
    equal("Uid", status("Uid"), Some("6667\t6667\t6667\t6667"))?;
    equal("Gid", status("Gid"), Some("6668\t6668\t6668\t6668"))
}

fn additional_gids_are_exactly_those_of_config(case: &Case) -> Verdict {
    case.need_root()?;
    let mut bundle = case.bundle()?;
    bundle.process()["user"] = json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 70000]});
    let mut groups = case.run_process(&mut bundle)?.groups;
    groups.sort_unstable();
    // The primary group may be among them; nothing else may.
    groups.retain(|gid| *gid != 1001);
    equal("the groups", groups, [5, 70000])
}

fn without_additional_gids_the_callers_groups_are_gone(case: &Case) -> Verdict {
    case.need_root()?;
    let mut bundle = case.bundle()?;
    bundle.process()["user"] = json!({"uid": 1000, "gid": 1001});
    bundle.answers(&[Ask::Process])?;
    let call = case
        .run_call(&bundle)?
        .through(["setpriv", "--groups", "4,24"]);
    let outcome = call.run()?.succeeded()?;
    let mut groups = crate::harness::container::parse_line(&outcome.stdout, 1)?
        .remove(0)
        .process()?
        .groups;
    groups.retain(|gid| *gid != 1001);
    equal("the groups", groups, [] as [u32; 0])
}

fn umask_is_set(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.process()["user"]["umask"] = json!(0o027);
    let answers = case.run(
        &mut bundle,
        &[
            Ask::Process,
            Ask::Create("/tmp/new".into()),
            Ask::Stat("/tmp/new".into()),
        ],
    )?;
    equal("umask", answers[0].process()?.umask, 0o027)?;
    equal("mode of a new file", answers[2].stat()?.mode, 0o640)
}

fn another_user_has_no_capabilities_by_itself(case: &Case) -> Verdict {
    case.need_root()?;
    let mut bundle = case.bundle()?;
    bundle.process()["user"] = json!({"uid": 1000, "gid": 1000});
    let sets = ["CAP_KILL", "CAP_CHOWN"];
    // Without inheritable and ambient sets, execve of another user than root ends with nothing.
    bundle.capabilities(&sets);
    let process = case.run_process(&mut bundle)?;
    equal("CapPrm", process.bits("CapPrm"), Some(0))?;
    equal("CapEff", process.bits("CapEff"), Some(0))
}
