//! config-linux.md#containerprocessstate: the agent of SCMP_ACT_NOTIFY, what it is told, and what it may be asked.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::bundle::Bundle;
use crate::harness::call::{Outcome, Running};
use crate::harness::case::Case;
use crate::harness::console::{FdSocket, receive_fd_from};
use crate::harness::container::parse_line;
use crate::harness::verdict::{Doing, Verdict, equal, fail, holds, skip};
use crate::probe::ask::Ask;
use crate::sys;
use crate::tests;

tests! {
    "config-linux.md#containerprocessstate" Must an_agent_is_told_of_create;
    "config-linux.md#containerprocessstate" Must an_agent_is_told_of_run;
    "config-linux.md#containerprocessstate" Must an_agent_is_told_of_exec;
    "config-linux.md#seccomp" Must an_agent_may_be_asked_about_sendmsg_and_write;
    "config-linux.md#seccomp" Must an_agent_may_be_asked_about_everything;
    "config-linux.md#seccomp" Must a_listener_takes_every_flag;
}

const MKDIR: [&str; 2] = ["mkdir", "mkdirat"];

fn mkdir() -> Ask {
    Ask::Mkdir("/tmp/new".into())
}

/// An agent that lets everything go on but mkdir.
struct Agent<'a> {
    case: &'a Case,
    socket: FdSocket<'a>,
    /// Connections over which nothing has come yet.
    silent: Vec<UnixStream>,
    listeners: Vec<Listener>,
    /// The calls that it was asked about.
    asked: BTreeSet<i64>,
}

/// What came over one connection.
struct Listener {
    fd: OwnedFd,
    told: Value,
    /// Who has asked to make a folder.
    makers: BTreeSet<i64>,
}

impl<'a> Agent<'a> {
    fn listen(case: &'a Case) -> Verdict<Self> {
        Ok(Self {
            case,
            socket: FdSocket::listen(case)?,
            silent: Vec::new(),
            listeners: Vec::new(),
            asked: BTreeSet::new(),
        })
    }

    /// A bundle whose profile puts these calls to the agent.
    fn bundle(&self, name: &str, calls: &[&str]) -> Verdict<Bundle> {
        let mut bundle = self.case.bundle_named(name)?;
        bundle.linux()["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": self.socket.path(),
            "listenerMetadata": "what only the agent understands",
            "syscalls": [{"names": calls, "action": "SCMP_ACT_NOTIFY"}],
        });
        Ok(bundle)
    }

    /// Answers until the runtime has ended.
    fn attend(&mut self, running: Running<'_>) -> Verdict<Outcome> {
        let pidfd = sys::pidfd_open(running.pid())?;
        let soon = || Instant::now() + Duration::from_millis(5);
        while !sys::readable_before(pidfd.as_fd(), soon())? && Instant::now() < self.case.deadline {
            self.look_round()?;
        }
        // What was sent last, where the runtime ended at once.
        self.look_round()?;
        running.wait()
    }

    /// Takes what has come, and answers what is asked.
    fn look_round(&mut self) -> Verdict {
        if self.socket.has_connection()? {
            self.silent.push(self.socket.accept()?);
        }
        for stream in std::mem::take(&mut self.silent) {
            if !sys::readable_before(stream.as_fd(), Instant::now())? {
                self.silent.push(stream);
                continue;
            }
            let (fd, text) = receive_fd_from(&stream)?;
            self.listeners.push(Listener {
                fd,
                told: serde_json::from_str(&text).doing(&text)?,
                makers: BTreeSet::new(),
            });
        }
        for listener in &mut self.listeners {
            self.asked.extend(listener.answer()?);
        }
        Ok(())
    }

    /// What the one listener was sent with.
    fn only(&self) -> Verdict<&Listener> {
        match &self.listeners[..] {
            [only] => Ok(only),
            all => fail(format!("{} listeners were sent", all.len())),
        }
    }
}

impl Listener {
    /// Answers what is waiting; the numbers of the calls.
    fn answer(&mut self) -> Verdict<Vec<i64>> {
        let mut asked = Vec::new();
        while sys::readable_before(self.fd.as_fd(), Instant::now())? {
            // ENOENT: whoever asked is gone.
            let Ok(notice) = sys::receive_notice(self.fd.as_fd()) else {
                break;
            };
            let call = i64::from(notice.call);
            let makes = call == libc::SYS_mkdirat || call == MKDIR_NUMBER;
            if makes {
                self.makers.insert(i64::from(notice.pid));
            }
            asked.push(call);
            let errno = if makes { libc::EXDEV } else { 0 };
            let _ = sys::answer_notice(self.fd.as_fd(), &notice, errno);
        }
        Ok(asked)
    }

    /// Holds the message against the specification's words, field by field.
    fn judge(&self, case: &Case, bundle: &Bundle, status: &str) -> Verdict {
        let told = &self.told;
        equal("fds", &told["fds"], &json!(["seccompFd"]))?;
        equal(
            "metadata",
            &told["metadata"],
            &json!("what only the agent understands"),
        )?;
        let state = &told["state"];
        for version in [&told["ociVersion"], &state["ociVersion"]] {
            let is_one = version.as_str().is_some_and(|text| text.starts_with("1."));
            holds(is_one, format!("ociVersion is {version}"))?;
        }
        equal("state.id", &state["id"], &json!(case.id))?;
        equal("state.bundle", &state["bundle"], &json!(bundle.dir))?;
        equal("state.status", &state["status"], &json!(status))?;
        equal(
            "state.annotations",
            &state["annotations"],
            &json!({"org.example": "kept"}),
        )
    }

    fn pid(&self) -> i64 {
        self.told["pid"].as_i64().unwrap_or(0)
    }

    fn init(&self) -> i64 {
        self.told["state"]["pid"].as_i64().unwrap_or(0)
    }
}

/// mkdir(2) of x86_64; other architectures have mkdirat(2) alone.
#[cfg(target_arch = "x86_64")]
const MKDIR_NUMBER: i64 = libc::SYS_mkdir;
#[cfg(not(target_arch = "x86_64"))]
const MKDIR_NUMBER: i64 = libc::SYS_mkdirat;

fn annotated(mut bundle: Bundle) -> Bundle {
    bundle.config["annotations"] = json!({"org.example": "kept"});
    bundle
}

fn an_agent_is_told_of_create(case: &Case) -> Verdict {
    let mut agent = Agent::listen(case)?;
    let mut bundle = annotated(agent.bundle("bundle", &MKDIR)?);
    bundle.args(&["/bin/probe", "hang"]);
    agent
        .attend(case.create_call(&bundle)?.start()?)?
        .succeeded()?;
    let listener = agent.only()?;
    listener.judge(case, &bundle, "creating")?;
    let state = case.runtime(["state", &case.id]).run()?.succeeded()?;
    let state: Value = serde_json::from_str(&state.stdout).doing(&state.stdout)?;
    equal("pid", listener.pid(), state["pid"].as_i64().unwrap_or(0))?;
    equal("state.pid", listener.init(), listener.pid())
}

fn an_agent_is_told_of_run(case: &Case) -> Verdict {
    let mut agent = Agent::listen(case)?;
    let mut bundle = annotated(agent.bundle("bundle", &MKDIR)?);
    bundle.answers(&[mkdir()])?;
    let outcome = agent
        .attend(case.run_call(&bundle)?.start()?)?
        .succeeded()?;
    parse_line(&outcome.stdout, 1)?[0].failed_with("mkdir", &[libc::EXDEV])?;
    let listener = agent.only()?;
    listener.judge(case, &bundle, "creating")?;
    equal("state.pid", listener.init(), listener.pid())?;
    equal(
        "who asked",
        &listener.makers,
        &BTreeSet::from([listener.pid()]),
    )
}

fn an_agent_is_told_of_exec(case: &Case) -> Verdict {
    let mut agent = Agent::listen(case)?;
    let mut bundle = annotated(agent.bundle("bundle", &MKDIR)?);
    bundle.args(&["/bin/probe", "hang"]);
    agent
        .attend(case.create_call(&bundle)?.start()?)?
        .succeeded()?;
    agent
        .attend(case.runtime(["start", &case.id]).start()?)?
        .succeeded()?;
    let init = agent.only()?.pid();
    agent.listeners.clear();
    let asks = serde_json::to_string(&[mkdir()])?;
    let exec = case.runtime(["exec", &case.id, "/bin/probe", "answer", &asks]);
    let outcome = agent.attend(exec.start()?)?.succeeded()?;
    parse_line(&outcome.stdout, 1)?[0].failed_with("mkdir", &[libc::EXDEV])?;
    let listener = agent.only()?;
    listener.judge(case, &bundle, "running")?;
    equal("state.pid", listener.init(), init)?;
    holds(listener.pid() != init, "pid is that of the container")?;
    equal(
        "who asked",
        &listener.makers,
        &BTreeSet::from([listener.pid()]),
    )
}

/// The container's whole life under a profile that asks the agent about the runtime's own calls.
fn live(agent: &mut Agent, bundle: &mut Bundle) -> Verdict {
    let case = agent.case;
    bundle.args(&["/bin/probe", "hang"]);
    agent
        .attend(case.create_call(bundle)?.start()?)?
        .succeeded()?;
    agent
        .attend(case.runtime(["start", &case.id]).start()?)?
        .succeeded()?;
    let asks = serde_json::to_string(&[mkdir()])?;
    let exec = case.runtime(["exec", &case.id, "/bin/probe", "answer", &asks]);
    let outcome = agent.attend(exec.start()?)?.succeeded()?;
    parse_line(&outcome.stdout, 1)?[0].failed_with("mkdir", &[libc::EXDEV])?;
    holds(
        agent.asked.contains(&libc::SYS_write),
        format!("the agent was asked about {:?}", agent.asked),
    )?;
    let delete = case.runtime(["delete", "--force", &case.id]);
    agent.attend(delete.start()?)?.succeeded()?;
    agent.listeners.clear();
    Ok(())
}

/// The calls by which the listener itself has to be handed over.
fn an_agent_may_be_asked_about_sendmsg_and_write(case: &Case) -> Verdict {
    let mut agent = Agent::listen(case)?;
    for no_new_privileges in [true, false] {
        let calls = ["sendmsg", "write", "mkdir", "mkdirat"];
        let mut bundle = agent.bundle(&format!("nnp-{no_new_privileges}"), &calls)?;
        bundle.process()["noNewPrivileges"] = json!(no_new_privileges);
        live(&mut agent, &mut bundle)?;
    }
    Ok(())
}

fn an_agent_may_be_asked_about_everything(case: &Case) -> Verdict {
    let mut agent = Agent::listen(case)?;
    for no_new_privileges in [true, false] {
        let mut bundle = agent.bundle(&format!("nnp-{no_new_privileges}"), &[])?;
        bundle.linux()["seccomp"]["defaultAction"] = json!("SCMP_ACT_NOTIFY");
        bundle.process()["noNewPrivileges"] = json!(no_new_privileges);
        live(&mut agent, &mut bundle)?;
    }
    Ok(())
}

/// TSYNC goes with a listener from Linux 5.7 on, WAIT_KILLABLE_RECV is of 5.19.
fn a_listener_takes_every_flag(case: &Case) -> Verdict {
    let release = nix::sys::utsname::uname()?;
    let release = release.release().to_string_lossy();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|n| n.parse::<u32>().ok());
    if (numbers.next(), numbers.next()) < (Some(5), Some(19)) {
        return skip("WAIT_KILLABLE_RECV is of Linux 5.19");
    }
    let mut agent = Agent::listen(case)?;
    let mut bundle = agent.bundle("bundle", &MKDIR)?;
    bundle.linux()["seccomp"]["flags"] = json!([
        "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    ]);
    bundle.answers(&[mkdir()])?;
    let outcome = agent
        .attend(case.run_call(&bundle)?.start()?)?
        .succeeded()?;
    parse_line(&outcome.stdout, 1)?[0].failed_with("mkdir", &[libc::EXDEV])
}
