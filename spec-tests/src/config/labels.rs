//! config.md#linux-process, apparmorProfile and selinuxLabel; config-linux.md#mount-label.

use std::fs;

use serde_json::json;

use crate::harness::apparmor::{Profile, is_enforced};
use crate::harness::bundle::Bundle;
use crate::harness::case::Case;
use crate::harness::verdict::{Verdict, equal, holds, skip};
use crate::probe::ask::{Answer, Ask};
use crate::tests;

tests! {
    "config.md#linux-process" Must the_apparmor_profile_confines_the_payload;
    "config.md#linux-process" Must the_apparmor_profile_confines_exec;
    "runc-exec(8)" Compat exec_can_have_a_profile_of_its_own;
    "config.md#linux-process" Compat an_apparmor_profile_that_is_not_loaded_is_an_error;
    "config.md#linux-process" Compat an_apparmor_profile_that_nobody_enforces_is_an_error;
    "config.md#linux-process" Compat unconfined_is_the_absence_of_a_profile;
    "config.md#linux-process" Compat a_selinux_label_that_nobody_enforces_is_an_error;
    "config-linux.md#mount-label" Compat a_mount_label_that_nobody_enforces_is_an_error;
    "crun.1#run-oci-mount-context-type" Compat the_mount_context_type_alone_changes_nothing;
}

fn has_selinux() -> bool {
    fs::read_to_string("/proc/filesystems").is_ok_and(|text| text.contains("selinuxfs"))
}

const SECRET: &str = "/etc/secret";

/// What shows that the profile is the asker's.
fn proofs() -> [Ask; 2] {
    [
        Ask::Read("/proc/self/attr/current".into()),
        Ask::Read(SECRET.into()),
    ]
}

/// A profile, and a bundle with what it forbids.
fn with_profile(case: &Case) -> Verdict<(Profile, Bundle)> {
    let profile = Profile::load(case, &case.id)?;
    let bundle = case.bundle()?;
    bundle.file(SECRET, "nothing")?;
    Ok((profile, bundle))
}

/// Fails unless the answers to [`proofs`] are those of a process under the profile.
fn is_confined(answers: &[Answer], profile: &Profile) -> Verdict {
    let label = format!("{} (enforce)", profile.name);
    equal("the label", answers[0].text()?.trim(), label.as_str())?;
    answers[1].failed_with("what the profile forbids", &[libc::EACCES])
}

fn the_apparmor_profile_confines_the_payload(case: &Case) -> Verdict {
    let (profile, mut bundle) = with_profile(case)?;
    bundle.process()["apparmorProfile"] = json!(profile.name);
    let answers = case.run(&mut bundle, &proofs())?;
    is_confined(&answers, &profile)
}

fn the_apparmor_profile_confines_exec(case: &Case) -> Verdict {
    let (profile, mut bundle) = with_profile(case)?;
    bundle.process()["apparmorProfile"] = json!(profile.name);
    let container = case.started(&mut bundle)?;
    let answers = container.exec(&[], &proofs())?;
    container.stop()?;
    container.delete()?;
    is_confined(&answers, &profile)
}

/// podman knows such an error by a path of /proc in backquotes.
fn exec_can_have_a_profile_of_its_own(case: &Case) -> Verdict {
    let (profile, mut bundle) = with_profile(case)?;
    let mut container = case.started(&mut bundle)?;
    let answers = container.exec(&["--apparmor", &profile.name], &proofs())?;
    let payload = container.ask_one(Ask::Read(SECRET.into()))?;
    let missing = case
        .runtime(["exec", "--apparmor", "no-such-profile", &container.id])
        .args(["/bin/probe", "exit", "0"])
        .run()?;
    container.stop()?;
    container.delete()?;
    is_confined(&answers, &profile)?;
    equal("what the payload reads", payload.text()?, "nothing")?;
    missing.refused()?.says(&["no-such-profile"]).map(drop)
}

fn an_apparmor_profile_that_is_not_loaded_is_an_error(case: &Case) -> Verdict {
    case.need_root()?;
    if !is_enforced() {
        return skip("this kernel enforces no AppArmor profiles");
    }
    let mut bundle = case.bundle()?;
    bundle.process()["apparmorProfile"] = json!("nobody-has-loaded-this");
    let said = case.create_refused(&bundle)?.stderr;
    let mut quoted = said.split('`').filter(|part| part.starts_with("/proc/"));
    holds(
        quoted.any(|path| path.contains("/attr") && path.ends_with("/exec")),
        format!("the file of the label is not in backquotes: {said}"),
    )
}

fn an_apparmor_profile_that_nobody_enforces_is_an_error(case: &Case) -> Verdict {
    if is_enforced() {
        return skip("this kernel enforces AppArmor profiles");
    }
    let mut bundle = case.bundle()?;
    bundle.process()["apparmorProfile"] = json!("some-profile");
    case.create_refused(&bundle).map(drop)
}

fn unconfined_is_the_absence_of_a_profile(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.process()["apparmorProfile"] = json!("unconfined");
    case.run_process(&mut bundle).map(drop)
}

fn a_selinux_label_that_nobody_enforces_is_an_error(case: &Case) -> Verdict {
    if has_selinux() {
        return skip("this kernel has SELinux");
    }
    let mut bundle = case.bundle()?;
    bundle.process()["selinuxLabel"] = json!("system_u:system_r:container_t:s0:c1,c2");
    case.create_refused(&bundle).map(drop)
}

fn a_mount_label_that_nobody_enforces_is_an_error(case: &Case) -> Verdict {
    if has_selinux() {
        return skip("this kernel has SELinux");
    }
    let mut bundle = case.bundle()?;
    bundle.linux()["mountLabel"] = json!("system_u:object_r:container_file_t:s0:c1,c2");
    case.create_refused(&bundle).map(drop)
}

/// podman sets it for every container.
fn the_mount_context_type_alone_changes_nothing(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.config["annotations"] = json!({"run.oci.mount_context_type": "rootcontext"});
    case.run_process(&mut bundle).map(drop)
}
