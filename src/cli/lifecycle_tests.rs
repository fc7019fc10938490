//! The verbs that act on a container, on one whose init is a `sleep` of this test's.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command};

use nix::unistd::Pid;

use super::parse::{Parsed, parse};
use crate::error::{Kind, Result};
use crate::state::{Identity, Phase, Record, Root};

struct Scene {
    directory: PathBuf,
    init: Child,
}

impl Scene {
    /// A running container `a`.
    fn new(name: &str, change: impl FnOnce(&mut Record)) -> Scene {
        let directory = std::env::temp_dir().join(format!("rt-cli-{name}-{}", std::process::id()));
        let init = Command::new("sleep").arg("60").spawn().unwrap();
        let scene = Scene { directory, init };
        let mut record = Record::new("a", "/bundle".into(), "/bundle/rootfs".into());
        record.init = Identity::of(Pid::from_raw(scene.init.id() as i32)).unwrap();
        record.phase = Phase::Created;
        record.private_pid_namespace = true;
        change(&mut record);
        let slot = scene.root().reserve("a").unwrap();
        slot.save(&record).unwrap();
        slot.keep();
        scene
    }

    fn root(&self) -> Root {
        Root::new(&self.directory).unwrap()
    }

    fn rt(&self, line: &str) -> Result<u8> {
        let mut words: Vec<OsString> = vec!["rt".into(), "--root".into()];
        words.push(self.directory.clone().into());
        words.extend(line.split_whitespace().map(OsString::from));
        match parse(words)? {
            // Not `Call::run`: it may start the program again, which here is all of the tests.
            Parsed::Call(mut call) => (call.entry.run)(&mut call.matches, &call.global),
            _ => panic!("{line}"),
        }
    }

    fn refusal(&self, line: &str) -> String {
        match self.rt(line) {
            Ok(status) => panic!("{line}: {status}"),
            Err(e) => e.to_string(),
        }
    }

    fn signal_that_ended_init(&mut self) -> Option<i32> {
        self.init.wait().unwrap().signal()
    }

    fn is_running(&mut self) -> bool {
        self.init.try_wait().unwrap().is_none()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.init.kill();
        let _ = self.init.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn kill_sends_the_signal_that_is_named_and_term_where_none_is() {
    for (line, expected) in [
        ("kill a", libc::SIGTERM),
        ("kill a usr1", libc::SIGUSR1),
        ("kill a 9", libc::SIGKILL),
        ("kill --all a SIGUSR2", libc::SIGUSR2),
    ] {
        let mut scene = Scene::new("kill", |_| {});
        assert_eq!(scene.rt("kill a 0"), Ok(0));
        assert!(scene.is_running());
        assert_eq!(scene.rt(line), Ok(0), "{line}");
        assert_eq!(scene.signal_that_ended_init(), Some(expected), "{line}");
        assert_eq!(
            scene.refusal("kill a"),
            r#"kill "a": container not running"#
        );
        assert_eq!(scene.rt("kill --all a KILL"), Ok(0));
    }
}

#[test]
fn a_later_process_with_the_same_number_is_left_alone() {
    let mut scene = Scene::new("reuse", |record| {
        if let Some(init) = &mut record.init {
            init.start_time -= 1;
        }
    });
    assert!(
        scene
            .refusal("kill a KILL")
            .contains("container not running")
    );
    assert_eq!(scene.rt("delete --force a"), Ok(0));
    assert!(scene.is_running());
}

#[test]
fn delete_wants_a_stopped_container_unless_forced() {
    let mut scene = Scene::new("delete", |_| {});
    assert_eq!(
        scene.refusal("delete a"),
        "cannot delete container a that is not stopped: running"
    );
    assert!(scene.is_running());
    assert_eq!(scene.rt("delete --force a"), Ok(0));
    assert_eq!(scene.signal_that_ended_init(), Some(libc::SIGKILL));
    assert!(scene.root().list().unwrap().is_empty());
    assert_eq!(scene.rt("delete --force a"), Ok(0));
    assert_eq!(scene.refusal("delete a"), r#"container "a" does not exist"#);
}

#[test]
fn what_a_killed_create_left_is_removed() {
    for line in ["delete a", "delete -f a"] {
        let mut scene = Scene::new("half", |record| {
            record.phase = Phase::Creating;
            record.init = None;
        });
        assert_eq!(scene.rt(line), Ok(0), "{line}");
        assert!(scene.is_running());
    }
    let scene = Scene::new("empty", |_| {});
    std::fs::create_dir(scene.directory.join("b")).unwrap();
    assert_eq!(scene.rt("delete -f b"), Ok(0));
    assert!(!scene.directory.join("b").exists());
}

#[test]
fn a_container_in_the_wrong_state_is_told_so() {
    let scene = Scene::new("state", |_| {});
    for (line, words) in [
        ("resume a", "container not paused: running"),
        ("pause a", "has no cgroup"),
        ("kill a NOPE", "unknown signal \"NOPE\""),
        ("kill b", "container \"b\" does not exist"),
        ("state ../a", "invalid container ID format"),
        ("delete -f ../a", "invalid container ID format"),
        ("update a", "has no cgroup"),
        ("mounts add a F", "open(\"F\"): No such file"),
        (
            "kill --regex a( 9",
            "--regex: regcomp(\"a(\"): Unmatched ( or \\(",
        ),
        ("kill --regex a NOPE", "unknown signal \"NOPE\""),
    ] {
        assert!(
            scene.refusal(line).contains(words),
            "{line}: {}",
            scene.refusal(line)
        );
    }
    let Err(error) = scene.rt("kill b") else {
        panic!()
    };
    assert_eq!(error.kind(), Kind::NoSuchContainer);
}
