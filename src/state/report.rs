//! A container's state as others read it: `rt state`, `rt list`, a hook's standard input.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::{Record, Status};

/// The version of the specification that the state complies with.
pub const OCI_VERSION: &str = "1.3.0";

/// runtime-spec runtime.md#state, with the fields that runc adds (contract.md 1.6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report<'a> {
    pub oci_version: &'static str,
    pub id: &'a str,
    /// 0 where there is no process: callers read it as a number.
    pub pid: i32,
    pub status: Status,
    pub bundle: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rootfs: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: &'a BTreeMap<String, String>,
    /// A user's name, or `#` and its number; `state` leaves it empty, as runc does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

impl<'a> Report<'a> {
    /// What `state` and `list` print.
    pub fn new(record: &'a Record, status: Status) -> Report<'a> {
        Report {
            rootfs: Some(&record.rootfs),
            created: Some(&record.created),
            owner: Some(String::new()),
            ..Report::for_hook(record, status)
        }
    }

    /// What a hook reads: the specification's fields alone.
    pub fn for_hook(record: &'a Record, status: Status) -> Report<'a> {
        Report {
            oci_version: OCI_VERSION,
            id: &record.id,
            pid: match (status, record.init) {
                (Status::Stopped, _) | (_, None) => 0,
                (_, Some(init)) => init.pid,
            },
            status,
            bundle: &record.bundle,
            rootfs: None,
            created: None,
            annotations: &record.annotations,
            owner: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Identity;

    #[test]
    fn the_state_has_runcs_fields_in_runcs_order() {
        let mut record = Record::new("web", "/b".into(), "/b/rootfs".into());
        record.created = "2026-11-22T05:00:00.000000001Z".into();
        record.init = Some(Identity {
            pid: 7,
            start_time: 8,
        });
        let text = |status| serde_json::to_string(&Report::new(&record, status)).unwrap();
        assert_eq!(
            text(Status::Running),
            r#"{"ociVersion":"1.3.0","id":"web","pid":7,"status":"running","bundle":"/b","rootfs":"/b/rootfs","created":"2026-11-22T05:00:00.000000001Z","owner":""}"#
        );
        assert!(text(Status::Stopped).contains(r#""pid":0,"status":"stopped""#));
    }

    #[test]
    fn a_hook_reads_the_specifications_fields() {
        let mut record = Record::new("web", "/b".into(), "/b/rootfs".into());
        record.annotations.insert("k".into(), "v".into());
        assert_eq!(
            serde_json::to_string(&Report::for_hook(&record, Status::Creating)).unwrap(),
            r#"{"ociVersion":"1.3.0","id":"web","pid":0,"status":"creating","bundle":"/b","annotations":{"k":"v"}}"#
        );
    }
}
