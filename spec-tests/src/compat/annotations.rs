//! Annotations that are addressed to the runtime: crun's run.oci.*

use std::collections::BTreeSet;
use std::os::fd::AsFd;

use serde_json::json;

use crate::harness::bundle::Bundle;
use crate::harness::case::Case;
use crate::harness::console::FdSocket;
use crate::harness::container::parse_line;
use crate::harness::verdict::{Doing, Verdict, equal, fail, holds};
use crate::probe::ask::Ask;
use crate::sys;
use crate::tests;

tests! {
    "crun(1)" Compat what_hooks_print_goes_to_the_files_of_the_annotations;
    "crun(1)" Compat a_file_for_hooks_that_cannot_be_opened_is_an_error;
    "crun(1)" Compat the_groups_of_the_caller_are_kept;
    "crun(1)" Compat the_groups_of_the_caller_are_dropped_otherwise;
    "crun(1)" Compat a_raw_seccomp_program_takes_the_place_of_the_profile;
    "crun(1)" Compat a_raw_seccomp_program_that_is_broken_is_an_error;
    "crun(1)" Compat the_seccomp_receiver_of_the_annotation_gets_the_listener;
    "crun(1)" Compat the_seccomp_receiver_of_the_environment_is_remembered_for_exec;
    "crun(1)" Compat unknown_system_calls_can_be_made_an_error;
    "config.md#annotations" Must unknown_annotations_are_tolerated_without_a_word;
}

fn annotate(bundle: &mut Bundle, key: &str, value: impl serde::Serialize) {
    bundle.config["annotations"][key] = json!(value);
}

fn what_hooks_print_goes_to_the_files_of_the_annotations(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let (out, err) = (case.dir.join("hooks.out"), case.dir.join("hooks.err"));
    annotate(&mut bundle, "run.oci.hooks.stdout", &out);
    annotate(&mut bundle, "run.oci.hooks.stderr", &err);
    let kinds = [
        "prestart",
        "createRuntime",
        "createContainer",
        "startContainer",
        "poststart",
        "poststop",
    ];
    for kind in kinds {
        let print = |fd, text: String| Ask::WriteFd { fd, text };
        let asks = [
            Ask::ReadFd(0),
            print(1, format!("{kind} out\n")),
            print(2, format!("{kind} err\n")),
        ];
        let asks = serde_json::to_string(&asks)?;
        let path = match kind {
            "startContainer" => "/bin/probe".into(),
            _ => case.host_probe().to_owned(),
        };
        let args = ["probe", "answer", &asks];
        bundle.hook(kind, json!({"path": path, "args": args}));
    }
    let container = case.started(&mut bundle)?;
    container.stop()?;
    container.delete()?;
    for (path, word) in [(out, "out"), (err, "err")] {
        let text = std::fs::read_to_string(&path).doing(path.display())?;
        // In which order hooks run is another test's matter.
        let seen: BTreeSet<&str> = text.lines().filter(|line| line.ends_with(word)).collect();
        let expected = kinds.map(|kind| format!("{kind} {word}"));
        let expected: BTreeSet<&str> = expected.iter().map(String::as_str).collect();
        equal(word, seen, expected)?;
    }
    Ok(())
}

fn a_file_for_hooks_that_cannot_be_opened_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    annotate(&mut bundle, "run.oci.hooks.stdout", "/nonexistent/file");
    bundle.hook(
        "prestart",
        json!({"path": case.host_probe(), "args": ["probe", "exit", "0"]}),
    );
    case.create_refused(bundle.serves())?
        .says(&["/nonexistent/file"])
        .map(drop)
}

/// The groups of a payload that is run by a caller with the groups 70 and 71.
fn groups_under(case: &Case, bundle: &mut Bundle) -> Verdict<Vec<u32>> {
    case.need_root()?;
    bundle.answers(&[Ask::Process])?;
    let outcome = case
        .run_call(bundle)?
        .through(["setpriv", "--groups", "70,71"])
        .run()?
        .succeeded()?;
    Ok(parse_line(&outcome.stdout, 1)?.remove(0).process()?.groups)
}

fn the_groups_of_the_caller_are_kept(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    annotate(&mut bundle, "run.oci.keep_original_groups", "1");
    equal("the groups", groups_under(case, &mut bundle)?, [70, 71])
}

fn the_groups_of_the_caller_are_dropped_otherwise(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    equal(
        "the groups",
        groups_under(case, &mut bundle)?,
        Vec::<u32>::new(),
    )
}

/// getpgid(2) fails with EXDEV, all else is allowed.
fn refuses_getpgid() -> String {
    const LOAD_NUMBER: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let errno = 0x0005_0000 | libc::EXDEV as u32;
    let program: [(u16, u8, u8, u32); 4] = [
        (LOAD_NUMBER, 0, 0, 0),
        (JUMP_IF_EQUAL, 0, 1, libc::SYS_getpgid as u32),
        (RETURN, 0, 0, errno),
        (RETURN, 0, 0, 0x7fff_0000),
    ];
    let bytes: Vec<u8> = program
        .iter()
        .flat_map(|(code, jt, jf, k)| {
            [&code.to_ne_bytes()[..], &[*jt, *jf], &k.to_ne_bytes()].concat()
        })
        .collect();
    base64(&bytes)
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let part = |n: usize| u32::from(group.get(n).copied().unwrap_or(0));
        let word = part(0) << 16 | part(1) << 8 | part(2);
        for n in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * n)) as usize & 63];
            text.push(if n <= group.len() { digit.into() } else { '=' });
        }
    }
    text
}

fn a_raw_seccomp_program_takes_the_place_of_the_profile(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    annotate(&mut bundle, "run.oci.seccomp_bpf_data", refuses_getpgid());
    // It would kill the payload at once.
    bundle.linux()["seccomp"] = json!({"defaultAction": "SCMP_ACT_KILL_PROCESS"});
    let mut container = case.started(&mut bundle)?;
    let getpgid = || Ask::Call {
        number: libc::SYS_getpgid,
        args: [0; 6],
    };
    let refused = [libc::EXDEV];
    container
        .ask_one(getpgid())?
        .failed_with("getpgid", &refused)?;
    container.exec(&[], &[getpgid()])?[0].failed_with("getpgid in exec", &refused)
}

fn a_raw_seccomp_program_that_is_broken_is_an_error(case: &Case) -> Verdict {
    // The last two have a jump and a load where a return has to be.
    for data in ["not base64!", "AAAA", "BQAAAAEAAAA=", "IAAAAAAAAAA="] {
        let mut bundle = case.bundle_named(&format!("bundle-{}", data.len()))?;
        annotate(&mut bundle, "run.oci.seccomp_bpf_data", data);
        case.create_refused(bundle.serves())?;
        std::fs::remove_dir_all(&bundle.dir)?;
    }
    Ok(())
}

fn the_seccomp_receiver_of_the_annotation_gets_the_listener(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let socket = FdSocket::listen(case)?;
    annotate(&mut bundle, "run.oci.seccomp.receiver", socket.path());
    bundle.linux()["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["getpgid"], "action": "SCMP_ACT_NOTIFY"}],
    });
    let mut container = case.create(&mut bundle)?;
    container.start()?;
    let (listener, _) = socket.receive_fd()?;
    container.tell(&[Ask::Call {
        number: libc::SYS_getpgid,
        args: [0; 6],
    }])?;
    if !sys::readable_before(listener.as_fd(), case.deadline)? {
        return fail("the call was not handed to the listener");
    }
    let notice = sys::receive_notice(listener.as_fd())?;
    sys::answer_notice(listener.as_fd(), &notice, libc::EXDEV)?;
    parse_line(&container.line()?, 1)?[0].failed_with("getpgid", &[libc::EXDEV])
}

fn unknown_annotations_are_tolerated_without_a_word(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    annotate(&mut bundle, "run.oci.nonsense", "1");
    annotate(&mut bundle, "org.example.nonsense", "1");
    bundle.args(&["/bin/probe", "exit", "6"]);
    let outcome = case.run_call(&bundle)?.run()?.ended_with(6)?;
    holds(outcome.stderr.is_empty(), outcome.told())
}

fn the_seccomp_receiver_of_the_environment_is_remembered_for_exec(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let socket = FdSocket::listen(case)?;
    bundle.linux()["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["getpgid"], "action": "SCMP_ACT_NOTIFY"}],
    });
    bundle.serves().write()?;
    let call = case
        .runtime(["create", "--bundle"])
        .arg(&bundle.dir)
        .arg(&case.id)
        .env("RUN_OCI_SECCOMP_RECEIVER", &socket.path().to_string_lossy());
    let container = case.create_with(call, &case.id)?;
    container.start()?;
    let (_first, _) = socket.receive_fd()?;
    let ask = serde_json::to_string(&[Ask::Call {
        number: libc::SYS_getpgid,
        args: [0; 6],
    }])?;
    let exec = case
        .runtime(["exec", &container.id, "/bin/probe", "answer", &ask])
        .start()?;
    // One that has forgotten the agent lets its process hang, or go.
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while !socket.has_connection()? {
        if std::time::Instant::now() > patience {
            return fail("nobody connected to the agent for exec");
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let (listener, _) = socket.receive_fd()?;
    if !sys::readable_before(listener.as_fd(), case.deadline)? {
        return fail("the call was not handed to the listener");
    }
    let notice = sys::receive_notice(listener.as_fd())?;
    sys::answer_notice(listener.as_fd(), &notice, libc::EXDEV)?;
    let outcome = exec.wait()?.succeeded()?;
    parse_line(&outcome.stdout, 1)?[0].failed_with("getpgid", &[libc::EXDEV])
}

fn unknown_system_calls_can_be_made_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.linux()["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["no_such_call"], "action": "SCMP_ACT_ERRNO"}],
    });
    bundle.args(&["/bin/probe", "exit", "6"]);
    case.run_call(&bundle)?.run()?.ended_with(6)?;
    annotate(&mut bundle, "run.oci.seccomp_fail_unknown_syscall", "1");
    case.create_refused(&bundle).map(drop)
}
