//! From bytes to the types of config.json, with errors that name the place.
//!
//! Runs in: parent.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::checks::{is_in, key_of_part, place_in_words, shorten};
use super::config::{Config, Mount, Process};
use super::resources::Resources;
use super::{lists, place};
use crate::error::{Error, Result};

/// What a file holds.
pub trait Document: DeserializeOwned {
    /// Where config.json has it.
    const PLACE: &'static str;
}

impl Document for Config {
    const PLACE: &'static str = "";
}

impl Document for Process {
    const PLACE: &'static str = "/process";
}

impl Document for Resources {
    const PLACE: &'static str = "/linux/resources";
}

/// Reads `source`; an error names the place in config.json's terms, or where it is no JSON the
/// line and the column.
pub fn parse<T: Document>(source: &[u8]) -> Result<T> {
    if begins_with_a_list(source) {
        return Err(Error::invalid(NO_LIST));
    }
    let whole = serde_json::from_slice(source).map_err(|error| explain(source, &error))?;
    match lists::in_place_of_objects(source, T::PLACE).first() {
        None => Ok(whole),
        Some(pointer) => Err(at(pointer, NO_LIST)),
    }
}

const NO_LIST: &str = "is a list, and has to be an object";

fn begins_with_a_list(source: &[u8]) -> bool {
    source.trim_ascii_start().starts_with(b"[")
}

/// Reads `source` with each value that is of a wrong type left out, and says them all. An error
/// is what makes nothing of it legible.
pub fn parse_what_can_be<T: Document>(source: &[u8]) -> Result<(T, Vec<Error>)> {
    let first = match parse(source) {
        Ok(whole) => return Ok((whole, Vec::new())),
        Err(error) => error,
    };
    let legible = first.pointer().and(serde_json::from_slice(source).ok());
    let Some(mut rest): Option<Value> = legible else {
        return Err(first);
    };
    let (mut wrong, lacking) = wrong_values::<T>(source);
    let lists = lists::in_place_of_objects(source, T::PLACE);
    wrong.retain(|error| {
        let within = |list: &String| is_in(error.pointer().unwrap_or_default(), list);
        !lists.iter().any(within)
    });
    wrong.extend(lists.iter().map(|pointer| at(pointer, NO_LIST)));
    for error in &wrong {
        leave_out(&mut rest, error.pointer().unwrap_or_default());
    }
    let what_is_left = parse(rest.to_string().as_bytes()).or_else(|_| {
        for pointer in &lacking {
            leave_out(&mut rest, pointer);
        }
        parse(rest.to_string().as_bytes()).map_err(|_| first)
    })?;
    Ok((what_is_left, wrong))
}

/// Every value of a wrong type, in the order of the text, and the places of objects that lack a
/// value perhaps only since others were left out: they say nothing new.
///
/// The parser stops at the first such value. It is let go on behind that, with no more of the
/// text before than what is open there, so that each byte is read about once.
fn wrong_values<T: Document>(source: &[u8]) -> (Vec<Error>, Vec<String>) {
    let (mut wrong, mut lacking) = (Vec::new(), Vec::new());
    let mut text = source.to_vec();
    let (mut start, mut beginning) = (0, place::Beginning::default());
    let mut last = None;
    while let Err(error) = serde_json::from_slice::<T>(&text[start..]) {
        let stop = place::stop_at(&text[start..], error.line(), error.column(), &beginning);
        let within = |last: &String| is_in(last, &stop.pointer);
        if last.as_ref().is_some_and(within) {
            lacking.push(stop.pointer.clone());
        } else {
            let error = explain_at(&stop.pointer, &error);
            wrong.push(if last.is_none() {
                error
            } else {
                without_line(&error)
            });
        }
        let Some(next) = stop.beginning else { break };
        let after = start + stop.after;
        let Some(before) = after.checked_sub(next.text.len()) else {
            break;
        };
        text[before..after].copy_from_slice(next.text.as_bytes());
        (start, beginning, last) = (before, next, Some(stop.pointer));
    }
    (wrong, lacking)
}

/// Takes the value at `pointer` away, or where it is of a list, all values of the list: the
/// places of the others would no longer be theirs. Nothing where it is gone already.
fn leave_out(value: &mut Value, pointer: &str) {
    let Some((parent, part)) = pointer.rsplit_once('/') else {
        return;
    };
    match value.pointer_mut(parent) {
        Some(Value::Object(fields)) => drop(fields.remove(&key_of_part(part))),
        Some(Value::Array(items)) => items.clear(),
        _ => {}
    }
}

/// A line and a column of a text that nobody has are left out.
fn without_line(error: &Error) -> Error {
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    let error_here = Error::invalid(&text[..end]);
    match error.pointer() {
        Some(pointer) => error_here.with_pointer(pointer),
        None => error_here,
    }
}

/// Reads a list of mounts.
pub fn parse_mounts(source: &[u8]) -> Result<Vec<Mount>> {
    if !begins_with_a_list(source) {
        return Err(Error::invalid("has to be a list of mounts"));
    }
    serde_json::from_slice(source).map_err(|error| explain(source, &error))
}

fn explain(source: &[u8], error: &serde_json::Error) -> Error {
    if error.classify() != serde_json::error::Category::Data {
        return Error::invalid(format!("not JSON: {error}"));
    }
    explain_at(
        &place::pointer_at(source, error.line(), error.column()),
        error,
    )
}

fn explain_at(pointer: &str, error: &serde_json::Error) -> Error {
    // A wrong value is quoted whole; it may be long.
    let message = shorten(&error.to_string(), 240);
    match pointer {
        "" => Error::invalid(message),
        _ => at(pointer, &message),
    }
}

fn at(pointer: &str, message: &str) -> Error {
    Error::invalid(format!("{}: {message}", place_in_words(pointer))).with_pointer(pointer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_place() {
        for (source, error) in [
            (
                r#"{"process": {"args": ["sh", 1]}}"#,
                "process.args[1]: invalid type: integer `1`, expected a string at line 1 column 29",
            ),
            (
                r#"{"process": {"user": {"uid": -1}}}"#,
                "process.user.uid: invalid value: integer `-1`, expected u32 at line 1 column 31",
            ),
            (
                r#"{"linux": {"sysctl": {"a.b/c": 1}}}"#,
                "linux.sysctl[\"a.b/c\"]: invalid type: integer `1`, expected a string at line 1 column 32",
            ),
            (r#"{"a": }"#, "not JSON: expected value at line 1 column 7"),
            (
                r#"{"a": 1"#,
                "not JSON: EOF while parsing an object at line 1 column 7",
            ),
            ("{} x", "not JSON: trailing characters at line 1 column 4"),
            ("", "not JSON: EOF while parsing a value at line 1 column 0"),
            (" []", "is a list, and has to be an object"),
            (
                r#"{"root": ["rootfs", true]}"#,
                "root: is a list, and has to be an object",
            ),
        ] {
            let found = parse::<Config>(source.as_bytes()).unwrap_err();
            assert_eq!(found.to_string(), error);
        }
    }

    #[test]
    fn every_wrong_type_is_named_and_the_rest_is_read() {
        let source = br#"{"ociVersion": "1.0.2", "hostname": 7,
            "process": {"args": ["sh", 1, 2], "cwd": "/", "terminal": "no"},
            "root": [5], "mounts": [{"options": [1]}, 5],
            "linux": {"seccomp": {"defaultAction": 5, "syscalls": [{"args": [{"index": "a"}]}]},
                "maskedPaths": ["/a"]}}"#;
        let (config, errors): (Config, _) = parse_what_can_be(source).unwrap();
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let mut places: Vec<&str> = errors.iter().filter_map(|e| e.split(": ").next()).collect();
        places.sort_unstable();
        assert_eq!(
            places,
            [
                "hostname",
                "linux.seccomp.defaultAction",
                "linux.seccomp.syscalls[0].args[0].index",
                "mounts[0].options[0]",
                "mounts[1]",
                "process.args[1]",
                "process.args[2]",
                "process.terminal",
                "root"
            ],
            "{errors:?}"
        );
        assert!(errors[0].contains(" at line 1 column "), "{}", errors[0]);
        assert!(errors[1..].iter().all(|error| !error.contains("at line")));
        assert_eq!(config.oci_version.as_deref(), Some("1.0.2"));
        assert_eq!(config.linux().masked_paths.len(), 1);
        let profile = config.linux().seccomp.as_ref().unwrap();
        assert_eq!(profile.default_action, None);
        for hopeless in ["[]", "7", "{", ""] {
            parse_what_can_be::<Config>(hopeless.as_bytes()).unwrap_err();
        }
    }

    #[test]
    fn a_list_that_go_never_filled_is_an_empty_one() {
        let source = br#"{"mounts": null, "linux": {"sysctl": null, "maskedPaths": null}}"#;
        let config: Config = parse(source).unwrap();
        assert!(config.mounts.is_empty() && config.linux().sysctl.is_empty());
    }
}
