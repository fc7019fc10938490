//! The wire format of protocol buffers, as far as CRIU's messages use it: numbers as
//! varints, texts and messages with their length before them.
//!
//! Source: protobuf.dev, "Encoding". Why not a crate: docs/design/0014-checkpoint.md.
//!
//! Runs in: parent.

use crate::error::{Error, Result};

const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const WITH_LENGTH: u64 = 2;
const FIXED_32: u64 = 5;

/// A message being written: fields by their number.
#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An enum's value, an unsigned number, or a signed one, which takes ten bytes where it
    /// is negative.
    pub fn number(&mut self, field: u32, value: i64) {
        self.key(field, VARINT);
        self.varint(value as u64);
    }

    pub fn flag(&mut self, field: u32, value: bool) {
        self.number(field, i64::from(value));
    }

    pub fn text(&mut self, field: u32, text: &[u8]) {
        self.key(field, WITH_LENGTH);
        self.varint(text.len() as u64);
        self.bytes.extend_from_slice(text);
    }

    pub fn message(&mut self, field: u32, message: &Writer) {
        self.text(field, &message.bytes);
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn key(&mut self, field: u32, kind: u64) {
        self.varint(u64::from(field) << 3 | kind);
    }

    /// Seven bits a byte, the lowest first; the eighth says that there are more.
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    Number(i64),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    pub fn number(self) -> Option<i64> {
        match self {
            Value::Number(number) => Some(number),
            Value::Bytes(_) => None,
        }
    }

    pub fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Value::Bytes(bytes) => Some(bytes),
            Value::Number(_) => None,
        }
    }
}

/// All fields of a message in their order. Those of a fixed length, which no message of
/// CRIU's has yet, are passed over.
pub fn fields(message: &[u8]) -> Result<Vec<(u32, Value<'_>)>> {
    let mut reader = Reader { rest: message };
    let mut fields = Vec::new();
    while !reader.rest.is_empty() {
        if let Some(field) = reader.field().ok_or_else(malformed)? {
            fields.push(field);
        }
    }
    Ok(fields)
}

fn malformed() -> Error {
    Error::system("criu: a message that is no protocol buffer")
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// None: cut short or not understood. Some(None): passed over.
    fn field(&mut self) -> Option<Option<(u32, Value<'a>)>> {
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).ok()?;
        let value = match key & 7 {
            VARINT => Value::Number(self.varint()? as i64),
            WITH_LENGTH => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            FIXED_64 => return self.take(8).map(|_| None),
            FIXED_32 => return self.take(4).map(|_| None),
            _ => return None,
        };
        Some(Some((number, value)))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_the_examples_of_the_format() {
        // protobuf.dev, "Encoding": field 1 is 150; field 2 is "testing".
        let mut writer = Writer::default();
        writer.number(1, 150);
        writer.text(2, b"testing");
        assert_eq!(writer.into_bytes(), b"\x08\x96\x01\x12\x07testing");
    }

    #[test]
    fn what_is_written_is_read() {
        let mut inner = Writer::default();
        inner.number(1, -1);
        let mut writer = Writer::default();
        writer.flag(3, true);
        writer.message(100, &inner);
        let bytes = writer.into_bytes();
        let fields = fields(&bytes).unwrap();
        assert_eq!(fields[0], (3, Value::Number(1)));
        assert_eq!(fields[1].0, 100);
        let inner = super::fields(fields[1].1.bytes().unwrap()).unwrap();
        assert_eq!(inner, [(1, Value::Number(-1))]);
    }

    #[test]
    fn a_message_that_is_cut_short_is_an_error_and_no_panic() {
        let whole = b"\x08\x96\x01\x12\x07testing\x1912345678\x251234";
        assert_eq!(fields(whole).unwrap().len(), 2);
        let ends = [3, 12, 21, 26];
        for length in 1..whole.len() {
            assert_eq!(
                fields(&whole[..length]).is_ok(),
                ends.contains(&length),
                "{length}"
            );
        }
        assert!(fields(&[0xff; 12]).is_err());
        assert!(fields(b"\x0b").is_err());
    }
}
