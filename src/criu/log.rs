//! CRIU's own log, which alone knows why something could not be dumped or restored.
//!
//! Runs in: parent.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// A log of millions of lines explains itself at its end.
const READ_BYTES: u64 = 256 << 10;

/// So many lines of it are in an error.
const LINES: usize = 4;

/// Lines that only say that it failed, and one that CRIU itself goes on after: a root without
/// CAP_SYS_RESOURCE cannot raise its own limit.
const SAYS_NOTHING: [&str; 5] = [
    "Can't setup RLIMIT_NOFILE for self",
    "Dumping FAILED",
    "Pre-dumping FAILED",
    "Restoring FAILED",
    "Can't do CMD_",
];

/// The lines of the log that explain a failure, in one line. None where there are none.
pub fn explanation(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(READ_BYTES)))
        .ok()?;
    let mut bytes = Vec::new();
    file.take(READ_BYTES).read_to_end(&mut bytes).ok()?;
    explain(&String::from_utf8_lossy(&bytes))
}

fn explain(log: &str) -> Option<String> {
    let mut lines: Vec<&str> = Vec::new();
    for line in log.lines() {
        // `(00.012345)     77: Error (criu/mount.c:12): mnt: text`
        let Some(start) = line.find("Error (") else {
            continue;
        };
        let line = line[start..].trim_end();
        if !SAYS_NOTHING.iter().any(|words| line.contains(words)) && !lines.contains(&line) {
            lines.push(line);
        }
    }
    if lines.is_empty() {
        return None;
    }
    // What went wrong first is the cause; what came last is nearest to the end.
    let first = lines.len().min(LINES / 2);
    let last = lines.len().saturating_sub(LINES / 2).max(first);
    let mut shown = lines[..first].join("; ");
    if last > first {
        shown.push_str("; …");
    }
    for line in &lines[last..] {
        shown.push_str("; ");
        shown.push_str(line);
    }
    Some(shown.replace(char::is_control, " "))
}

/// What CRIU's own words do not say: a part of them, and a remedy.
const REMEDIES: [(&str, &str); 4] = [
    (
        "kerndat",
        "this CRIU does not know this kernel: `criu check` says more, and a newer CRIU may",
    ),
    (
        "has bad size",
        "a stream that was a file of the host has to be the same file again, opened to append, or another of its size",
    ),
    (
        // A dump that serves its own pages asks for a pipe of 819 pages, which become 4 MiB, and
        // does not look whether it got one.
        "page-pipe: splice",
        "to serve pages this CRIU wants a pipe of 4 MiB: run rt with CAP_SYS_RESOURCE, or set fs.pipe-max-size to 4194304",
    ),
    (
        "iptables",
        "the network is locked by a program that is missing: install it, or choose another way by --network-lock",
    ),
];

/// A remedy for what the log says.
pub fn remedy(explanation: &str) -> Option<&'static str> {
    let mut known = REMEDIES.iter();
    known
        .find(|(part, _)| explanation.contains(part))
        .map(|(_, remedy)| *remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_that_explain_are_found_and_the_rest_is_left_out() {
        let log = "(00.000001) Version: 4.1\n\
                   (00.012345) Error (criu/sk-inet.c:191): inet: Connected TCP socket\n\
                   (00.012346)     77: Error (criu/x.c:2): cause\tb\n\
                   (00.012346)     78: Error (criu/x.c:2): cause\tb\n\
                   (00.012347) Error (criu/cr-dump.c:2098): Dumping FAILED.\n";
        assert_eq!(
            explain(log).unwrap(),
            "Error (criu/sk-inet.c:191): inet: Connected TCP socket; Error (criu/x.c:2): cause b"
        );
        assert_eq!(
            explain("(00.1) Error (criu/cr-dump.c:1): Dumping FAILED.\n"),
            None
        );
        assert_eq!(explain(""), None);
    }

    #[test]
    fn of_many_lines_the_first_and_the_last_are_kept() {
        let log: String = (0..9).map(|n| format!("Error (c:{n}): e\n")).collect();
        assert_eq!(
            explain(&log).unwrap(),
            "Error (c:0): e; Error (c:1): e; …; Error (c:7): e; Error (c:8): e"
        );
        let three: String = (0..3).map(|n| format!("Error (c:{n}): e\n")).collect();
        assert_eq!(
            explain(&three).unwrap(),
            "Error (c:0): e; Error (c:1): e; Error (c:2): e"
        );
    }

    #[test]
    fn what_criu_does_not_explain_has_a_remedy() {
        let said = "Error (criu/kerndat.c:1615): kerndat_vdso_fill_symtable failed";
        assert!(remedy(said).is_some_and(|remedy| remedy.contains("newer CRIU")));
        let said = "Error (criu/page-pipe.c:424): page-pipe: splice: -1: Bad file descriptor";
        assert!(remedy(said).is_some_and(|remedy| remedy.contains("fs.pipe-max-size")));
        assert_eq!(remedy("Error (criu/x.c:1): else"), None);
    }
}
