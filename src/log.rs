//! The log: where lines below the level of an error go.
//!
//! Owns the threshold, the destination (`--log`, `--log-format`) and the form of a line.
//! Errors are reported by `main` alone; everything else that is said here is a warning or
//! a debug line, and without `--debug` or `--log-level` none is written, since podman reads
//! the whole log file as one JSON record.
//!
//! Runs in: every process. In init the lines go to the parent over the wire (see
//! [`divert`]), so that no descriptor of the log file is open near a payload.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Phase, Result};

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

    /// The severity of syslog(3), which the journal uses too.
    fn severity(self) -> u8 {
        match self {
            Level::Error => 3,
            Level::Warning => 4,
            Level::Debug => 7,
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

/// Where lines go.
pub enum Destination {
    Stderr,
    File(File),
    Syslog(Datagrams),
    Journal(Datagrams),
    Diverted(Diversion),
}

/// A logging daemon's socket and the name that `rt` has there.
pub struct Datagrams {
    socket: UnixDatagram,
    path: &'static str,
    identifier: String,
}

impl Destination {
    /// Opens what `--log` names: a path, `file:PATH`, `syslog:IDENTIFIER` or
    /// `journald:IDENTIFIER`. A file is made if need be and only ever appended to.
    pub fn open(place: &OsStr) -> Result<Destination> {
        let bytes = place.as_bytes();
        if let Some(identifier) = bytes.strip_prefix(b"syslog:") {
            return Datagrams::to("/dev/log", identifier).map(Destination::Syslog);
        }
        if let Some(identifier) = bytes.strip_prefix(b"journald:") {
            return Datagrams::to("/run/systemd/journal/socket", identifier)
                .map(Destination::Journal);
        }
        let path = Path::new(OsStr::from_bytes(
            bytes.strip_prefix(b"file:").unwrap_or(bytes),
        ));
        File::options()
            .append(true)
            .create(true)
            .mode(0o644)
            .open(path)
            .map(Destination::File)
            .map_err(|e| Error::io("open", path, &e).within("--log"))
    }
}

impl Datagrams {
    /// Whether a daemon listens is seen at each line: one that is just restarted is no reason
    /// not to start a container.
    fn to(path: &'static str, identifier: &[u8]) -> Result<Datagrams> {
        let socket =
            UnixDatagram::unbound().map_err(|e| Error::io("socket", path, &e).within("--log"))?;
        let identifier = match identifier {
            b"" => "rt".to_owned(),
            given => String::from_utf8_lossy(given).into_owned(),
        };
        Ok(Datagrams {
            socket,
            path,
            identifier,
        })
    }

    fn send(&self, datagram: &[u8]) -> std::io::Result<()> {
        self.socket.send_to(datagram, self.path).map(drop)
    }

    /// RFC 3164 as syslog daemons read it from a local socket: facility user, no host name.
    fn syslog_datagram(&self, level: Level, message: &str) -> Vec<u8> {
        let priority = 1 << 3 | level.severity();
        let message = message.replace('\n', "; ");
        format!("<{priority}>{}: {message}", self.identifier).into_bytes()
    }

    /// systemd's journal protocol: a field per line; one with line feeds in it has its length
    /// in front, as 64 bits, little-endian.
    fn journal_datagram(&self, level: Level, message: &str) -> Vec<u8> {
        let mut datagram = format!(
            "PRIORITY={}\nSYSLOG_IDENTIFIER={}\nMESSAGE\n",
            level.severity(),
            self.identifier.replace('\n', " "),
        )
        .into_bytes();
        datagram.extend((message.len() as u64).to_le_bytes());
        datagram.extend(message.as_bytes());
        datagram.push(b'\n');
        datagram
    }
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

/// Sets the threshold, the form and, where one is given, the place that lines go to.
pub fn configure(level: Level, format: Format, destination: Option<Destination>) {
    THRESHOLD.store(level as u8, Ordering::Relaxed);
    with_sink(|sink| {
        sink.format = format;
        if let Some(destination) = destination {
            sink.destination = destination;
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

/// Writes one line of any level.
pub fn emit(level: Level, message: &str) {
    record(level, message, &Details::default());
}

/// What is known of an error beside its text: further keys of its record as JSON. Callers
/// ignore them: podman's patterns run over `msg` alone.
#[derive(Debug, Default, Serialize)]
pub struct Details<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syscall: Option<&'a str>,
    /// By name: `ENOENT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<&'a str>,
    /// Into config.json, RFC 6901.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<&'a str>,
}

/// Writes the one error of this process.
pub fn error(message: &str, details: &Details<'_>) {
    record(Level::Error, message, details);
}

/// A destination that cannot be written to is no reason to stop a container.
fn record(level: Level, message: &str, details: &Details<'_>) {
    with_sink(|sink| {
        let format = sink.format;
        let line = || match format {
            Format::Json => json_line(level, message, details),
            Format::Text => format!("{} {}: {}\n", timestamp(), level.name(), one_line(message)),
        };
        let _ = match &mut sink.destination {
            Destination::Stderr => std::io::stderr().write_all(line().as_bytes()),
            Destination::File(file) => file.write_all(line().as_bytes()),
            Destination::Syslog(to) => to.send(&to.syslog_datagram(level, message)),
            Destination::Journal(to) => to.send(&to.journal_datagram(level, message)),
            Destination::Diverted(to) => {
                to(level, message);
                Ok(())
            }
        };
    });
}

/// `message` as one line that does nothing to a terminal: names from outside may hold line feeds
/// and escape sequences.
pub fn one_line(message: &str) -> String {
    let mut line = String::with_capacity(message.len());
    for character in message.chars() {
        match character.is_control() {
            true => line.extend(character.escape_debug()),
            false => line.push(character),
        }
    }
    line
}

/// Whether the log is something else than stderr: then `main` reports an error twice, there
/// and on stderr.
pub fn is_apart_from_stderr() -> bool {
    with_sink(|sink| !matches!(sink.destination, Destination::Stderr))
}

pub fn format() -> Format {
    with_sink(|sink| sink.format)
}

/// The present time as RFC 3339 in UTC, to the second.
fn timestamp() -> String {
    let now = jiff::Timestamp::now();
    format!("{now:.0}")
}

fn json_line(level: Level, message: &str, details: &Details<'_>) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        level: &'a str,
        msg: &'a str,
        time: String,
        #[serde(flatten)]
        details: &'a Details<'a>,
    }
    let line = Line {
        level: level.name(),
        msg: message,
        time: timestamp(),
        details,
    };
    // Text and numbers have a form in JSON, whatever they are.
    let mut text = serde_json::to_string(&line).unwrap_or_default();
    text.push('\n');
    text
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
    fn a_line_holds_no_second_one_and_nothing_that_a_terminal_obeys() {
        assert_eq!(
            one_line("a\nb\u{1b}[31m\u{9b}ü"),
            "a\\nb\\u{1b}[31m\\u{9b}ü"
        );
    }

    #[test]
    fn a_json_line_has_what_containerd_decodes() {
        let line = json_line(Level::Error, "a \"quoted\" word", &Details::default());
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["level"], "error");
        assert_eq!(value["msg"], "a \"quoted\" word");
        let time: jiff::Timestamp = value["time"].as_str().unwrap().parse().unwrap();
        assert!(time <= jiff::Timestamp::now());
    }

    #[test]
    fn a_daemon_gets_one_datagram_that_cannot_hold_a_second_record() {
        let to = Datagrams::to("/nonexistent", b"rt\nPRIORITY=0").unwrap();
        assert_eq!(
            to.journal_datagram(Level::Error, "a\nb"),
            b"PRIORITY=3\nSYSLOG_IDENTIFIER=rt PRIORITY=0\nMESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n"
        );
        let to = Datagrams::to("/nonexistent", b"").unwrap();
        assert_eq!(to.syslog_datagram(Level::Warning, "a\nb"), b"<12>rt: a; b");
    }

    #[test]
    fn a_log_that_cannot_be_opened_is_named() {
        let error = Destination::open(OsStr::new("file:/nonexistent/log"));
        let Err(error) = error else {
            panic!("opened");
        };
        assert_eq!(
            error.to_string(),
            r#"--log: open("/nonexistent/log"): No such file or directory"#
        );
    }
}
