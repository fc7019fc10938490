//! Logs that go to a daemon, as crun writes them: --log syslog:NAME and journald:NAME

use std::os::unix::net::UnixDatagram;
use std::path::Path;

use crate::harness::case::Case;
use crate::harness::verdict::{Doing, Verdict, equal, fail, holds};
use crate::sys;
use crate::tests;

tests! {
    "crun(1)" Compat the_log_may_be_named_as_a_file;
    "crun(1)" Compat errors_go_to_the_journal;
    "crun(1)" Compat errors_go_to_syslog;
    "crun(1)" Compat an_unknown_kind_of_log_is_an_error;
}

/// What a runtime says of a container that is not there.
fn has_message(text: &str) -> bool {
    let words = ["does not exist", "No such file or directory"];
    words.iter().any(|words| text.contains(words))
}

fn the_log_may_be_named_as_a_file(case: &Case) -> Verdict {
    let log = case.dir.join("log");
    let place = format!("file:{}", log.display());
    case.runtime(["start", &case.id])
        .globals(["--log", &place])
        .run()?
        .refused()?;
    let text = std::fs::read_to_string(&log).doing(log.display())?;
    holds(has_message(&text), format!("the log is {text:?}"))
}

/// The datagram that a daemon at `path` gets from a call that fails, in a mount namespace where
/// nothing else is there but what `prepare` makes.
fn datagram(case: &Case, path: &str, prepare: &str, log: &str) -> Verdict<Vec<u8>> {
    use std::os::fd::AsFd;
    case.need_root()?;
    let socket = case.dir.join("daemon.sock");
    let daemon = UnixDatagram::bind(&socket)?;
    let script = format!(
        "set -e; {prepare}; : > {path}; mount --bind {} {path}; exec \"$@\"",
        socket.display()
    );
    let outcome = case
        .runtime(["start", &case.id])
        .globals(["--log", log])
        .through([
            "unshare",
            "-m",
            "--propagation",
            "private",
            "sh",
            "-c",
            &script,
            "sh",
        ])
        .run()?
        .refused()?;
    if !sys::readable_before(daemon.as_fd(), std::time::Instant::now())? {
        return fail(format!("nothing came to {path}: {}", outcome.told()));
    }
    let mut buffer = vec![0; 65536];
    let length = daemon.recv(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

fn errors_go_to_the_journal(case: &Case) -> Verdict {
    let path = "/run/systemd/journal/socket";
    let prepare = "mount -t tmpfs none /run; mkdir -p /run/systemd/journal";
    let bytes = datagram(case, path, prepare, "journald:some-name")?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    holds(
        lines.contains(&"PRIORITY=3"),
        format!("no priority in {text:?}"),
    )?;
    holds(text.contains("some-name"), format!("no name in {text:?}"))?;
    holds(has_message(&text), format!("no message in {text:?}"))
}

fn errors_go_to_syslog(case: &Case) -> Verdict {
    if !Path::new("/dev/null").exists() {
        return fail("no /dev/null");
    }
    let prepare = "mount -t tmpfs none /dev; mknod -m 666 /dev/null c 1 3";
    let bytes = datagram(case, "/dev/log", prepare, "syslog:some-name")?;
    let text = String::from_utf8_lossy(&bytes);
    // Severity error; which facility is the runtime's choice.
    let priority = text
        .strip_prefix('<')
        .and_then(|rest| rest.split_once('>'))
        .and_then(|(number, _)| number.parse::<u32>().ok());
    equal("severity", priority.map(|number| number % 8), Some(3))?;
    holds(text.contains("some-name"), format!("no name in {text:?}"))?;
    holds(has_message(&text), format!("no message in {text:?}"))
}

fn an_unknown_kind_of_log_is_an_error(case: &Case) -> Verdict {
    case.runtime(["list"])
        .globals(["--log", "nonsense:x/y"])
        .run()?
        .refused()
        .map(drop)
}
