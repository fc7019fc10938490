//! From bytes to the types of config.json, with errors that name the place.
//!
//! Runs in: parent.

use serde::de::DeserializeOwned;

use super::checks::{place_in_words, shorten};
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
    fn a_list_that_go_never_filled_is_an_empty_one() {
        let source = br#"{"mounts": null, "linux": {"sysctl": null, "maskedPaths": null}}"#;
        let config: Config = parse(source).unwrap();
        assert!(config.mounts.is_empty() && config.linux().sysctl.is_empty());
    }
}
