//! check: all that is wrong with a bundle and the host, before anything is made
//!
//! rt alone has this verb; the tests skip where a runtime has it not.

mod agreement;

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::apparmor::Profile;
use crate::harness::bundle::Bundle;
use crate::harness::case::Case;
use crate::harness::verdict::{Doing, Verdict, equal, fail, holds, skip};
use crate::probe::ask::Ask;
use crate::tests;

use agreement::missing_source;

pub use agreement::TESTS as AGREEMENT;
pub use agreement::{duplicate_rlimit, missing_root, relative_cwd, unmapped_mount_option};

tests! {
    "rt-check(1)" Compat a_bundle_that_starts_has_no_errors;
    "rt-check(1)" Compat every_mistake_is_named_at_once;
    "rt-check(1)" Compat a_check_changes_nothing;
    "rt-check(1)" Compat a_low_port_over_the_hosts_network_is_named;
    "rt-check(1)" Compat a_capability_without_effect_is_named_with_the_others;
    "rt-check(1)" Compat a_source_of_somebody_else_is_named_with_its_owner;
    "rt-check(1)" Compat a_profile_of_apparmor_is_named_unless_it_is_loaded;
    "rt-check(1)" Compat without_a_bundle_the_host_is_looked_at;
    "rt-check(1)" Compat a_bundle_that_cannot_be_read_is_a_finding;
}

/// What `check --json` finds.
struct Findings {
    status: i32,
    list: Vec<Value>,
}

impl Findings {
    fn with<'a>(&'a self, key: &str, value: &str) -> Vec<&'a Value> {
        let findings = self.list.iter();
        findings
            .filter(|finding| finding[key].as_str() == Some(value))
            .collect()
    }

    fn errors(&self) -> Vec<&str> {
        let findings = self.with("severity", "error").into_iter();
        findings.filter_map(|f| f["message"].as_str()).collect()
    }

    /// The warning of a mount's owner. As root the root file system has one too.
    fn about_mounts(&self) -> Verdict<&Value> {
        let mut warnings = self.with("check", "source-owner").into_iter();
        match warnings.find(|finding| text(finding, "pointer").starts_with("/mounts/")) {
            Some(finding) => Ok(finding),
            None => fail(format!("no mount's owner is named in {:?}", self.list)),
        }
    }

    /// The finding of this check, of which there has to be one.
    fn of(&self, check: &str) -> Verdict<&Value> {
        match self.with("check", check).as_slice() {
            [finding, ..] => Ok(finding),
            [] => fail(format!("no finding {check:?} in {:?}", self.list)),
        }
    }
}

fn check(case: &Case, bundle: &Bundle) -> Verdict<Findings> {
    bundle.write()?;
    let folder: &Path = &bundle.dir;
    if case.runtime(["check", "--help"]).run()?.status != 0 {
        return skip("the runtime has no check");
    }
    let call = case.runtime(["check", "--json", "--bundle"]).arg(folder);
    let outcome = call.run()?;
    equal("what is on standard error", outcome.stderr.as_str(), "")?;
    Ok(Findings {
        status: outcome.status,
        list: serde_json::from_str(&outcome.stdout).doing(outcome.told())?,
    })
}

fn text<'a>(finding: &'a Value, key: &str) -> &'a str {
    finding[key].as_str().unwrap_or_default()
}

fn says(finding: &Value, key: &str, words: &[&str]) -> Verdict {
    for word in words {
        let text = text(finding, key);
        holds(text.contains(word), format!("no {word:?} in {text:?}"))?;
    }
    Ok(())
}

fn a_bundle_that_starts_has_no_errors(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let found = check(case, &bundle)?;
    equal("errors", found.errors(), Vec::<&str>::new())?;
    equal("exit status", found.status, 0)?;
    case.run(&mut bundle, &[Ask::Process]).map(drop)
}

fn every_mistake_is_named_at_once(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    for break_it in [
        duplicate_rlimit,
        missing_source,
        relative_cwd,
        unmapped_mount_option,
    ] {
        break_it(&mut bundle);
    }
    bundle.config["hostname"] = json!(7);
    bundle.process()["noNewPrivileges"] = json!("yes");
    let found = check(case, &bundle)?;
    equal("exit status", found.status, 1)?;
    let places: Vec<&str> = found
        .with("severity", "error")
        .into_iter()
        .map(|finding| text(finding, "pointer"))
        .collect();
    let source = format!("/mounts/{}", mount_index(&bundle, "bind")?);
    let option = format!("/mounts/{}/options/0", mount_index(&bundle, "tmpfs")?);
    for place in [
        "/hostname",
        "/process/noNewPrivileges",
        "/process/rlimits/1/type",
        "/process/cwd",
        &source,
        &option,
    ] {
        holds(
            places.contains(&place),
            format!("{place} is not in {places:?}"),
        )?;
    }
    let cwd = found.of("cwd-is-absolute")?;
    equal("code", text(cwd, "code"), "invalid")?;
    holds(
        text(cwd, "clause").starts_with("config.md"),
        format!("the clause of {cwd}"),
    )
}

/// The last mount of this type.
fn mount_index(bundle: &Bundle, kind: &str) -> Verdict<usize> {
    let mounts = bundle.config["mounts"].as_array();
    match mounts.and_then(|mounts| mounts.iter().rposition(|mount| mount["type"] == kind)) {
        Some(index) => Ok(index),
        None => fail(format!("no mount of type {kind}")),
    }
}

fn a_check_changes_nothing(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    for bundle in [bundle.clone(), {
        missing_source(&mut bundle);
        bundle
    }] {
        check(case, &bundle)?;
        nothing_is_made(case, &bundle)?;
        holds(
            !bundle.inside("/mnt").exists(),
            "a mount point was made in the root file system",
        )?;
    }
    Ok(())
}

/// No state and nothing in the bundle. Cgroups, mounts and processes that are left fail every test.
pub fn nothing_is_made(case: &Case, bundle: &Bundle) -> Verdict {
    holds(!case.root().exists(), "there is a state directory")?;
    let mut names: Vec<String> = std::fs::read_dir(&bundle.dir)?
        .filter_map(Result::ok)
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    equal("the bundle", names, vec!["config.json", "rootfs"])
}

/// Scenario 8.
fn a_low_port_over_the_hosts_network_is_named(case: &Case) -> Verdict {
    case.need_rootless()?;
    let start = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")?;
    if start.trim().parse().is_ok_and(|start: u32| start <= 80) {
        return skip("every port is free here");
    }
    let value = format!("net.ipv4.ip_unprivileged_port_start = {}", start.trim());
    let mut bundle = case.bundle()?;
    let found = check(case, &bundle)?;
    let note = found.of("low-ports")?;
    equal("severity", text(note, "severity"), "note")?;
    says(note, "message", &[&value])?;
    says(note, "hint", &["sysctl -w", "network of its own"])?;
    let refused = case.run_one(&mut bundle, Ask::Listen(80))?;
    equal("errno of bind", refused.errno(), nix::libc::EACCES)?;

    bundle.args(&["/bin/probe", "--port", "80"]);
    let found = check(case, &bundle)?;
    let warning = found.of("low-ports")?;
    equal("severity", text(warning, "severity"), "warning")?;
    equal("pointer", text(warning, "pointer"), "/process/args/2")?;
    equal("exit status", found.status, 0)?;

    bundle.namespace("network");
    let found = check(case, &bundle)?;
    equal("findings", found.with("check", "low-ports").len(), 0)?;
    case.run_one(&mut bundle, Ask::Listen(80))?.done()
}

/// The default bundle in a user namespace of its own, where no id is root's of the host.
fn mapped(case: &Case) -> Verdict<Bundle> {
    let mut bundle = case.bundle()?;
    if case.is_root() {
        bundle.namespace("user");
        let map = json!([{"containerID": 0, "hostID": 200_000, "size": 1000}]);
        bundle.linux()["uidMappings"] = map.clone();
        bundle.linux()["gidMappings"] = map;
    }
    Ok(bundle)
}

/// Scenario 9.
fn a_capability_without_effect_is_named_with_the_others(case: &Case) -> Verdict {
    let mut bundle = mapped(case)?;
    bundle.capabilities(&["CAP_SYS_TIME", "CAP_CHOWN"]);
    let found = check(case, &bundle)?;
    let warning = found.of("idle-capabilities")?;
    equal("severity", text(warning, "severity"), "warning")?;
    equal("exit status", found.status, 0)?;
    says(warning, "message", &["CAP_SYS_TIME"])?;
    holds(
        !text(warning, "message").contains("CAP_CHOWN"),
        format!("CAP_CHOWN has an effect: {warning}"),
    )?;
    says(
        warning,
        "hint",
        &["CAP_SYS_MODULE", "CAP_MKNOD", "CAP_SYSLOG"],
    )?;
    let set_nothing = Ask::Call {
        number: nix::libc::SYS_settimeofday,
        args: [0; 6],
    };
    let answers = case.run(&mut bundle, &[Ask::Process, set_nothing])?;
    let effective = answers[0].process()?.bits("CapEff").unwrap_or_default();
    holds(effective >> 25 & 1 == 1, "CapEff lacks SYS_TIME")?;
    equal("errno", answers[1].errno(), nix::libc::EPERM)
}

/// Scenario 10.
fn a_source_of_somebody_else_is_named_with_its_owner(case: &Case) -> Verdict {
    for (source, can_read) in [("/etc", true), ("/root", false)] {
        let owner = std::fs::metadata(source)?;
        if owner.uid() != 0 || (owner.mode() & 0o005 != 0) != can_read {
            return skip(format!("{source} is not as usual here"));
        }
        let mut bundle = mapped(case)?;
        bundle.bind(Path::new(source), "/mnt", &[]);
        if case.is_root() && !bundle.inside("/mnt").exists() {
            let point = check(case, &bundle)?;
            equal("exit status", point.status, 1)?;
            says(
                point.of("mount-point")?,
                "message",
                &["making the mount point /mnt"],
            )?;
            case.run_call(&bundle)?.run()?.refused()?;
        }
        bundle.mkdir("/mnt")?;
        let found = check(case, &bundle)?;
        let warning = found.about_mounts()?;
        equal("severity", text(warning, "severity"), "warning")?;
        equal("exit status", found.status, 0)?;
        let mode = format!("mode {:04o}", owner.mode() & 0o7777);
        let words = [source, "uid 0", &mode, "not in the container's id map"];
        says(warning, "message", &words)?;
        let last = if can_read {
            "cannot write to it"
        } else {
            "can neither read it nor write to it"
        };
        says(warning, "message", &[last])?;
        let asks = [
            Ask::Stat("/mnt".into()),
            Ask::List("/mnt".into()),
            Ask::Create("/mnt/new".into()),
        ];
        let answers = case.run(&mut bundle, &asks)?;
        equal("owner inside", answers[0].stat()?.uid, 65534)?;
        equal("it can be listed", answers[1].names().is_ok(), can_read)?;
        equal("errno of a write", answers[2].errno(), nix::libc::EACCES)?;
    }
    let mut bundle = mapped(case)?;
    bundle.bind(Path::new("/etc"), "/mnt", &["ro"]);
    let found = check(case, &bundle)?;
    holds(
        found.about_mounts().is_err(),
        "what is only read is no finding",
    )
}

fn a_profile_of_apparmor_is_named_unless_it_is_loaded(case: &Case) -> Verdict {
    let name = format!("{}-checked", case.id);
    let profile = Profile::load(case, &name)?;
    let mut bundle = case.bundle()?;
    bundle.process()["apparmorProfile"] = json!(name);
    let found = check(case, &bundle)?;
    equal("errors", found.errors(), Vec::<&str>::new())?;
    drop(profile);
    let found = check(case, &bundle)?;
    let error = found.of("labels")?;
    equal("errno", text(error, "errno"), "ENOENT")?;
    says(error, "hint", &["not loaded"])
}

fn without_a_bundle_the_host_is_looked_at(case: &Case) -> Verdict {
    check(case, &case.bundle()?)?;
    let folder = case.folder("empty")?;
    let outcome = case.runtime(["check"]).cwd(folder).run()?.succeeded()?;
    let sums = outcome.stdout.lines().last().unwrap_or_default();
    holds(
        sums.starts_with("0 errors"),
        format!("the last line: {}", outcome.told()),
    )
}

fn a_bundle_that_cannot_be_read_is_a_finding(case: &Case) -> Verdict {
    check(case, &case.bundle()?)?;
    let folder = case.folder("empty")?;
    let call = case.runtime(["check", "--json", "--bundle"]).arg(&folder);
    let outcome = call.run()?.ended_with(1)?;
    let list: Vec<Value> = serde_json::from_str(&outcome.stdout).doing(outcome.told())?;
    equal("findings", list.len(), 1)?;
    equal("errno", text(&list[0], "errno"), "ENOENT")?;
    let outcome = case.runtime(["check"]).arg("--bundle").arg(&folder).run()?;
    let first = outcome.ended_with(1)?.stdout;
    holds(first.starts_with("error: open("), format!("text: {first}"))
}
