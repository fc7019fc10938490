//! Reaching the host's tree through descriptors and directories that the runtime has open

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::json;

use crate::harness::capability::{NAMES, have};
use crate::harness::case::Case;
use crate::harness::container::parse_line;
use crate::harness::verdict::{Verdict, equal, fail, skip};
use crate::probe::ask::{Answer, Ask};
use crate::tests;

tests! {
    "CVE-2024-21626" Attack a_cwd_of_a_leaked_descriptor_is_not_on_the_host;
    "CVE-2024-21626" Attack a_cwd_of_a_descriptor_that_the_caller_leaked_is_not_on_the_host;
    "CVE-2024-21626, CVE-2024-45310" Attack a_cwd_that_is_missing_is_not_made_on_the_host;
    "CVE-2024-21626" Attack an_exec_cwd_of_a_leaked_descriptor_is_not_on_the_host;
    "CVE-2024-21626" Attack a_program_below_a_leaked_descriptor_is_not_run;
    "CVE-2024-21626" Attack a_cwd_link_to_a_leaked_descriptor_is_not_on_the_host;
    "CVE-2016-9962" Attack the_host_cannot_be_reached_through_an_exec_that_comes_in;
    "CVE-2016-9962" Attack the_host_cannot_be_reached_with_ptrace_either;
    "CVE-2016-9962" Attack the_host_cannot_be_reached_through_a_container_that_joins_the_pod;
    "" Attack the_callers_command_line_is_not_to_be_read_in_the_pod;
    "" Attack a_device_as_a_stream_does_not_become_the_payloads;
}

const SECRET: &str = "secret of the host";

/// A file of the host, and ways to it from a working directory on the host.
fn secret(case: &Case) -> Verdict<(PathBuf, Vec<Ask>)> {
    let path = case.file("secret", SECRET)?;
    let relative = path.to_string_lossy().trim_start_matches('/').to_owned();
    let asks = vec![
        Ask::Read(PathBuf::from(&relative)),
        Ask::Read(PathBuf::from(format!("{}{relative}", "../".repeat(12)))),
        Ask::Read(PathBuf::from("secret")),
    ];
    Ok((path, asks))
}

/// Fails when one of the answers on standard output is the secret.
fn nothing_seen(stdout: &str, count: usize, how: &str) -> Verdict {
    let Some(line) = stdout.lines().find(|line| line.starts_with('[')) else {
        return Ok(());
    };
    let seen = parse_line(line, count)?
        .iter()
        .any(|answer| matches!(answer, Answer::Text(text) if text == SECRET));
    if seen {
        fail(format!("the payload read a file of the host by {how}"))
    } else {
        Ok(())
    }
}

fn a_cwd_of_a_leaked_descriptor_is_not_on_the_host(case: &Case) -> Verdict {
    let (_, asks) = secret(case)?;
    for fd in 3..16 {
        let mut bundle = case.bundle_named(&format!("bundle{fd}"))?;
        let cwd = format!("/proc/self/fd/{fd}");
        bundle.process()["cwd"] = json!(cwd);
        bundle.answers(&asks)?;
        let outcome = case.run_call(&bundle)?.run()?;
        nothing_seen(&outcome.stdout, asks.len(), &cwd)?;
    }
    Ok(())
}

fn a_cwd_of_a_descriptor_that_the_caller_leaked_is_not_on_the_host(case: &Case) -> Verdict {
    let (_, asks) = secret(case)?;
    for fd in [3, 7, 11, 200] {
        let mut bundle = case.bundle_named(&format!("bundle{fd}"))?;
        let cwd = format!("/proc/self/fd/{fd}");
        bundle.process()["cwd"] = json!(cwd);
        bundle.answers(&asks)?;
        let outcome = case.run_call(&bundle)?.fd(File::open("/")?, fd).run()?;
        nothing_seen(&outcome.stdout, asks.len(), &cwd)?;
    }
    Ok(())
}

/// A working directory that is not there is made, by init, which still has descriptors of its own.
fn a_cwd_that_is_missing_is_not_made_on_the_host(case: &Case) -> Verdict {
    let outside = case.folder("outside")?;
    let below = outside.to_string_lossy().trim_start_matches('/').to_owned();
    // A process of the host, by whose root a descriptor of the host's /proc leads there.
    let own = std::process::id();
    for fd in 3..10 {
        for way in [format!("{own}/root"), format!("../{own}/root"), "..".into()] {
            let mut bundle = case.bundle_named("bundle")?;
            bundle.symlink(format!("/proc/self/fd/{fd}/{way}/{below}"), "/work")?;
            bundle.process()["cwd"] = json!(format!("/work/made{fd}/deep"));
            bundle.answers(&[Ask::Process])?;
            case.run_call(&bundle)?.run()?;
            if let Some(entry) = std::fs::read_dir(&outside)?.next() {
                let made = entry?.file_name();
                return fail(format!(
                    "init made {made:?} on the host by descriptor {fd}, {way}"
                ));
            }
            std::fs::remove_dir_all(&bundle.dir)?;
        }
    }
    Ok(())
}

fn an_exec_cwd_of_a_leaked_descriptor_is_not_on_the_host(case: &Case) -> Verdict {
    let (_, asks) = secret(case)?;
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    let text = serde_json::to_string(&asks)?;
    for fd in 3..16 {
        let cwd = format!("/proc/self/fd/{fd}");
        let call = case.runtime([
            "exec",
            "--cwd",
            &cwd,
            &container.id,
            "/bin/probe",
            "answer",
            &text,
        ]);
        // The caller's own leak makes it as easy as it can be.
        let outcome = call.fd(File::open("/")?, 7).run()?;
        nothing_seen(&outcome.stdout, asks.len(), &cwd)?;
    }
    Ok(())
}

fn a_program_below_a_leaked_descriptor_is_not_run(case: &Case) -> Verdict {
    let probe = case
        .host_probe()
        .to_string_lossy()
        .trim_start_matches('/')
        .to_owned();
    for fd in 3..12 {
        let mut bundle = case.bundle_named(&format!("bundle{fd}"))?;
        let program = format!("/proc/self/fd/{fd}/{probe}");
        bundle.args(&[&program, "exit", "77"]);
        let outcome = case.run_call(&bundle)?.fd(File::open("/")?, fd).run()?;
        if outcome.status == 77 {
            return fail(format!("a program of the host ran inside: {program}"));
        }
    }
    Ok(())
}

fn a_cwd_link_to_a_leaked_descriptor_is_not_on_the_host(case: &Case) -> Verdict {
    let (_, asks) = secret(case)?;
    for fd in 3..10 {
        let mut bundle = case.bundle_named(&format!("bundle{fd}"))?;
        bundle.symlink(format!("/proc/self/fd/{fd}"), "/work")?;
        bundle.process()["cwd"] = json!("/work");
        bundle.answers(&asks)?;
        let outcome = case.run_call(&bundle)?.fd(File::open("/")?, fd).run()?;
        nothing_seen(&outcome.stdout, asks.len(), "a link in the root")?;
    }
    Ok(())
}

/// The payload looks at every process that comes into its pid namespace, with the same capabilities as these.
fn reach_host(case: &Case, without: &str) -> Verdict {
    let (path, _) = secret(case)?;
    let mut bundle = case.bundle()?;
    let names: Vec<&str> = NAMES
        .iter()
        .copied()
        .filter(|name| have(name) && *name != without)
        .collect();
    bundle.capabilities(&names);
    let mut container = case.started(&mut bundle)?;
    container.tell(&[Ask::ReachHostFile {
        path,
        within_ms: 2500,
    }])?;
    for _ in 0..20 {
        case.runtime(["exec", &container.id, "/bin/probe", "exit", "0"])
            .run()?;
    }
    match &parse_line(&container.line()?, 1)?[0] {
        Answer::Text(text) => fail(format!("the payload read {text:?} of the host")),
        _ => Ok(()),
    }
}

fn the_host_cannot_be_reached_through_an_exec_that_comes_in(case: &Case) -> Verdict {
    // Without this one only that the processes are not dumpable protects them.
    reach_host(case, "CAP_SYS_PTRACE")
}

fn the_host_cannot_be_reached_with_ptrace_either(case: &Case) -> Verdict {
    // With it nothing hides them: they must have left the host's tree before they come in.
    reach_host(case, "")
}

/// The second container of a pod is made inside the first one's user and pid namespaces, where the first one may trace it.
fn the_host_cannot_be_reached_through_a_container_that_joins_the_pod(case: &Case) -> Verdict {
    let (path, _) = secret(case)?;
    let (mut one, mut two) = (case.bundle_named("one")?, case.bundle_named("two")?);
    if case.is_root() {
        one.namespace("user");
        one.linux()["uidMappings"] = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
        one.linux()["gidMappings"] = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
    }
    let names: Vec<&str> = NAMES.iter().copied().filter(|name| have(name)).collect();
    one.capabilities(&names);
    let mut first = case.create_named(&mut one, &format!("{}-1", case.id))?;
    first.start()?;
    first.ask_one(Ask::Process)?;
    let pid = first.pid()?;
    if let Some(linux) = two.linux().as_object_mut() {
        linux.remove("uidMappings");
        linux.remove("gidMappings");
    }
    for kind in ["user", "pid"] {
        two.join_namespace(kind, &format!("/proc/{pid}/ns/{kind}"));
    }
    two.args(&["/bin/probe", "exit", "0"]);
    first.tell(&[Ask::ReachHostFile {
        path,
        within_ms: 2500,
    }])?;
    for _ in 0..20 {
        case.run_call(&two)?.run()?;
    }
    match &parse_line(&first.line()?, 1)?[0] {
        Answer::Text(text) => fail(format!("the first container read {text:?} of the host")),
        _ => Ok(()),
    }
}

/// The second container waits to be started in the first one's pid namespace, where /proc shows its init.
fn the_callers_command_line_is_not_to_be_read_in_the_pod(case: &Case) -> Verdict {
    case.need_root()?;
    let (mut one, mut two) = (case.bundle_named("one")?, case.bundle_named("two")?);
    let mut first = case.create_named(&mut one, &format!("{}-1", case.id))?;
    first.start()?;
    first.ask_one(Ask::Process)?;
    two.join_namespace("pid", &format!("/proc/{}/ns/pid", first.pid()?));
    let _second = case.create_named(&mut two, &format!("{}-2", case.id))?;
    let entries = first.ask_one(Ask::List("/proc".into()))?;
    let names = entries.names()?.iter();
    let pids = names.filter(|name| name.parse::<u32>().is_ok());
    let lines: Vec<Ask> = pids
        .map(|pid| Ask::Read(format!("/proc/{pid}/cmdline").into()))
        .collect();
    let bundle = two.dir.display().to_string();
    for answer in first.ask(&lines)? {
        if let Answer::Text(line) = answer
            && line.contains(&bundle)
        {
            return fail(format!("a process of the pod shows {line:?}"));
        }
    }
    Ok(())
}

/// Who owns a device of the host's can close it to everybody else.
fn a_device_as_a_stream_does_not_become_the_payloads(case: &Case) -> Verdict {
    case.need_root()?;
    let mut bundle = case.bundle()?;
    bundle.process()["user"] = json!({"uid": 1000, "gid": 1000});
    bundle.args(&["/bin/probe", "exit", "17"]);
    let zero = case.dir.join("zero");
    let mode = Mode::from_bits_truncate(0o666);
    if let Err(errno) = mknod(&zero, SFlag::S_IFCHR, mode, makedev(1, 5)) {
        return skip(format!("no node of a device can be made: {errno}"));
    }
    let device = File::options().read(true).write(true).open(&zero)?;
    let call = case.run_call(&bundle)?.stdin(device);
    call.run()?.ended_with(17)?;
    equal("the owner", zero.metadata()?.uid(), 0)
}
