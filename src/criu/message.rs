//! What is said to CRIU and what it answers: the part of its rpc.proto that is used here,
//! but for the [`Options`].
//!
//! Numbers of fields and values are CRIU's and never change. A field that an older CRIU does
//! not know, it ignores.
//!
//! Runs in: parent.

use std::fmt;

use super::options::Options;
use super::protobuf::{self, Value, Writer};
use crate::error::{Error, Result};

/// `criu_req_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Dump = 1,
    Restore = 2,
    PreDump = 4,
    Notify = 6,
    FeatureCheck = 9,
    Version = 10,
}

impl Kind {
    fn from_number(number: i64) -> Option<Kind> {
        use Kind::{Dump, FeatureCheck, Notify, PreDump, Restore, Version};
        [Dump, Restore, PreDump, Notify, FeatureCheck, Version]
            .into_iter()
            .find(|kind| *kind as i64 == number)
    }

    /// The word of CRIU's own command line.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Dump => "dump",
            Kind::Restore => "restore",
            Kind::PreDump => "pre-dump",
            Kind::Notify => "notify",
            Kind::FeatureCheck => "check --feature",
            Kind::Version => "version",
        }
    }
}

/// `criu_features`: of those that are asked about, the ones that are there are true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    pub memory_tracking: bool,
    pub lazy_pages: bool,
}

/// `criu_req`.
pub enum Request<'a> {
    Run(Kind, &'a Options),
    Version,
    Features(Features),
    /// The answer to a notification.
    Notified {
        success: bool,
    },
}

impl Request<'_> {
    pub fn kind(&self) -> Kind {
        match self {
            Request::Run(kind, _) => *kind,
            Request::Version => Kind::Version,
            Request::Features(_) => Kind::FeatureCheck,
            Request::Notified { .. } => Kind::Notify,
        }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut to = Writer::default();
        to.number(1, self.kind() as i64);
        match self {
            Request::Run(_, options) => to.message(2, &options.encode()),
            Request::Version => to.flag(4, true), // keep_open
            Request::Features(features) => {
                to.flag(4, true);
                let mut asked = Writer::default();
                asked.flag(1, features.memory_tracking);
                asked.flag(2, features.lazy_pages);
                to.message(5, &asked);
            }
            Request::Notified { success } => to.flag(3, *success),
        }
        to.into_bytes()
    }
}

/// `criu_notify`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notification {
    /// `pre-dump`, `network-lock`, `setup-namespaces`, `post-restore`, …
    pub script: String,
    pub pid: Option<i32>,
}

/// CRIU's version, in the order of age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: i64,
    pub minor: i64,
    pub sublevel: i64,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        match self.sublevel {
            0 => Ok(()),
            sublevel => write!(f, ".{sublevel}"),
        }
    }
}

/// `criu_resp`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    pub kind: Option<Kind>,
    pub success: bool,
    /// The root of the restored tree.
    pub pid: Option<i32>,
    pub notification: Option<Notification>,
    pub errno: Option<i32>,
    pub features: Features,
    /// The first error of its log.
    pub message: Option<String>,
    pub version: Option<Version>,
}

impl Response {
    pub fn from_bytes(bytes: &[u8]) -> Result<Response> {
        let mut response = Response::default();
        for (field, value) in protobuf::fields(bytes)? {
            match field {
                1 => response.kind = value.number().and_then(Kind::from_number),
                2 => response.success = value.number() == Some(1),
                4 => response.pid = numbers(value)?.first().map(|(_, pid)| *pid as i32),
                5 => response.notification = Some(notification(value)?),
                7 => response.errno = value.number().map(|n| n as i32),
                8 => response.features = features(value)?,
                9 => response.message = value.bytes().map(text),
                10 => response.version = Some(version(value)?),
                _ => {}
            }
        }
        match response.kind {
            Some(_) => Ok(response),
            None => Err(Error::system("criu: an answer of a kind that is not known")),
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The fields of a message that has only numbers.
fn numbers(value: Value<'_>) -> Result<Vec<(u32, i64)>> {
    let fields = protobuf::fields(value.bytes().unwrap_or_default())?;
    Ok(fields
        .into_iter()
        .filter_map(|(field, value)| Some((field, value.number()?)))
        .collect())
}

fn notification(value: Value<'_>) -> Result<Notification> {
    let mut notification = Notification::default();
    for (field, value) in protobuf::fields(value.bytes().unwrap_or_default())? {
        match field {
            1 => notification.script = value.bytes().map(text).unwrap_or_default(),
            2 => notification.pid = value.number().map(|pid| pid as i32),
            _ => {}
        }
    }
    Ok(notification)
}

fn features(value: Value<'_>) -> Result<Features> {
    let numbers = numbers(value)?;
    let has = |field| numbers.contains(&(field, 1));
    Ok(Features {
        memory_tracking: has(1),
        lazy_pages: has(2),
    })
}

fn version(value: Value<'_>) -> Result<Version> {
    let numbers = numbers(value)?;
    let number = |field| {
        let found = numbers.iter().find(|(n, _)| *n == field);
        found.map_or(0, |(_, number)| *number)
    };
    Ok(Version {
        major: number(1),
        minor: number(2),
        sublevel: number(4),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_with_its_parts() {
        let mut notify = Writer::default();
        notify.text(1, b"post-restore");
        notify.number(2, 77);
        let mut to = Writer::default();
        to.number(1, 6);
        to.flag(2, true);
        to.message(5, &notify);
        to.number(7, 2);
        to.text(9, b"why");
        let response = Response::from_bytes(&to.into_bytes()).unwrap();
        assert_eq!(response.kind, Some(Kind::Notify));
        assert!(response.success);
        assert_eq!(
            response.notification,
            Some(Notification {
                script: "post-restore".into(),
                pid: Some(77)
            })
        );
        assert_eq!(
            (response.errno, response.message.as_deref()),
            (Some(2), Some("why"))
        );
    }

    #[test]
    fn an_answer_of_no_known_kind_is_an_error() {
        assert!(Response::from_bytes(b"").is_err());
        assert!(Response::from_bytes(b"\x08\x63").is_err());
    }

    #[test]
    fn versions_are_ordered_and_printed_as_criu_does() {
        let version = |major, minor, sublevel| Version {
            major,
            minor,
            sublevel,
        };
        assert!(version(4, 0, 0) > version(3, 19, 1));
        assert_eq!(version(3, 17, 1).to_string(), "3.17.1");
        assert_eq!(version(4, 1, 0).to_string(), "4.1");
    }
}
