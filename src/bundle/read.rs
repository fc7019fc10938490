//! From bytes to the types of config.json, with errors that name the place.
//!
//! Runs in: parent.

use serde::de::DeserializeOwned;

use super::checks::place_in_words;
use crate::error::{Error, Result};
use crate::log;

/// Reads `source`; an error names the place in JSON's terms, or where it is no JSON the line
/// and the column.
pub fn parse<T: DeserializeOwned>(source: &[u8]) -> Result<T> {
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
    let message = error.inner().to_string();
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
