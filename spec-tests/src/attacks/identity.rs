//! Users, capabilities and mappings that come out other than written

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use nix::libc;
use serde_json::json;

use crate::harness::call::Outcome;
use crate::harness::case::Case;
use crate::harness::container::parse_line;
use crate::harness::verdict::{Doing, Verdict, equal, fail, holds, skip};
use crate::probe::ask::{Answer, Ask};
use crate::tests;

tests! {
    "CVE-2022-29162, CVE-2022-27650" Attack exec_with_a_capability_sets_no_inheritable_one;
    "CVE-2022-29162, CVE-2022-27650" Attack exec_with_a_capability_sets_no_ambient_one;
    "CVE-2026-30892" Attack exec_as_a_number_alone_is_that_user;
    "CVE-2026-30892" Attack exec_as_something_that_is_no_number_is_an_error;
    "CVE-2016-3697" Attack digits_are_an_id_even_if_passwd_has_such_a_name;
    "CVE-2021-43784" Attack a_mapping_that_is_too_long_is_refused;
    "" Attack the_callers_groups_stay_out_of_a_namespace_of_the_payloads;
    "" Attack a_keyring_of_another_user_is_not_the_payloads;
    "" Attack a_keyring_of_another_user_is_not_that_of_exec;
    "" Attack a_pipe_as_passwd_does_not_hang_the_runtime;
}

fn exec_with_a_capability_sets_no_inheritable_one(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    equal(
        "CapInh",
        container
            .exec_process(&["--cap", "CAP_CHOWN"])?
            .bits("CapInh"),
        Some(0),
    )
}

fn exec_with_a_capability_sets_no_ambient_one(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    equal(
        "CapAmb",
        container
            .exec_process(&["--cap", "CAP_CHOWN"])?
            .bits("CapAmb"),
        Some(0),
    )
}

fn exec_as_a_number_alone_is_that_user(case: &Case) -> Verdict {
    case.need_root()?;
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    for (text, uid) in [("1", 1), ("1000", 1000), ("65534", 65534)] {
        equal(
            &format!("uid for {text}"),
            container.exec_process(&["--user", text])?.uid,
            uid,
        )?;
    }
    Ok(())
}

fn exec_as_something_that_is_no_number_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    for text in [
        "1x",
        "x",
        "1:y",
        "-1",
        "0x10",
        "4294967296",
        "1:2:3",
        ":5",
        "1000 ",
    ] {
        let outcome = case
            .runtime([
                "exec",
                "--user",
                text,
                &container.id,
                "/bin/probe",
                "exit",
                "0",
            ])
            .run()?;
        if outcome.status == 0 {
            return fail(format!("it ran as {text:?}"));
        }
    }
    Ok(())
}

fn digits_are_an_id_even_if_passwd_has_such_a_name(case: &Case) -> Verdict {
    case.need_root()?;
    let mut bundle = case.bundle()?;
    bundle.file("/etc/passwd", "1000:x:0:0:root:/root:/bin/sh\n")?;
    bundle.file("/etc/group", "1001:x:0:\n")?;
    let container = case.started(&mut bundle)?;
    let process = container.exec_process(&["--user", "1000:1001"])?;
    equal("uid and gid", (process.uid, process.gid), (1000, 1001))
}

fn a_mapping_that_is_too_long_is_refused(case: &Case) -> Verdict {
    case.need_root()?;
    let mut bundle = case.bundle()?;
    bundle.namespace("user");
    // More than the kernel takes, and longer than any 16 bit length.
    let rows: Vec<_> = (0..6000)
        .map(|number| json!({"containerID": number, "hostID": 200_000 + number, "size": 1}))
        .collect();
    bundle.linux()["uidMappings"] = json!(rows);
    bundle.linux()["gidMappings"] = json!(rows);
    case.create_refused(&bundle).map(drop)
}

/// The payload moves into a user namespace of its own, in which nobody can set groups, and waits for an exec by root.
fn the_callers_groups_stay_out_of_a_namespace_of_the_payloads(case: &Case) -> Verdict {
    case.need_root()?;
    let mut bundle = case.bundle()?;
    bundle.process()["user"] = json!({"uid": 1000, "gid": 1000});
    let mut container = case.started(&mut bundle)?;
    container.leaves_for_its_own(1000, libc::CLONE_NEWUSER)?;
    let look = serde_json::to_string(&[Ask::Process])?;
    let exec = [
        "exec",
        "--user",
        "0:0",
        &container.id,
        "/bin/probe",
        "answer",
    ];
    let outcome = case
        .runtime(exec)
        .arg(look)
        .through(["setpriv", "--groups=0,6,42"])
        .run()?;
    let Some(line) = outcome.stdout.lines().find(|line| line.starts_with('[')) else {
        return Ok(());
    };
    let process = parse_line(line, 1)?.remove(0).process()?;
    holds(
        process.groups.is_empty(),
        format!("the process has the groups {:?}", process.groups),
    )
}

/// Another user has guessed the container's name, and has a keyring of the name that runc and crun give theirs.
fn a_keyring_of_another_user_is_not_the_payloads(case: &Case) -> Verdict {
    // Not a name that was used before: that keyring may be there for a moment yet.
    let id = format!("{}-keys", case.id);
    let stranger = Stranger::with_keyring_of(case, &id)?;
    let mut bundle = case.bundle()?;
    bundle.answers(&[SESSION_KEYRING])?.write()?;
    let call = case.runtime(["run", "--bundle"]).arg(&bundle.dir).arg(&id);
    let outcome = call.run()?;
    stranger.has_not_the_keyring_of(&outcome)
}

/// The same once the container runs, and has left the keyring that it was given.
fn a_keyring_of_another_user_is_not_that_of_exec(case: &Case) -> Verdict {
    let id = format!("{}-keys", case.id);
    let mut container = case.create_named(&mut case.bundle()?, &id)?;
    container.start()?;
    container.ask_one(Ask::ServeAnew(Box::new(Ask::Process)))?;
    // The kernel lets it go some time after its last process has.
    case.wait_for("the end of the container's keyring", || {
        let keys = std::fs::read_to_string("/proc/keys")?;
        Ok((!keys.contains(&format!("_ses.{id}"))).then_some(()))
    })?;
    let stranger = Stranger::with_keyring_of(case, &id)?;
    let ask = serde_json::to_string(&[SESSION_KEYRING])?;
    let exec = case.runtime(["exec", &id, "/bin/probe", "answer", &ask]);
    stranger.has_not_the_keyring_of(&exec.run()?)
}

/// keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING).
const SESSION_KEYRING: Ask = Ask::Call {
    number: libc::SYS_keyctl,
    args: [0, -3_i64 as u64, 0, 0, 0, 0],
};

/// A process of another user, with a session keyring that everybody may find.
struct Stranger {
    process: Child,
    keyring: i64,
}

impl Stranger {
    fn with_keyring_of(case: &Case, id: &str) -> Verdict<Self> {
        case.need_root()?;
        let probe = case.dir.join("probe");
        std::fs::copy(case.host_probe(), &probe)?;
        let make = serde_json::to_string(&[Ask::PublicKeyring(format!("_ses.{id}"))])?;
        let mut process = Command::new("setpriv")
            .args(["--reuid=1234", "--regid=1234", "--clear-groups"])
            .arg(&probe)
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .doing("setpriv")?;
        let (Some(questions), Some(answers)) = (&mut process.stdin, &mut process.stdout) else {
            return fail("no pipes to the other user");
        };
        writeln!(questions, "{make}")?;
        let mut line = String::new();
        BufReader::new(answers).read_line(&mut line)?;
        match &parse_line(&line, 1)?[0] {
            Answer::Number(keyring) => Ok(Self {
                process,
                keyring: *keyring,
            }),
            answer => skip(format!("another user makes no keyring: {answer:?}")),
        }
    }

    /// Nothing was answered, or another number than that of this one's keyring.
    fn has_not_the_keyring_of(mut self, outcome: &Outcome) -> Verdict {
        // Its end of input ends it.
        drop(self.process.stdin.take());
        self.process.wait()?;
        let Some(line) = outcome.stdout.lines().find(|line| line.starts_with('[')) else {
            return Ok(());
        };
        let own = parse_line(line, 1)?[0].number()?;
        holds(
            own != self.keyring,
            "the payload's keyring is another user's",
        )
    }
}

fn a_pipe_as_passwd_does_not_hang_the_runtime(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    for name in ["/etc/passwd", "/etc/group"] {
        nix::unistd::mkfifo(
            &bundle.inside(name),
            nix::sys::stat::Mode::from_bits_truncate(0o644),
        )?;
    }
    bundle.answers(&[Ask::Process])?;
    let limit = case.patience().as_secs().max(1).to_string();
    // timeout(1) says 124 when it had to end the runtime.
    let outcome = case
        .run_call(&bundle)?
        .through(["timeout", "--signal=KILL", &limit])
        .run()?;
    holds(
        ![124, 137].contains(&outcome.status),
        format!("the runtime waits for a writer: {}", outcome.told()),
    )
}
