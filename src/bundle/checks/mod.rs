//! The rules of the specification that can be checked without the kernel, each with a name.
//!
//! Owns the table of checks. Each is a small function that looks at config.json and says
//! every place that breaks its rule; nothing stops at the first.
//!
//! Runs in: parent.

mod hooks;
mod labels;
mod linux;
mod mount_ids;
pub mod mounts;
mod namespaces;
mod net_devices;
mod process;
mod resources;
mod root;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use super::config::{Config, Process};
use super::linux::Linux;
use super::resources::Resources;
use crate::error::{Error, Result};

/// One rule.
#[cfg_attr(
    not(test),
    allow(dead_code, reason = "the pointer is for docs/checks.md and the tests")
)]
pub struct Check {
    /// What the rule is called in tests and documents.
    pub name: &'static str,
    /// Where it comes from: a clause of the specification, or the runtimes that share it.
    pub clause: &'static str,
    /// What it is about, as JSON pointer with `*` for any index or key.
    pub pointer: &'static str,
    pub run: Run,
}

pub enum Run {
    Config(fn(&Config, &mut Report)),
    /// Also for the process file of exec.
    Process(fn(&Process, &mut Report)),
    /// The file's bytes, of either.
    Source(fn(&[u8], &mut Report)),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub check: &'static str,
    /// JSON pointer, RFC 6901.
    pub pointer: String,
    pub message: String,
}

/// What the checks found.
#[derive(Default)]
pub struct Report {
    check: &'static str,
    /// `/process` while the process of config.json is checked.
    base: &'static str,
    violations: Vec<Violation>,
}

impl Violation {
    /// What the parser says of a value of a wrong type, its place in front.
    pub fn of_type(error: &Error) -> Violation {
        let pointer = error.pointer().unwrap_or_default().to_owned();
        let text = error.to_string();
        let place = place_in_words(&pointer) + ": ";
        Violation {
            check: "type-of-value",
            message: text.strip_prefix(&place).unwrap_or(&text).to_owned(),
            pointer,
        }
    }

    /// The place in words and what is wrong there, as an error says it.
    pub fn text(&self) -> String {
        // A value of the file must not push the end of an error out, see `into_result`.
        let text = format!("{}: {}", place_in_words(&self.pointer), self.message);
        shorten(&text, 240)
    }

    /// Where the rule comes from.
    pub fn clause(&self) -> Option<&'static str> {
        table()
            .find(|check| check.name == self.check)
            .map(|check| check.clause)
    }
}

impl Report {
    /// Says that the value at `pointer` breaks the rule.
    pub fn add(&mut self, pointer: impl AsRef<str>, message: impl Into<String>) {
        self.violations.push(Violation {
            check: self.check,
            pointer: format!("{}{}", self.base, pointer.as_ref()),
            message: message.into(),
        });
    }

    fn into_result(self) -> Result<()> {
        joined(&self.violations)
    }
}

/// All of them as one error, if there are any.
pub fn joined(violations: &[Violation]) -> Result<()> {
    let Some(first) = violations.first() else {
        return Ok(());
    };
    // An engine reads an error in one piece of 8 KiB: neither a value of the file nor the
    // number of its faults may push the end of it out.
    const MOST: usize = 24;
    let mut text: Vec<String> = violations.iter().take(MOST).map(Violation::text).collect();
    if violations.len() > MOST {
        text.push(format!("and {} more", violations.len() - MOST));
    }
    Err(Error::invalid(text.join("; ")).with_pointer(first.pointer.clone()))
}

/// The places of violations.
pub struct Places<'a>(BTreeSet<&'a str>);

impl Places<'_> {
    pub fn of(violations: &[Violation]) -> Places<'_> {
        Places(violations.iter().map(|v| v.pointer.as_str()).collect())
    }

    /// Whether one is about the value at `pointer`, about one in it or one around it.
    pub fn concern(&self, pointer: &str) -> bool {
        let ends = pointer.match_indices('/').map(|(at, _)| at);
        let mut around = ends.chain([pointer.len()]).map(|end| &pointer[..end]);
        if around.any(|place| self.0.contains(place)) {
            return true;
        }
        let within = format!("{pointer}/");
        let mut after = self.0.range(within.as_str()..);
        after.next().is_some_and(|place| place.starts_with(&within))
    }
}

/// Every check, in the order of config.md.
pub fn table() -> impl Iterator<Item = &'static Check> {
    [
        root::CHECKS,
        process::CHECKS,
        mounts::CHECKS,
        mount_ids::CHECKS,
        hooks::CHECKS,
        namespaces::CHECKS,
        linux::CHECKS,
        net_devices::CHECKS,
        labels::CHECKS,
        resources::CHECKS,
    ]
    .into_iter()
    .flatten()
}

/// Checks the whole of config.json.
pub fn config(config: &Config, source: &[u8]) -> Result<()> {
    check_all(config, source).into_result()
}

/// Every place in config.json that breaks a rule.
pub fn violations(config: &Config, source: &[u8]) -> Vec<Violation> {
    check_all(config, source).violations
}

fn check_all(config: &Config, source: &[u8]) -> Report {
    let mut report = Report::default();
    for check in table() {
        report.check = check.name;
        match (&check.run, &config.process) {
            (Run::Config(run), _) => {
                report.base = "";
                run(config, &mut report);
            }
            (Run::Process(run), Some(process)) => {
                report.base = "/process";
                run(process, &mut report);
            }
            (Run::Process(_), None) => {}
            (Run::Source(run), _) => {
                report.base = "";
                run(source, &mut report);
            }
        }
    }
    report
}

/// Checks a process alone, as exec's process file holds it.
pub fn process(process: &Process, source: &[u8]) -> Result<()> {
    let mut report = Report::default();
    for check in table() {
        report.check = check.name;
        match check.run {
            Run::Process(run) => run(process, &mut report),
            Run::Source(run) => run(source, &mut report),
            Run::Config(_) => {}
        }
    }
    report.into_result()
}

/// Checks the mounts alone, as `mounts add` reads them.
pub fn mounts(config: &Config) -> Result<()> {
    let mut report = Report::default();
    for check in mounts::CHECKS.iter().chain(mount_ids::CHECKS) {
        report.check = check.name;
        if let Run::Config(run) = check.run {
            run(config, &mut report);
        }
    }
    report.into_result()
}

/// Checks `linux.resources` alone, as `update` reads it.
pub fn resources(resources: &Resources) -> Result<()> {
    let config = Config {
        linux: Some(Linux {
            resources: Some(resources.clone()),
            ..Linux::default()
        }),
        ..Config::default()
    };
    let mut report = Report::default();
    for check in resources::CHECKS {
        report.check = check.name;
        if let Run::Config(run) = check.run {
            run(&config, &mut report);
        }
    }
    report.into_result()
}

/// `text` with its middle left out where it is longer than `most` characters.
pub fn shorten(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let head: String = text.chars().take(most * 2 / 3).collect();
    let tail: String = text.chars().skip(count - most / 3).collect();
    format!("{head}…{tail}")
}

/// A JSON pointer as people write it: `/mounts/3/destination` is `mounts[3].destination`.
pub fn place_in_words(pointer: &str) -> String {
    let mut words = String::new();
    for part in pointer.split('/').skip(1) {
        let part = key_of_part(part);
        if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) {
            words.push_str(&format!("[{part}]"));
        } else if part.is_empty() || part.contains(|c: char| "./ [".contains(c) || c.is_control()) {
            words.push_str(&format!("[{part:?}]"));
        } else {
            if !words.is_empty() {
                words.push('.');
            }
            words.push_str(&part);
        }
    }
    words
}

/// The pointer of the place that `text` begins with, as [`place_in_words`] writes it before a
/// colon. None where it begins otherwise.
pub fn pointer_of_words(text: &str) -> Option<String> {
    let mut pointer = String::new();
    let mut rest = text;
    loop {
        let (part, after) = match rest.strip_prefix("[\"") {
            Some(quoted) => {
                let end = quoted.find("\"]")?;
                (pointer_part(&quoted[..end]), &quoted[end + 2..])
            }
            None => {
                let bracketed = rest.starts_with('[');
                let inner = rest.strip_prefix(['[', '.']).unwrap_or(rest);
                let end = inner.find(['.', '[', ']', ':', ' '])?;
                let part = inner.get(..end).filter(|part| !part.is_empty())?;
                (part.to_owned(), &inner[end + usize::from(bracketed)..])
            }
        };
        pointer = format!("{pointer}/{part}");
        rest = after;
        match rest.bytes().next()? {
            b':' => return Some(pointer),
            b'.' | b'[' => {}
            _ => return None,
        }
    }
}

/// Whether a pointer is that of `outer`, or of something in it.
pub fn is_in(pointer: &str, outer: &str) -> bool {
    pointer
        .strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What [`pointer_part`] made a part of.
pub fn key_of_part(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

/// A key of a table as a part of a JSON pointer.
pub fn pointer_part(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
