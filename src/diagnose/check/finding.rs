//! One thing that `rt check` has to say, and how it is printed.
//!
//! Runs in: parent.

use std::fmt::Write as _;

use nix::errno::Errno;
use serde::Serialize;

use crate::diagnose::hints::{self, Situation};
use crate::error::Error;

/// How much a finding matters; the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// create or start would fail.
    Error,
    /// It would work, and not as config.json says.
    Warning,
    /// Somebody may trip over it.
    Note,
}

impl Severity {
    fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

/// As `--json` prints it: the names of its fields stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    /// Which of the checks it is from; stays as it is.
    pub check: &'static str,
    /// As in the log (docs/errors.md); of errors alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// The place in config.json, RFC 6901; none where the host is at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// With the place in words in front.
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Where the rule comes from: of the specification, a manual page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clause: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syscall: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

impl Finding {
    /// What `create` would fail with.
    pub fn error(check: &'static str, error: &Error, situation: &Situation) -> Finding {
        let hint = error.hint().or_else(|| hints::find(error, situation));
        Finding {
            code: Some(error.kind().code()),
            pointer: error.pointer().map(str::to_owned),
            hint: hint.map(str::to_owned),
            syscall: error.call().map(str::to_owned),
            errno: error.errno().map(|n| format!("{:?}", Errno::from_raw(n))),
            path: error.path().map(str::to_owned),
            ..Finding::new(Severity::Error, check, error.to_string())
        }
    }

    pub fn warning(check: &'static str, message: impl Into<String>) -> Finding {
        Finding::new(Severity::Warning, check, message.into())
    }

    pub fn note(check: &'static str, message: impl Into<String>) -> Finding {
        Finding::new(Severity::Note, check, message.into())
    }

    fn new(severity: Severity, check: &'static str, message: String) -> Finding {
        Finding {
            severity,
            check,
            code: None,
            pointer: None,
            message,
            hint: None,
            clause: None,
            syscall: None,
            errno: None,
            path: None,
        }
    }

    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>) -> Finding {
        self.pointer = Some(pointer.into());
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Finding {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn clause(mut self, clause: Option<&'static str>) -> Finding {
        self.clause = clause;
        self
    }

    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Finding {
        self.path = Some(path.into());
        self
    }
}

/// For people: a finding each, its remedy below it, and at last the sums.
pub fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    let mut said = None;
    for finding in findings {
        // What is written here comes from files of others, and goes to a terminal.
        let message = on_one_line(&finding.message);
        let _ = writeln!(text, "{}: {message}", finding.severity.name());
        // One remedy for several in a row is said once.
        if let Some(hint) = finding.hint.as_ref().filter(|hint| said != Some(*hint)) {
            let _ = writeln!(text, "  hint: {}", on_one_line(hint));
        }
        said = finding.hint.as_ref();
    }
    let count = |severity| {
        let count = findings.iter().filter(|f| f.severity == severity).count();
        let plural = if count == 1 { "" } else { "s" };
        format!("{count} {}{plural}", severity.name())
    };
    let sums = [Severity::Error, Severity::Warning, Severity::Note].map(count);
    text + &sums.join(", ") + "\n"
}

fn on_one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_get_a_line_each_and_the_sums() {
        let error = Error::invalid("a.b: wrong")
            .with_pointer("/a/b")
            .with_hint("mend it");
        let findings = [
            Finding::error("plan", &error, &Situation::default()),
            Finding::warning("x", "two\nlines\x1b[2J"),
        ];
        assert_eq!(
            text(&findings),
            "error: a.b: wrong\n  hint: mend it\nwarning: two lines [2J\n1 error, 1 warning, 0 notes\n"
        );
    }

    #[test]
    fn programs_get_what_the_log_would_say() {
        let error = Error::syscall("open", "\"/a\"", libc::ENOENT).with_pointer("/root/path");
        let finding = Finding::error("root-folder", &error, &Situation::default());
        assert_eq!(
            serde_json::to_value(finding).unwrap(),
            serde_json::json!({
                "severity": "error", "check": "root-folder", "code": "system",
                "pointer": "/root/path", "message": "open(\"/a\"): No such file or directory",
                "syscall": "open", "errno": "ENOENT", "path": "/a",
            })
        );
    }
}
