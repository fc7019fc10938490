//! The version, the root, the names, the annotations.
//!
//! Runs in: parent.

use super::{Check, Report, Run};
use crate::bundle::config::Config;

pub const CHECKS: &[Check] = &[
    Check {
        name: "version-is-there",
        clause: "config.md#specification-version",
        pointer: "/ociVersion",
        run: Run::Config(version_is_there),
    },
    Check {
        name: "version-is-1",
        clause: "config.md#specification-version",
        pointer: "/ociVersion",
        run: Run::Config(version_is_1),
    },
    Check {
        name: "root-is-there",
        clause: "config.md#root",
        pointer: "/root/path",
        run: Run::Config(root_is_there),
    },
    Check {
        name: "name-in-own-uts-namespace",
        clause: "config.md#hostname, config.md#domainname; runc",
        pointer: "/hostname",
        run: Run::Config(name_in_own_uts_namespace),
    },
    Check {
        name: "name-fits",
        clause: "sethostname(2), setdomainname(2)",
        pointer: "/hostname",
        run: Run::Config(name_fits),
    },
    Check {
        name: "annotation-has-a-key",
        clause: "config.md#annotations",
        pointer: "/annotations",
        run: Run::Config(annotation_has_a_key),
    },
    Check {
        name: "no-nul-byte",
        clause: "execve(2), mount(2), path_resolution(7)",
        pointer: "/*",
        run: Run::Source(no_nul_byte),
    },
];

fn version_is_there(config: &Config, report: &mut Report) {
    if config.oci_version.as_deref().unwrap_or_default().is_empty() {
        report.add("/ociVersion", "is missing");
    }
}

/// Every 1.x, also with parts that are yet to be invented: engines send versions ahead of
/// what a runtime knows.
fn version_is_1(config: &Config, report: &mut Report) {
    let version = config.oci_version.as_deref().unwrap_or_default();
    if !version.is_empty() && !version.starts_with("1.") {
        report.add(
            "/ociVersion",
            format!("is {version:?}, and only the versions 1.x are known"),
        );
    }
}

fn root_is_there(config: &Config, report: &mut Report) {
    match &config.root {
        None => report.add("/root", "is missing"),
        Some(root) if root.path.as_deref().unwrap_or_default().is_empty() => {
            report.add("/root/path", "is missing");
        }
        Some(_) => {}
    }
}

fn names(config: &Config) -> impl Iterator<Item = (&'static str, &str)> {
    [
        ("/hostname", &config.hostname),
        ("/domainname", &config.domainname),
    ]
    .into_iter()
    .filter_map(|(pointer, name)| Some((pointer, name.as_deref()?)))
    .filter(|(_, name)| !name.is_empty())
}

fn name_in_own_uts_namespace(config: &Config, report: &mut Report) {
    if config.linux().has_namespace("uts") {
        return;
    }
    for (pointer, _) in names(config) {
        report.add(
            pointer,
            "needs a uts namespace of the container's own (linux.namespaces)",
        );
    }
}

fn name_fits(config: &Config, report: &mut Report) {
    const MAX_BYTES: usize = 64;
    for (pointer, name) in names(config) {
        if name.len() > MAX_BYTES {
            report.add(pointer, format!("is longer than {MAX_BYTES} bytes"));
        }
    }
}

fn annotation_has_a_key(config: &Config, report: &mut Report) {
    if config.annotations.contains_key("") {
        report.add("/annotations", "a key must not be empty");
    }
}

/// Looks into the bytes first: the escape is the only way to write a NUL byte in JSON, and
/// hardly a file has it.
fn no_nul_byte(source: &[u8], report: &mut Report) {
    // Of a text the standard library searches sixteen bytes at a time.
    if std::str::from_utf8(source).is_ok_and(|text| !text.contains("\\u0000")) {
        return;
    }
    if let Ok(value) = serde_json::from_slice(source) {
        look_for_nul(&value, "", report);
    }
}

fn look_for_nul(value: &serde_json::Value, pointer: &str, report: &mut Report) {
    use serde_json::Value;
    // Annotations are nobody's C string.
    if pointer == "/annotations" {
        return;
    }
    match value {
        Value::String(text) if text.contains('\0') => {
            report.add(pointer, "must not hold a NUL byte");
        }
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                look_for_nul(item, &format!("{pointer}/{n}"), report);
            }
        }
        Value::Object(fields) => {
            for (key, field) in fields {
                let below = format!("{pointer}/{}", super::pointer_part(key));
                look_for_nul(field, &below, report);
            }
        }
        _ => {}
    }
}
