//! Rights given up for good, so each test runs again in a process of its own.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;

use super::capabilities::{self, set_ids_and_capabilities};
use super::{keyring, limits};
use crate::plan::process::{Capabilities, Process, Rlimit};
use crate::sys::capability::{self, Sets};

const CHOWN: u64 = 1;
const KILL: u64 = 1 << 5;
const SETPCAP: u64 = 1 << 8;
const NET_BIND_SERVICE: u64 = 1 << 10;

/// Runs the test that calls this, by its `name`, in a process of its own, and comes back there
/// with true. Not without root, who has the rights to give up.
fn alone(name: &str) -> bool {
    const MARK: &str = "RT_TEST_ALONE";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let have = capability::get().unwrap().effective;
    if !nix::unistd::geteuid().is_root() || have & SETPCAP == 0 {
        eprintln!("skipped: not root");
        return false;
    }
    let test = format!("security::tests::{name}");
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && text.contains("1 passed"), "{text}");
    false
}

fn own() -> File {
    File::open("/proc/self").unwrap()
}

fn process(uid: u32, capabilities: Capabilities) -> Process {
    Process {
        args: vec![c"true".into()],
        env: Vec::new(),
        home_missing: false,
        cwd: c"/".into(),
        uid,
        gid: 1000,
        groups: Some(vec![5, 7]),
        umask: 0o022,
        terminal: None,
        capabilities,
        no_new_privileges: false,
        rlimits: Vec::new(),
        oom_score_adj: None,
        scheduler: None,
        io_priority: None,
        affinity_initial: None,
        affinity_final: None,
        apparmor_profile: None,
        selinux_label: None,
        keyring: None,
        personality: None,
        memory_policy: None,
        seccomp: None,
        uid_ranges: Vec::new(),
    }
}

/// The fields of this thread's status, without the blanks between numbers.
fn status() -> HashMap<String, String> {
    let text = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| {
            let words: Vec<&str> = value.split_whitespace().collect();
            (name.to_owned(), words.join(" "))
        })
        .collect()
}

fn set(status: &HashMap<String, String>, name: &str) -> u64 {
    u64::from_str_radix(&status[name], 16).unwrap()
}

fn sets(status: &HashMap<String, String>) -> [u64; 5] {
    ["CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb"].map(|name| set(status, name))
}

#[test]
fn a_user_gets_exactly_its_ids_and_sets() {
    if !alone("a_user_gets_exactly_its_ids_and_sets") {
        return;
    }
    let wanted = Capabilities {
        bounding: CHOWN | KILL | NET_BIND_SERVICE,
        permitted: CHOWN | KILL,
        effective: CHOWN,
        inheritable: KILL,
        ambient: KILL,
    };
    set_ids_and_capabilities(&process(1000, wanted), Some(own().as_fd())).unwrap();
    let now = status();
    assert_eq!(
        sets(&now),
        [
            CHOWN | KILL | NET_BIND_SERVICE,
            CHOWN | KILL,
            CHOWN,
            KILL,
            KILL
        ]
    );
    assert_eq!(now["Uid"], "1000 1000 1000 1000");
    assert_eq!(now["Gid"], "1000 1000 1000 1000");
    assert_eq!(now["Groups"], "5 7");
}

#[test]
fn a_user_without_capabilities_has_none_and_cannot_become_root() {
    if !alone("a_user_without_capabilities_has_none_and_cannot_become_root") {
        return;
    }
    set_ids_and_capabilities(&process(1000, Capabilities::default()), Some(own().as_fd())).unwrap();
    assert_eq!(sets(&status()), [0; 5]);
    nix::unistd::setuid(nix::unistd::Uid::from_raw(0)).unwrap_err();
}

/// CVE-2022-29162.
#[test]
fn what_the_caller_passed_on_is_not_inheritable() {
    if !alone("what_the_caller_passed_on_is_not_inheritable") {
        return;
    }
    let have = capability::get().unwrap();
    capability::set(Sets {
        inheritable: CHOWN | KILL,
        ..have
    })
    .unwrap();
    capability::raise_ambient(0).unwrap();
    let both = CHOWN | KILL;
    let wanted = Capabilities {
        bounding: both,
        permitted: both,
        effective: both,
        inheritable: 0,
        ambient: 0,
    };
    set_ids_and_capabilities(&process(0, wanted), Some(own().as_fd())).unwrap();
    assert_eq!(sets(&status()), [both, both, both, 0, 0]);
}

#[test]
fn an_ambient_capability_of_the_caller_goes_though_it_stays_inheritable() {
    if !alone("an_ambient_capability_of_the_caller_goes_though_it_stays_inheritable") {
        return;
    }
    let have = capability::get().unwrap();
    capability::set(Sets {
        inheritable: CHOWN | KILL,
        ..have
    })
    .unwrap();
    capability::raise_ambient(0).unwrap();
    let both = CHOWN | KILL;
    let wanted = Capabilities {
        bounding: both,
        permitted: both,
        effective: both,
        inheritable: both,
        ambient: KILL,
    };
    set_ids_and_capabilities(&process(0, wanted), Some(own().as_fd())).unwrap();
    assert_eq!(set(&status(), "CapAmb"), KILL);
}

#[test]
fn what_cannot_be_granted_does_not_end_the_start() {
    if !alone("what_cannot_be_granted_does_not_end_the_start") {
        return;
    }
    let some = Capabilities {
        bounding: CHOWN,
        permitted: CHOWN,
        effective: CHOWN,
        ..Capabilities::default()
    };
    set_ids_and_capabilities(&process(1000, some), Some(own().as_fd())).unwrap();
    let all = Capabilities {
        bounding: !0,
        permitted: !0,
        effective: !0,
        inheritable: !0,
        ambient: !0,
    };
    capabilities::apply(&all, 0).unwrap();
    let now = status();
    assert_eq!(sets(&now), [CHOWN; 5]);
}

#[test]
fn a_hard_limit_is_raised_with_the_right_alone_and_the_hint_has_both_values() {
    if !alone("a_hard_limit_is_raised_with_the_right_alone_and_the_hint_has_both_values") {
        return;
    }
    let limit = |value| Rlimit {
        resource: libc::RLIMIT_NOFILE,
        name: "RLIMIT_NOFILE",
        soft: 64,
        hard: value,
    };
    limits::limit_descriptors(&[limit(100)]).unwrap();
    set_ids_and_capabilities(&process(1000, Capabilities::default()), Some(own().as_fd())).unwrap();
    let error = limits::set_rlimits(&[limit(100), limit(101)]).unwrap_err();
    assert_eq!(error.pointer(), Some("/process/rlimits/1"));
    assert_eq!(
        error.to_string(),
        "process.rlimits[1]: prlimit(RLIMIT_NOFILE, soft=64, hard=101): Operation not permitted"
    );
    let hint = error.hint().unwrap();
    assert!(
        hint.contains(" is 100 here") && hint.contains("(101 asked"),
        "{hint}"
    );
}

#[test]
fn a_session_keyring_is_found_again_by_its_name() {
    if !alone("a_session_keyring_is_found_again_by_its_name") {
        return;
    }
    let name = c"_ses.rt-test-of-the-keyring";
    keyring::make_session(name, keyring::Searcher::User).unwrap();
    let Ok(made) = crate::sys::keyring::join_session(name) else {
        eprintln!("skipped: no keyrings here");
        return;
    };
    let before = crate::sys::keyring::describe(made).unwrap();
    keyring::make_session(name, keyring::Searcher::Anybody).unwrap();
    let after = crate::sys::keyring::describe(made).unwrap();
    let permissions = |text: &str| {
        let field = text.split(';').nth(3).unwrap();
        u32::from_str_radix(field, 16).unwrap()
    };
    assert_eq!(permissions(&before) & 0x0008_0008, 0x0008_0000, "{before}");
    assert_eq!(permissions(&after) & 0x0008_0008, 0x0008_0008, "{after}");
}
