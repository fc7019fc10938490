//! From bytes to the types of config.json, with errors that name the place.
//!
//! Runs in: parent.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::checks::{is_in, key_of_part, place_in_words, shorten};
use super::config::Mount;
use super::place;
use crate::error::{Error, Result};

/// Reads `source`; an error names the place in config.json's terms, or where it is no JSON the
/// line and the column.
pub fn parse<T: DeserializeOwned>(source: &[u8]) -> Result<T> {
    // serde reads a list as the fields of a struct in their order; nobody means that.
    if source.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        return Err(Error::invalid("is a list, and has to be an object"));
    }
    serde_json::from_slice(source).map_err(|error| explain(source, &error))
}

/// Reads `source` with each value that is of a wrong type left out, and says them all. An error
/// is what makes nothing of it legible.
pub fn parse_what_can_be<T: DeserializeOwned>(source: &[u8]) -> Result<(T, Vec<Error>)> {
    let first = match parse(source) {
        Ok(whole) => return Ok((whole, Vec::new())),
        Err(error) => error,
    };
    let Ok(mut rest) = serde_json::from_slice::<Value>(source) else {
        return Err(first);
    };
    let mut errors: Vec<Error> = Vec::new();
    let mut next = first.clone();
    loop {
        let pointer = next.pointer().unwrap_or_default().to_owned();
        // What lacks a value only since that was left out says nothing new.
        let mut formers = errors.iter().map(|e| e.pointer().unwrap_or_default());
        if !formers.any(|former| is_in(former, &pointer)) {
            errors.push(next);
        }
        if !leave_out(&mut rest, &pointer) {
            return Err(first);
        }
        let text = rest.to_string();
        next = match parse(text.as_bytes()) {
            Ok(what_is_left) => return Ok((what_is_left, errors)),
            Err(error) => without_line(&error),
        };
    }
}

/// Takes the value at `pointer` away, or where it is of a list, the list: the places of the others
/// would no longer be theirs. False where there is nothing left to take away.
fn leave_out(value: &mut Value, pointer: &str) -> bool {
    let mut pointer = pointer;
    while let Some((parent, part)) = pointer.rsplit_once('/') {
        if let Some(Value::Object(fields)) = value.pointer_mut(parent) {
            return fields.remove(&key_of_part(part)).is_some();
        }
        pointer = parent;
    }
    false
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
    if source.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'[') {
        return Err(Error::invalid("has to be a list of mounts"));
    }
    serde_json::from_slice(source).map_err(|error| explain(source, &error))
}

fn explain(source: &[u8], error: &serde_json::Error) -> Error {
    if error.classify() != serde_json::error::Category::Data {
        return Error::invalid(format!("not JSON: {error}"));
    }
    // A wrong value is quoted whole; it may be long.
    let message = shorten(&error.to_string(), 240);
    let pointer = place::pointer_at(source, error.line(), error.column());
    match pointer.as_str() {
        "" => Error::invalid(message),
        _ => {
            Error::invalid(format!("{}: {message}", place_in_words(&pointer))).with_pointer(pointer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Config;

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
        ] {
            let found = parse::<Config>(source.as_bytes()).unwrap_err();
            assert_eq!(found.to_string(), error);
        }
    }

    #[test]
    fn every_wrong_type_is_named_and_the_rest_is_read() {
        let source = br#"{"ociVersion": "1.0.2", "hostname": 7,
            "process": {"args": ["sh", 1, 2], "cwd": "/", "terminal": "no"},
            "linux": {"seccomp": {"defaultAction": 5}, "maskedPaths": ["/a"]}}"#;
        let (config, errors): (Config, _) = parse_what_can_be(source).unwrap();
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let mut places: Vec<&str> = errors.iter().filter_map(|e| e.split(": ").next()).collect();
        places.sort_unstable();
        assert_eq!(
            places,
            [
                "hostname",
                "linux.seccomp.defaultAction",
                "process.args[1]",
                "process.terminal"
            ],
            "{errors:?}"
        );
        assert!(errors[0].contains(" at line 1 column "), "{}", errors[0]);
        assert!(errors[1..].iter().all(|error| !error.contains("at line")));
        assert_eq!(config.oci_version.as_deref(), Some("1.0.2"));
        assert_eq!(config.linux().masked_paths.len(), 1);
        assert!(config.linux().seccomp.is_none());
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
