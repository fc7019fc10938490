//! From a line and a column to a place in JSON's terms.
//!
//! The parser knows where in the text it stopped, and keeps no path, which would cost time on
//! the way that works and, as a second copy of every type's reader, a tenth of the binary.
//! Here the text is scanned once more up to that point.
//!
//! Runs in: parent, after a failure.

use serde_json::Value;

use super::checks::pointer_part;

/// What is open around a value.
pub(super) enum Around {
    /// The index of the value.
    List(usize),
    /// The key of the value; none while the next key is waited for.
    Object(Option<String>),
}

/// Where the parser stopped.
pub struct Stop {
    /// Of the innermost value that the parser did not take.
    pub pointer: String,
    /// The offset behind that value, and behind the comma after it.
    pub after: usize,
    /// The beginning of a text that goes on there; none where the value is the whole text.
    pub beginning: Option<Beginning>,
}

/// What is open around the values that a text goes on with, and nothing else of what was before.
#[derive(Default)]
pub struct Beginning {
    pub text: String,
    /// The index that the next value has, of each list and object that the text opens.
    indices: Vec<usize>,
}

/// The JSON pointer of the innermost value that the byte at `line` and `column` belongs to;
/// both count from 1, as the parser's errors do. The text up to there has to be JSON.
pub fn pointer_at(source: &[u8], line: usize, column: usize) -> String {
    let end = offset(source, line, column).min(source.len());
    let (around, _) = scan(source, end, &[]);
    write_pointer(&around, depth(&around, &source[..end]))
}

/// The same with what it takes to go on behind that value, in a text with this beginning.
pub fn stop_at(source: &[u8], line: usize, column: usize, beginning: &Beginning) -> Stop {
    let end = offset(source, line, column).min(source.len());
    let (around, read) = scan(source, end, &beginning.indices);
    let depth = depth(&around, &source[..end]);
    let value_end = match source[..end].last() {
        Some(b'[' | b'{') => after_value(source, end - 1),
        Some(b']' | b'}') => end,
        // A key that was not taken goes with its value.
        _ => match next_token(source, read) {
            at if source.get(at) == Some(&b':') => after_value(source, next_token(source, at + 1)),
            _ => after_value(source, read),
        },
    };
    let comma = next_token(source, value_end);
    Stop {
        pointer: write_pointer(&around, depth),
        after: match source.get(comma) {
            Some(b',') => comma + 1,
            _ => value_end,
        },
        beginning: (depth > 0).then(|| begin(&around[..depth])),
    }
}

fn begin(around: &[Around]) -> Beginning {
    let mut beginning = Beginning::default();
    for (n, around_this) in around.iter().enumerate() {
        let innermost = n + 1 == around.len();
        match around_this {
            Around::List(index) => {
                beginning.text.push('[');
                beginning.indices.push(index + usize::from(innermost));
            }
            Around::Object(key) => {
                beginning.text.push('{');
                beginning.indices.push(0);
                if let (Some(key), false) = (key, innermost) {
                    beginning.text += &format!("{}:", Value::from(key.as_str()));
                }
            }
        }
    }
    beginning
}

/// What is open at `end`, and the offset that was read up to: of a string that reaches beyond,
/// its end. The first lists begin with these `indices`.
fn scan(source: &[u8], end: usize, indices: &[usize]) -> (Vec<Around>, usize) {
    let mut indices = indices.iter().copied();
    let mut around = Vec::new();
    let mut at = 0;
    while at < end {
        match source[at] {
            b'[' => around.push(Around::List(indices.next().unwrap_or(0))),
            b'{' => {
                indices.next();
                around.push(Around::Object(None));
            }
            // The byte that closes still belongs to what it closes.
            b']' | b'}' if at + 1 < end => {
                around.pop();
            }
            b',' => match around.last_mut() {
                Some(Around::List(index)) => *index += 1,
                Some(Around::Object(key)) => *key = None,
                None => {}
            },
            b'"' => {
                let after = after_string(source, at);
                if let Some(Around::Object(key @ None)) = around.last_mut() {
                    *key = serde_json::from_slice(&source[at..after]).ok();
                }
                at = after;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    (around, at)
}

/// How much of `around` is around the value at the end of `read`: a container that was only just
/// opened, or is closed without what it has to hold, is itself the place, not a value within.
fn depth(around: &[Around], read: &[u8]) -> usize {
    let itself = matches!(read.last(), Some(b'[' | b'{' | b']' | b'}'));
    around.len() - usize::from(itself && !around.is_empty())
}

pub(super) fn write_pointer(around: &[Around], depth: usize) -> String {
    let mut pointer = String::new();
    for around in &around[..depth] {
        let part = match around {
            Around::List(index) => index.to_string(),
            Around::Object(Some(key)) => pointer_part(key),
            Around::Object(None) => break,
        };
        pointer.push('/');
        pointer.push_str(&part);
    }
    pointer
}

/// The number of bytes up to and with the one at `line` and `column`.
fn offset(source: &[u8], line: usize, column: usize) -> usize {
    let breaks = source
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n');
    let start = match line.checked_sub(2) {
        Some(n) => breaks.map(|(at, _)| at + 1).nth(n).unwrap_or(source.len()),
        None => 0,
    };
    start + column
}

/// The place after the string that begins at `at`.
pub(super) fn after_string(source: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(byte) = source.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    source.len()
}

pub(super) fn next_token(source: &[u8], at: usize) -> usize {
    let rest = source.get(at..).unwrap_or_default();
    let blanks = rest.iter().take_while(|byte| byte.is_ascii_whitespace());
    at + blanks.count()
}

/// The place after the value that begins at `at`.
pub(super) fn after_value(source: &[u8], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while let Some(byte) = source.get(at) {
        match byte {
            b'"' => {
                at = after_string(source, at);
                if depth == 0 {
                    return at;
                }
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' | b',' if depth == 0 => return at,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::bundle::{Config, example};

    #[test]
    fn a_place_is_found_by_line_and_column() {
        let source = b"{\n \"a\": [1, {\"b\\\"/c\": \"x,y]\", \"d\": {}}],\n \"e\": null}";
        for (line, column, pointer) in [
            (2, 7, "/a"),
            (2, 8, "/a/0"),
            (2, 11, "/a/1"),
            (2, 26, "/a/1/b\"~1c"),
            (2, 34, "/a/1/d"),
            (3, 10, "/e"),
        ] {
            assert_eq!(pointer_at(source, line, column), pointer, "{line}:{column}");
        }
    }

    /// `serde_path_to_error` follows the parser itself; it has to say the same.
    #[test]
    fn the_place_is_the_one_that_the_parser_was_at() {
        let mut good: Value = serde_json::from_str(&example(false)).unwrap();
        good["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
            "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{"names": ["read", "write"], "action": "SCMP_ACT_ALLOW", "args": [
                {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}],
        });
        let mut tried = 0;
        for pointer in every_pointer(&good) {
            for wrong in [
                json!(-1.5),
                json!("x\n"),
                json!([[]]),
                json!({"k": {}}),
                json!(true),
            ] {
                let mut config = good.clone();
                match config.pointer_mut(&pointer).unwrap() {
                    // Fields that have to be there, here with others instead.
                    Value::Object(fields) if wrong == json!(true) => {
                        fields.retain(|key, _| key != "action" && key != "op");
                        fields.remove("defaultAction");
                    }
                    value => *value = wrong,
                }
                let text = serde_json::to_string_pretty(&config).unwrap();
                let mut deserializer = serde_json::Deserializer::from_str(&text);
                let Err(error) = serde_path_to_error::deserialize::<_, Config>(&mut deserializer)
                else {
                    continue;
                };
                let (line, column) = (error.inner().line(), error.inner().column());
                let ours = pointer_at(text.as_bytes(), line, column);
                assert_eq!(ours, theirs(error.path()), "{pointer}: {}", error.inner());
                tried += 1;
            }
        }
        assert!(tried > 100);
    }

    fn theirs(path: &serde_path_to_error::Path) -> String {
        use serde_path_to_error::Segment;
        path.iter()
            .map(|segment| match segment {
                Segment::Seq { index } => format!("/{index}"),
                Segment::Map { key } => format!("/{}", pointer_part(key)),
                _ => String::new(),
            })
            .collect()
    }

    fn every_pointer(value: &Value) -> Vec<String> {
        let below: Vec<(String, &Value)> = match value {
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(n, v)| (n.to_string(), v))
                .collect(),
            Value::Object(fields) => fields.iter().map(|(k, v)| (pointer_part(k), v)).collect(),
            _ => Vec::new(),
        };
        below
            .into_iter()
            .flat_map(|(part, value)| {
                let here = format!("/{part}");
                let inner: Vec<String> = every_pointer(value)
                    .into_iter()
                    .map(|p| format!("{here}{p}"))
                    .collect();
                [vec![here], inner].concat()
            })
            .collect()
    }
}
