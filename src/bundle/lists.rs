//! Lists that stand where an object belongs.
//!
//! The derived readers take a list for the fields of a struct in their order. Nobody means that,
//! and runc refuses it.
//!
//! Runs in: parent.

use serde_json::Value;

use super::checks::pointer_part;
use super::unknown::is_object;

/// The keys of config.json whose value is one object.
#[rustfmt::skip]
const OBJECTS: [&str; 20] = [
    "root", "process", "user", "consoleSize", "capabilities", "scheduler", "ioPriority",
    "execCPUAffinity", "hooks", "linux", "personality", "intelRdt", "memoryPolicy", "seccomp",
    "resources", "memory", "cpu", "pids", "blockIO", "network",
];

/// The keys whose value is a table of objects, under keys of any name.
const TABLES: [&str; 3] = ["\"timeOffsets\"", "\"netDevices\"", "\"rdma\""];

/// The pointers of such lists in `source`, which is what config.json has at `place`.
pub fn in_place_of_objects(source: &[u8], place: &str) -> Vec<String> {
    let mut found = Vec::new();
    if may_be_there(source)
        && let Ok(value) = serde_json::from_slice(source)
    {
        look_into(&value, place, "", &mut found);
    }
    found
}

/// False for what an engine writes, which then costs no more than a look before each bracket.
fn may_be_there(source: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(source) else {
        return true;
    };
    let before = text
        .match_indices('[')
        .map(|(at, _)| text[..at].trim_ascii_end());
    let mut suspects = before.filter(|before| match before.strip_suffix(':') {
        Some(before) => {
            let quoted = before.trim_ascii_end().trim_end_matches('"');
            let key = quoted.rfind('"').map_or(quoted, |at| &quoted[at + 1..]);
            OBJECTS.contains(&key)
        }
        None => before.ends_with(['[', ',']),
    });
    suspects.next().is_some() || TABLES.iter().any(|table| text.contains(table))
}

fn look_into(value: &Value, place: &str, pointer: &str, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            if is_object(&format!("{place}{pointer}")) {
                found.push(pointer.to_owned());
                return;
            }
            for (n, item) in items.iter().enumerate() {
                look_into(item, place, &format!("{pointer}/{n}"), found);
            }
        }
        Value::Object(fields) => {
            for (key, field) in fields {
                let here = format!("{pointer}/{}", pointer_part(key));
                look_into(field, place, &here, found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::bundle::example;

    #[test]
    fn a_list_is_found_where_an_object_belongs() {
        for (config, places) in [
            (json!({"root": ["rootfs", true]}), &["/root"][..]),
            (
                json!({"mounts": [["/a"], {}, []]}),
                &["/mounts/0", "/mounts/2"],
            ),
            (
                json!({"process": {"user": [], "args": ["[", "a:["]}}),
                &["/process/user"],
            ),
            (
                json!({"linux": {"timeOffsets": {"a": []}}}),
                &["/linux/timeOffsets/a"],
            ),
            (
                json!({"linux": {"resources": {"rdma": {"a": [1]}}}}),
                &["/linux/resources/rdma/a"],
            ),
            (
                json!({"windows": {"process": [[]]}, "annotations": {"a": "[["}}),
                &[],
            ),
        ] {
            for text in [
                config.to_string(),
                serde_json::to_string_pretty(&config).unwrap(),
            ] {
                assert_eq!(in_place_of_objects(text.as_bytes(), ""), places, "{text}");
            }
        }
        let process = br#"{"args": ["x"], "capabilities" : [[]]}"#;
        assert_eq!(in_place_of_objects(process, "/process"), ["/capabilities"]);
    }

    #[test]
    fn what_is_right_is_not_looked_at_twice() {
        assert!(!may_be_there(example(false).as_bytes()));
    }

    #[test]
    fn every_object_of_config_is_known_by_its_key() {
        for place in crate::bundle::unknown::places() {
            let key = place.rsplit('/').next().unwrap();
            // Of a list or a table, or config.json itself.
            let others = ["*", ""];
            assert!(others.contains(&key) || OBJECTS.contains(&key), "{place}");
        }
    }
}
