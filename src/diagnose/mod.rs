//! Why it did not work, and what to do.
//!
//! Owns the form in which an error leaves the process (only `main` reports one), and
//! [`check`], which looks for what will go wrong before anything is made.
//!
//! Runs in: parent.

pub mod check;
mod hints;

use std::io::Write;

use nix::errno::Errno;

use crate::error::{Error, Kind};
use crate::log::{self, Details, Format};

/// conmon forwards what it gets by one read(2) of this size.
const REPORT_LIMIT_BYTES: usize = 8 * 1024 - 1;

/// Reports `error`: on stderr in one write(2), and in the log where that is another place.
pub fn report(error: &Error) {
    let whole = error.to_string();
    // clap's own text, with the usage below.
    let verbatim = error.kind() == Kind::Usage && whole.ends_with('\n');
    let message = match verbatim {
        true => first_line(&whole),
        false => log::one_line(&whole),
    };
    let hint = match error.hint() {
        Some(hint) => Some(hint.to_owned()),
        None => error
            .call()
            .and_then(|_| hints::find(error, &hints::Situation::here()))
            .map(str::to_owned),
    };
    let apart = log::is_apart_from_stderr();
    let details = details(error, hint.as_deref());
    if apart {
        log::error(&message, &details);
    }
    let text = match (apart, log::format(), verbatim) {
        (false, Format::Json, _) => return log::error(&message, &details),
        (_, _, true) => truncated(&whole, REPORT_LIMIT_BYTES),
        (_, _, false) => text(&message, hint.as_deref()),
    };
    // Where even stderr is gone, the exit status has to do.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// What a program may want to know of the error, for a log in JSON.
fn details<'a>(error: &'a Error, hint: Option<&'a str>) -> Details<'a> {
    Details {
        code: Some(error.kind().code()),
        phase: Some(error.phase()),
        syscall: error.call(),
        errno: error.errno().map(|n| format!("{:?}", Errno::from_raw(n))),
        path: error.path(),
        pointer: error.pointer(),
        hint,
    }
}

/// The error and its remedy, a line each, short enough for one read.
fn text(message: &str, hint: Option<&str>) -> String {
    let hint = hint.map_or_else(String::new, |hint| {
        format!(
            "hint: {}\n",
            truncated(&log::one_line(hint), REPORT_LIMIT_BYTES / 4)
        )
    });
    let room = REPORT_LIMIT_BYTES - hint.len() - "rt: \n".len();
    format!("rt: {}\n{hint}", truncated(message, room))
}

/// A usage error in the log: clap's first line, without its own prefix.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// Cuts `text` to `limit_bytes`, at a character, and shows that it did.
fn truncated(text: &str, limit_bytes: usize) -> String {
    const MARK: &str = "...";
    if text.len() <= limit_bytes {
        return text.to_owned();
    }
    let mut end = limit_bytes - MARK.len();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{MARK}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Phase;

    #[test]
    fn error_and_hint_are_a_line_each() {
        assert_eq!(text("a: b", None), "rt: a: b\n");
        assert_eq!(text("a: b", Some("c")), "rt: a: b\nhint: c\n");
        assert_eq!(
            text(&log::one_line("a\nb"), Some("c\nd")),
            "rt: a\\nb\nhint: c\\nd\n"
        );
    }

    #[test]
    fn a_report_fits_one_read_and_keeps_its_hint() {
        let long = "ü".repeat(10_000);
        let report = text(&long, Some(&long));
        assert!(report.len() <= REPORT_LIMIT_BYTES, "{}", report.len());
        assert_eq!(report.lines().count(), 2);
        assert!(report.ends_with("...\n"));
    }

    #[test]
    fn a_program_finds_what_is_known_of_an_error() {
        let error = Error::syscall("mount", r#""x", "/data", 0"#, libc::ENODEV)
            .with_pointer("/mounts/7")
            .in_phase(Phase::Init);
        assert_eq!(
            serde_json::to_value(details(&error, Some("h"))).unwrap(),
            serde_json::json!({
                "code": "system", "phase": "init", "syscall": "mount", "errno": "ENODEV",
                "path": "/data", "pointer": "/mounts/7", "hint": "h",
            })
        );
        let error = Error::new(Kind::Usage, "x");
        assert_eq!(
            serde_json::to_value(details(&error, None)).unwrap(),
            serde_json::json!({ "code": "usage", "phase": "arguments" })
        );
    }

    #[test]
    fn a_usage_error_is_one_line_in_the_log() {
        assert_eq!(first_line("error: x\n\nUsage: y\n"), "x");
    }
}
