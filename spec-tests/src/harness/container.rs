//! A container of a test, and talking with the probe in it.
//!
//! Runs in: the worker.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;

use nix::fcntl::OFlag;
use nix::unistd::{Pid, pipe2};
use serde_json::Value;

use super::bundle::Bundle;
use super::call::{Call, Outcome};
use super::case::Case;
use super::verdict::{Doing, Stop, Verdict, fail, skip};
use crate::probe::ask::{Answer, Ask, Mount, Process, Stat};
use crate::sys;

pub struct Container<'a> {
    case: &'a Case,
    pub id: String,
    questions: Option<File>,
    answers: Option<File>,
    /// What the probe wrote after the last whole line.
    rest: Vec<u8>,
}

impl Case {
    /// Runs the bundle to its end with the payload answering these.
    pub fn run(&self, bundle: &mut Bundle, asks: &[Ask]) -> Verdict<Vec<Answer>> {
        bundle.answers(asks)?;
        let outcome = self.run_call(bundle)?.run()?.succeeded()?;
        parse_answers(&outcome, asks.len())
    }

    /// The default bundle runs: a runtime that refuses everything has not withstood an attack.
    pub fn control(&self) -> Verdict {
        let mut bundle = self.bundle_named("control")?;
        bundle.args(&["/bin/probe", "exit", "17"]);
        self.run_call(&bundle)?.run()?.ended_with(17).map(drop)
    }

    /// Like `run`, for one question.
    pub fn run_one(&self, bundle: &mut Bundle, ask: Ask) -> Verdict<Answer> {
        Ok(self.run(bundle, &[ask])?.remove(0))
    }

    /// The payload's own process, as the default question.
    pub fn run_process(&self, bundle: &mut Bundle) -> Verdict<Process> {
        self.run_one(bundle, Ask::Process)?.process()
    }

    /// A foreground `run` of the bundle as it is, ready to be started.
    pub fn run_call(&self, bundle: &Bundle) -> Verdict<Call<'_>> {
        bundle.write()?;
        Ok(self
            .runtime(["run", "--bundle"])
            .arg(&bundle.dir)
            .arg(&self.id))
    }

    /// `create` as it is, ready to be started.
    pub fn create_call(&self, bundle: &Bundle) -> Verdict<Call<'_>> {
        bundle.write()?;
        Ok(self
            .runtime(["create", "--bundle"])
            .arg(&bundle.dir)
            .arg(&self.id))
    }

    /// `create` must fail with words and leave nothing; answers what it said.
    pub fn create_refused(&self, bundle: &Bundle) -> Verdict<Outcome> {
        let outcome = self.create_call(bundle)?.run()?.refused()?;
        if self.runtime(["state", &self.id]).run()?.status == 0 {
            return fail(format!("there is a container after: {}", outcome.told()));
        }
        Ok(outcome)
    }

    /// A created container whose probe serves.
    pub fn create(&self, bundle: &mut Bundle) -> Verdict<Container<'_>> {
        self.create_named(bundle, &self.id.clone())
    }

    /// The same under another id, which must contain the test's.
    pub fn create_named(&self, bundle: &mut Bundle, id: &str) -> Verdict<Container<'_>> {
        bundle.serves();
        bundle.write()?;
        self.create_with(
            self.runtime(["create", "--bundle"])
                .arg(&bundle.dir)
                .arg(id),
            id,
        )
    }

    /// Carries out this call of `create`, or of `run --detach`, with pipes to the probe.
    pub fn create_with<'a>(&'a self, call: Call<'a>, id: &str) -> Verdict<Container<'a>> {
        let (stdin, questions) = pipe2(OFlag::O_CLOEXEC)?;
        let (answers, stdout) = pipe2(OFlag::O_CLOEXEC)?;
        call.stdin(stdin).stdout(stdout).run()?.succeeded()?;
        Ok(Container {
            case: self,
            id: id.to_owned(),
            questions: Some(File::from(questions)),
            answers: Some(File::from(answers)),
            rest: Vec::new(),
        })
    }

    /// A container that runs and whose probe has answered: start may return before execve.
    pub fn started(&self, bundle: &mut Bundle) -> Verdict<Container<'_>> {
        let mut container = self.create(bundle)?;
        container.start()?;
        container.ask_one(Ask::Process)?;
        Ok(container)
    }
}

impl Container<'_> {
    /// A verb with the container's id after it.
    pub fn verb(&self, verb: &str) -> Call<'_> {
        self.case.runtime([verb, self.id.as_str()])
    }

    pub fn start(&self) -> Verdict {
        self.verb("start").run()?.succeeded().map(drop)
    }

    /// What `state` prints.
    pub fn state(&self) -> Verdict<Value> {
        let outcome = self.verb("state").run()?.succeeded()?;
        serde_json::from_str(&outcome.stdout).doing(outcome.told())
    }

    pub fn status(&self) -> Verdict<String> {
        let state = self.state()?;
        state["status"]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| Stop::Fail(format!("no status in {state}")))
    }

    /// The pid of the container's first process on the host.
    pub fn pid(&self) -> Verdict<Pid> {
        let state = self.state()?;
        let pid = state["pid"]
            .as_i64()
            .and_then(|pid| i32::try_from(pid).ok())
            .filter(|pid| *pid > 0);
        pid.map(Pid::from_raw)
            .ok_or_else(|| Stop::Fail(format!("no pid in {state}")))
    }

    /// Asks the probe of a started container.
    pub fn ask(&mut self, asks: &[Ask]) -> Verdict<Vec<Answer>> {
        self.tell(asks)?;
        let line = self.line()?;
        parse_line(&line, asks.len())
    }

    pub fn ask_one(&mut self, ask: Ask) -> Verdict<Answer> {
        Ok(self.ask(&[ask])?.remove(0))
    }

    /// The probe moves into namespaces of its own, the user namespace among them, in which it is root, may set no
    /// groups, and has the one id that it had.
    pub fn leaves_for_its_own(&mut self, id: u32, namespaces: i32) -> Verdict {
        let write = |name: &str, text: &str| Ask::Write {
            path: format!("/proc/self/{name}").into(),
            text: text.into(),
        };
        let unshare = Ask::Call {
            number: libc::SYS_unshare,
            args: [namespaces as u64, 0, 0, 0, 0, 0],
        };
        if let Answer::Error { errno } = self.ask_one(unshare)? {
            return skip(format!("a payload makes no user namespace: {errno}"));
        }
        let map = format!("0 {id} 1");
        let asks = [
            write("setgroups", "deny"),
            write("uid_map", &map),
            write("gid_map", &map),
        ];
        self.ask(&asks)?.iter().try_for_each(Answer::done)
    }

    /// Sends the question without waiting for the answer.
    pub fn tell(&mut self, asks: &[Ask]) -> Verdict {
        let mut text = serde_json::to_string(asks)?;
        text.push('\n');
        let Some(pipe) = &mut self.questions else {
            return fail("the probe's standard input is closed");
        };
        pipe.write_all(text.as_bytes()).doing("asking the probe")
    }

    /// The next line that the payload writes.
    pub fn line(&mut self) -> Verdict<String> {
        let Some(pipe) = &mut self.answers else {
            return fail("the probe's standard output is closed");
        };
        let mut buffer = [0u8; 65536];
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            if !sys::readable_before(pipe.as_fd(), self.case.deadline)? {
                return fail("the probe did not answer before the test's deadline");
            }
            match pipe.read(&mut buffer)? {
                0 => return fail("the payload ended instead of answering"),
                got => self.rest.extend_from_slice(&buffer[..got]),
            }
        }
    }

    /// Ends the probe by the end of its standard input.
    pub fn hang_up(&mut self) {
        self.questions = None;
    }

    pub fn kill(&self, signal: &str) -> Verdict {
        self.verb("kill").arg(signal).run()?.succeeded().map(drop)
    }

    pub fn wait_stopped(&self) -> Verdict {
        self.case.wait_for("status stopped", || {
            Ok((self.status()? == "stopped").then_some(()))
        })
    }

    /// Ends the payload by SIGKILL and waits until the container is stopped.
    pub fn stop(&self) -> Verdict {
        self.kill("KILL")?;
        self.wait_stopped()
    }

    pub fn delete(&self) -> Verdict {
        self.verb("delete").run()?.succeeded().map(drop)
    }

    /// `exec` of a probe with these flags, to its end.
    pub fn exec(&self, flags: &[&str], asks: &[Ask]) -> Verdict<Vec<Answer>> {
        let asks_text = serde_json::to_string(asks)?;
        let call = self.case.runtime(["exec"]).args(flags).arg(&self.id).args([
            "/bin/probe",
            "answer",
            &asks_text,
        ]);
        parse_answers(&call.run()?.succeeded()?, asks.len())
    }

    pub fn exec_process(&self, flags: &[&str]) -> Verdict<Process> {
        self.exec(flags, &[Ask::Process])?.remove(0).process()
    }
}

fn parse_answers(outcome: &Outcome, count: usize) -> Verdict<Vec<Answer>> {
    let Some(line) = outcome.stdout.lines().find(|line| line.starts_with('[')) else {
        return fail(format!("the probe did not answer: {}", outcome.told()));
    };
    parse_line(line, count)
}

/// One answer line of the probe.
pub fn parse_line(line: &str, count: usize) -> Verdict<Vec<Answer>> {
    let answers: Vec<Answer> =
        serde_json::from_str(line).doing(format!("answer of the probe {line:?}"))?;
    if answers.len() == count {
        Ok(answers)
    } else {
        fail(format!("{} answers, not {count}", answers.len()))
    }
}

impl Answer {
    fn wanted<T>(&self, what: &str) -> Verdict<T> {
        match self {
            Self::Error { errno } => fail(format!(
                "the probe wanted {what} and got: {}",
                nix::Error::from_raw(*errno).desc()
            )),
            other => fail(format!("the probe answered {other:?}, not {what}")),
        }
    }

    pub fn process(&self) -> Verdict<Process> {
        match self {
            Self::Process(process) => Ok((**process).clone()),
            other => other.wanted("its process"),
        }
    }

    pub fn mounts(&self) -> Verdict<&[Mount]> {
        match self {
            Self::Mounts(mounts) => Ok(mounts),
            other => other.wanted("the mounts"),
        }
    }

    pub fn stat(&self) -> Verdict<&Stat> {
        match self {
            Self::Stat(stat) => Ok(stat),
            other => other.wanted("stat"),
        }
    }

    pub fn text(&self) -> Verdict<&str> {
        match self {
            Self::Text(text) => Ok(text),
            other => other.wanted("text"),
        }
    }

    pub fn names(&self) -> Verdict<&[String]> {
        match self {
            Self::Names(names) => Ok(names),
            other => other.wanted("names"),
        }
    }

    pub fn number(&self) -> Verdict<i64> {
        match self {
            Self::Number(number) => Ok(*number),
            other => other.wanted("a number"),
        }
    }

    pub fn done(&self) -> Verdict {
        match self {
            Self::Done => Ok(()),
            other => other.wanted("success"),
        }
    }

    /// 0 unless the call failed.
    pub fn errno(&self) -> i32 {
        match self {
            Self::Error { errno } => *errno,
            _ => 0,
        }
    }

    /// Fails unless the call failed with one of these.
    pub fn failed_with(&self, what: &str, errnos: &[i32]) -> Verdict {
        if errnos.contains(&self.errno()) {
            return Ok(());
        }
        let names: Vec<&str> = errnos
            .iter()
            .map(|errno| nix::Error::from_raw(*errno).desc())
            .collect();
        fail(format!("{what}: {self:?}, not {names:?}"))
    }
}

/// The topmost mount at a path.
pub fn mount_at<'a>(mounts: &'a [Mount], target: &str) -> Verdict<&'a Mount> {
    mounts
        .iter()
        .rev()
        .find(|mount| mount.target == target)
        .ok_or_else(|| Stop::Fail(format!("nothing is mounted at {target}")))
}
