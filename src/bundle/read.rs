//! From bytes to the types of config.json, with errors that name the place.
//!
//! Runs in: parent.

use serde::de::DeserializeOwned;

use super::checks::{place_in_words, shorten};
use crate::error::{Error, Result};
use crate::log;

/// Reads `source`; an error names the place in JSON's terms, or where it is no JSON the line
/// and the column.
pub fn parse<T: DeserializeOwned>(source: &[u8]) -> Result<T> {
    // serde reads a list as the fields of a struct in their order; nobody means that.
    if source.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        return Err(Error::invalid("is a list, and has to be an object"));
    }
    // The path is kept track of only once something is known to be wrong: that costs time.
    serde_json::from_slice(source).map_err(|_| explain::<T>(source))
}

fn explain<T: DeserializeOwned>(source: &[u8]) -> Error {
    let mut deserializer = serde_json::Deserializer::from_slice(source);
    let error = match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Err(error) => error,
        Ok(_) => match deserializer.end() {
            Err(error) => return Error::invalid(format!("not JSON: {error}")),
            Ok(()) => return Error::invalid("read differently the second time"),
        },
    };
    if error.inner().classify() != serde_json::error::Category::Data {
        return Error::invalid(format!("not JSON: {}", error.inner()));
    }
    let pointer = pointer(error.path());
    // A wrong value is quoted whole; it may be long.
    let message = shorten(&error.inner().to_string(), 240);
    match pointer.as_str() {
        "" => Error::invalid(message),
        _ => {
            Error::invalid(format!("{}: {message}", place_in_words(&pointer))).with_pointer(pointer)
        }
    }
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        let name = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => key.replace('~', "~0").replace('/', "~1"),
            Segment::Enum { variant } => variant.clone(),
            Segment::Unknown => continue,
        };
        pointer.push('/');
        pointer.push_str(&name);
    }
    pointer
}

/// One warning for each field that is not the specification's. Looked for only when warnings
/// are shown, since it reads the file a second time.
pub fn unknown_fields<T: DeserializeOwned>(source: &[u8]) -> Vec<String> {
    if !log::enabled(log::Level::Warning) {
        return Vec::new();
    }
    let mut unknown = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(source);
    let _ = serde_ignored::deserialize::<_, _, T>(&mut deserializer, |path| {
        unknown.push(format!("config.json: {path}: an unknown field, left alone"));
    });
    unknown
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
            assert_eq!(
                parse::<Config>(source.as_bytes()).unwrap_err().to_string(),
                error
            );
        }
    }

    #[test]
    fn a_list_that_go_never_filled_is_an_empty_one() {
        let source = br#"{"mounts": null, "linux": {"sysctl": null, "maskedPaths": null}}"#;
        let config: Config = parse(source).unwrap();
        assert!(config.mounts.is_empty() && config.linux().sysctl.is_empty());
    }
}
