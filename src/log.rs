//! The log: where lines below the level of an error go.
//!
//! Owns the threshold, the destination (`--log`, `--log-format`) and the form of a line.
//! Errors are reported by `main` alone; everything else that is said here is a warning or
//! a debug line, and without `--debug` or `--log-level` none is written, since podman reads
//! the whole log file as one JSON record.
//!
//! Runs in: every process. In init the lines go to the parent over the wire (see
//! [`divert`]), so that no descriptor of the log file is open near a payload.

use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Error = 0,
    Warning = 1,
    Debug = 2,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Debug => "debug",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Text,
    Json,
}

type Diversion = Box<dyn Fn(Level, &str) + Send>;

enum Destination {
    Stderr,
    File(std::fs::File),
    Diverted(Diversion),
}

struct Sink {
    format: Format,
    destination: Destination,
}

static THRESHOLD: AtomicU8 = AtomicU8::new(Level::Error as u8);
static SINK: Mutex<Sink> = Mutex::new(Sink {
    format: Format::Text,
    destination: Destination::Stderr,
});

/// Sets the threshold, the form and, where one is given, the file that lines go to.
pub fn configure(level: Level, format: Format, file: Option<std::fs::File>) {
    THRESHOLD.store(level as u8, Ordering::Relaxed);
    with_sink(|sink| {
        sink.format = format;
        if let Some(file) = file {
            sink.destination = Destination::File(file);
        }
    });
}

/// Hands every later line to `to` instead of writing it.
pub fn divert(to: impl Fn(Level, &str) + Send + 'static) {
    with_sink(|sink| sink.destination = Destination::Diverted(Box::new(to)));
}

pub fn enabled(level: Level) -> bool {
    level as u8 <= THRESHOLD.load(Ordering::Relaxed)
}

/// Says what the user asked for and does not get, or gets differently.
pub fn warning(message: impl FnOnce() -> String) {
    if enabled(Level::Warning) {
        emit(Level::Warning, &message());
    }
}

/// Says what `rt` decided and why.
pub fn debug(message: impl FnOnce() -> String) {
    if enabled(Level::Debug) {
        emit(Level::Debug, &message());
    }
}

/// Writes one line of any level. A destination that cannot be written to is no reason to
/// stop a container.
pub fn emit(level: Level, message: &str) {
    with_sink(|sink| {
        let line = match sink.format {
            Format::Json => json_line(level, message),
            Format::Text => format!("{} {}: {message}\n", timestamp(), level.name()),
        };
        let _ = match &mut sink.destination {
            Destination::Stderr => std::io::stderr().write_all(line.as_bytes()),
            Destination::File(file) => file.write_all(line.as_bytes()),
            Destination::Diverted(to) => {
                to(level, message);
                Ok(())
            }
        };
    });
}

/// Whether lines go to a file (or elsewhere than stderr): then `main` reports an error twice,
/// there and on stderr.
pub fn goes_to_a_file() -> bool {
    with_sink(|sink| matches!(sink.destination, Destination::File(_)))
}

/// The present time as RFC 3339 in UTC, to the second.
fn timestamp() -> String {
    let now = jiff::Timestamp::now();
    format!("{now:.0}")
}

fn json_line(level: Level, message: &str) -> String {
    let mut line = serde_json::json!({
        "level": level.name(), "msg": message, "time": timestamp(),
    })
    .to_string();
    line.push('\n');
    line
}

fn with_sink<T>(f: impl FnOnce(&mut Sink) -> T) -> T {
    // One thread, so the lock is never contended; a poisoned one still holds a sink.
    f(&mut SINK
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_line_has_what_containerd_decodes() {
        let line = json_line(Level::Error, "a \"quoted\" word");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["level"], "error");
        assert_eq!(value["msg"], "a \"quoted\" word");
        let time: jiff::Timestamp = value["time"].as_str().unwrap().parse().unwrap();
        assert!(time <= jiff::Timestamp::now());
    }
}
