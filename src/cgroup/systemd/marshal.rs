//! Values to the bytes of the wire: D-Bus specification, "Marshaling (Wire Format)".
//!
//! Always little-endian, which every reader has to understand.
//!
//! Runs in: parent.

use crate::plan::scope::value::Value;

/// How a type begins on the wire: at a multiple of this many bytes from the message's start.
pub fn alignment(signature: &str) -> usize {
    match signature.as_bytes().first() {
        Some(b'y' | b'g' | b'v') => 1,
        Some(b'n' | b'q') => 2,
        Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
        _ => 4,
    }
}

pub fn pad(out: &mut Vec<u8>, alignment: usize) {
    out.resize(out.len().next_multiple_of(alignment), 0);
}

/// Appends `value` to a part of a message that begins at a multiple of 8 bytes.
pub fn write(out: &mut Vec<u8>, value: &Value) {
    pad(out, alignment(&value.signature()));
    match value {
        Value::Byte(n) => out.push(*n),
        Value::Boolean(n) => out.extend(u32::from(*n).to_le_bytes()),
        Value::Int16(n) => out.extend(n.to_le_bytes()),
        Value::Uint16(n) => out.extend(n.to_le_bytes()),
        Value::Int32(n) => out.extend(n.to_le_bytes()),
        Value::Uint32(n) => out.extend(n.to_le_bytes()),
        Value::Int64(n) => out.extend(n.to_le_bytes()),
        Value::Uint64(n) => out.extend(n.to_le_bytes()),
        Value::Double(n) => out.extend(n.to_le_bytes()),
        Value::String(text) | Value::ObjectPath(text) => {
            write_length(out, text.len());
            write_text(out, text);
        }
        Value::Signature(text) => write_signature(out, text),
        Value::Array(item, items) => write_array(out, item, items),
        Value::Struct(fields) => fields.iter().for_each(|field| write(out, field)),
        Value::DictEntry(key, value) => {
            write(out, key);
            write(out, value);
        }
        Value::Variant(value) => {
            write_signature(out, &value.signature());
            write(out, value);
        }
    }
}

/// The length counts the items alone, not the padding before the first.
fn write_array(out: &mut Vec<u8>, item: &str, items: &[Value]) {
    let length_at = out.len();
    write_length(out, 0);
    pad(out, alignment(item));
    let start = out.len();
    for value in items {
        write(out, value);
    }
    let length = out.len() - start;
    out[length_at..length_at + 4].copy_from_slice(&length_of(length).to_le_bytes());
}

fn write_signature(out: &mut Vec<u8>, text: &str) {
    // A signature is of types in this program, a few letters.
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    write_text(out, text);
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    out.extend(text.as_bytes());
    out.push(0);
}

fn write_length(out: &mut Vec<u8>, length: usize) {
    out.extend(length_of(length).to_le_bytes());
}

/// What is too long for this is too long for a message, and is not sent.
fn length_of(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, value);
        out
    }

    #[test]
    fn values_lie_as_the_specification_has_them() {
        assert_eq!(bytes(&Value::string("foo")), b"\x03\0\0\0foo\0");
        assert_eq!(bytes(&Value::Signature("as".into())), b"\x02as\0");
        assert_eq!(bytes(&Value::Boolean(true)), [1, 0, 0, 0]);
        // Padding before the first item of eight bytes is there in an empty array too, and is
        // not counted.
        let empty = Value::Array("t".into(), Vec::new());
        assert_eq!(bytes(&empty), [0; 8]);
        let one = Value::Array("t".into(), vec![Value::Uint64(5)]);
        assert_eq!(
            bytes(&one),
            [8, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]
        );
        let pair = Value::Struct(vec![Value::Byte(1), Value::variant(Value::Uint32(2))]);
        assert_eq!(bytes(&pair), [1, 1, b'u', 0, 2, 0, 0, 0]);
    }
}
