//! Security labels across a restore.

use serde_json::json;

use super::{again, checkpoint, images, need_criu, refused_in, restore, started};
use crate::harness::apparmor::Profile;
use crate::harness::bundle::Bundle;
use crate::harness::case::Case;
use crate::harness::container::Container;
use crate::harness::verdict::{Verdict, equal, holds};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "runc-restore(8)" Compat the_profile_is_the_one_of_the_images;
    "runc-restore(8)" Compat another_profile_can_be_given;
    "runc-restore(8)" Compat a_profile_that_is_not_loaded_is_an_error_of_restore;
    "podman" Compat a_mount_context_without_value_is_told_as_go_does;
}

const SECRET: &str = "/etc/secret";

fn confined(case: &Case, profile: &Profile) -> Verdict<Bundle> {
    let mut bundle = case.bundle()?;
    bundle.file(SECRET, "nothing")?;
    bundle.process()["apparmorProfile"] = json!(profile.name);
    Ok(bundle)
}

fn is_confined_by(container: &mut Container<'_>, profile: &Profile) -> Verdict {
    let asks = [
        Ask::Read("/proc/self/attr/current".into()),
        Ask::Read(SECRET.into()),
    ];
    let answers = container.ask(&asks)?;
    equal(
        "the label",
        answers[0].text()?.trim(),
        format!("{} (enforce)", profile.name),
    )?;
    answers[1].failed_with("what the profile forbids", &[libc::EACCES])
}

fn the_profile_is_the_one_of_the_images(case: &Case) -> Verdict {
    need_criu(case)?;
    let profile = Profile::load(case, &case.id)?;
    let mut bundle = confined(case, &profile)?;
    let mut container = started(case, &mut bundle)?;
    is_confined_by(&mut container, &profile)?;
    let mut restored = again(case, container, &bundle, &[])?;
    is_confined_by(&mut restored, &profile)
}

fn another_profile_can_be_given(case: &Case) -> Verdict {
    need_criu(case)?;
    let first = Profile::load(case, &case.id)?;
    let mut bundle = confined(case, &first)?;
    let saved = started(case, &mut bundle)?;
    checkpoint(case, &case.id, &[]).run()?.succeeded()?;
    drop(saved);
    // As on a host that does not have the first one.
    drop(first);
    let second = Profile::load(case, &format!("{}-second", case.id))?;
    bundle.process()["apparmorProfile"] = json!(second.name);
    bundle.write()?;
    let given = format!("apparmor:{}", second.name);
    let flags = ["--detach", "--lsm-profile", &given];
    let mut restored = case.create_with(restore(case, &bundle, &flags), &case.id)?;
    is_confined_by(&mut restored, &second)
}

fn a_profile_that_is_not_loaded_is_an_error_of_restore(case: &Case) -> Verdict {
    need_criu(case)?;
    let profile = Profile::load(case, &case.id)?;
    let mut bundle = confined(case, &profile)?;
    let saved = started(case, &mut bundle)?;
    checkpoint(case, &case.id, &[]).run()?.succeeded()?;
    drop(saved);
    for wrong in ["apparmor:nobody-has-loaded-this", "selinux:a:b:c:s0", "x"] {
        let flags = ["--detach", "--lsm-profile", wrong];
        let outcome = restore(case, &bundle, &flags).run()?;
        refused_in(case, outcome, "restore.log", &["restore.log"])?;
        holds(case.ids_in_state().is_empty(), "its state stays")?;
        std::fs::remove_file(images(case).join("restore.log"))?;
    }
    Ok(())
}

fn a_mount_context_without_value_is_told_as_go_does(case: &Case) -> Verdict {
    need_criu(case)?;
    let call = case.runtime(["restore", "--lsm-mount-context"]).bare();
    let outcome = call.run()?.refused()?;
    let said = outcome.stderr.clone() + &outcome.stdout;
    let texts = ["flag needs an argument", "requires an argument"];
    holds(texts.iter().any(|text| said.contains(text)), outcome.told())
}
