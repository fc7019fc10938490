//! Where each value of a text in JSON begins, so that what is said of it can be put in order.
//!
//! Runs in: parent, for `rt check`.

use std::collections::HashMap;

use super::place::{Around, after_string, after_value, next_token, write_pointer};

/// Where the values of a text begin.
pub struct Offsets(HashMap<String, usize>);

impl Offsets {
    /// Nothing of config.json lies deeper.
    const DEEPEST: usize = 16;

    /// Reads `source` once. The text has to be JSON.
    pub fn new(source: &[u8]) -> Offsets {
        let mut offsets = HashMap::new();
        let mut around: Vec<Around> = Vec::new();
        let mut at = next_token(source, 0);
        while let Some(byte) = source.get(at) {
            match (byte, around.last_mut()) {
                (b']' | b'}', _) => {
                    around.pop();
                    at += 1;
                }
                (b',', Some(Around::List(index))) => {
                    *index += 1;
                    at += 1;
                }
                (b',', Some(Around::Object(key))) => {
                    *key = None;
                    at += 1;
                }
                (b'"', Some(Around::Object(key @ None))) => {
                    let after = after_string(source, at);
                    *key = serde_json::from_slice(&source[at..after]).ok();
                    at = next_token(source, after) + 1;
                }
                _ => {
                    if around.len() <= Self::DEEPEST {
                        let pointer = write_pointer(&around, around.len());
                        offsets.entry(pointer).or_insert(at);
                    }
                    at = match byte {
                        b'[' => {
                            around.push(Around::List(0));
                            at + 1
                        }
                        b'{' => {
                            around.push(Around::Object(None));
                            at + 1
                        }
                        // One byte at least, whatever it is.
                        _ => after_value(source, at).max(at + 1),
                    };
                }
            }
            at = next_token(source, at);
        }
        Offsets(offsets)
    }

    /// The offset of the value at `pointer`, or of the innermost value on the way to it that is
    /// there.
    pub fn of(&self, pointer: &str) -> usize {
        let mut pointer = pointer;
        loop {
            if let Some(offset) = self.0.get(pointer) {
                return *offset;
            }
            match pointer.rsplit_once('/') {
                Some((outer, _)) => pointer = outer,
                None => return 0,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_pointer() {
        let source = br#" {"a": [1, {"b\"/c": "x,y]", "d": {}}], "e": null, "~k": [ ] }"#;
        let offsets = Offsets::new(source);
        let rest = |pointer| &source[offsets.of(pointer)..];
        for (pointer, start) in [
            ("", "{\"a\""),
            ("/a", "[1,"),
            ("/a/0", "1,"),
            ("/a/1/d", "{}}"),
            ("/a/1/b\"~1c", "\"x,y"),
            ("/e", "null"),
            ("/~0k", "[ ]"),
            // What is not there: what should hold it.
            ("/~0k/0", "[ ]"),
            ("/a/7", "[1,"),
            ("/e/f", "null"),
            ("/nowhere", "{\"a\""),
        ] {
            assert!(rest(pointer).starts_with(start.as_bytes()), "{pointer}");
        }
    }
}
