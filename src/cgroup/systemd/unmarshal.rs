//! The bytes of the wire to values. Whatever the bytes are, the answer is a value or an error.
//!
//! Runs in: parent.

use super::marshal::alignment;
use crate::plan::scope::value::Value;

/// How deep types may be in one another: D-Bus allows 32 arrays in 32 structures.
const DEEPEST: usize = 64;

/// What is wrong with a message, for an error's text.
pub type Fault = &'static str;
type Read<T> = std::result::Result<T, Fault>;

const SHORT: Fault = "it ends too early";
const SIGNATURE: Fault = "a signature that is none";

pub struct Reader<'a> {
    bytes: &'a [u8],
    /// From the beginning of `bytes`, which is at a multiple of eight in the message.
    at: usize,
    big_endian: bool,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8], big_endian: bool) -> Reader<'a> {
        Reader {
            bytes,
            at: 0,
            big_endian,
        }
    }

    /// Every value of `signature`, in its order.
    pub fn values(&mut self, signature: &str) -> Read<Vec<Value>> {
        split(signature)?
            .into_iter()
            .map(|kind| self.value(kind, DEEPEST))
            .collect()
    }

    pub fn align(&mut self, alignment: usize) -> Read<()> {
        let padding = self.at.next_multiple_of(alignment) - self.at;
        self.take(padding).map(drop)
    }

    pub fn position(&self) -> usize {
        self.at
    }

    fn value(&mut self, kind: &str, depth: usize) -> Read<Value> {
        let depth = depth
            .checked_sub(1)
            .ok_or("types too deep in one another")?;
        self.align(alignment(kind))?;
        Ok(match kind.as_bytes().first() {
            Some(b'y') => Value::Byte(self.take(1)?[0]),
            Some(b'b') => match self.u32()? {
                n @ (0 | 1) => Value::Boolean(n == 1),
                _ => return Err("a boolean that is neither 0 nor 1"),
            },
            Some(b'n') => Value::Int16(self.number().map(i16::from_le_bytes)?),
            Some(b'q') => Value::Uint16(self.number().map(u16::from_le_bytes)?),
            Some(b'i') => Value::Int32(self.number().map(i32::from_le_bytes)?),
            // A descriptor's index; none is ever asked for.
            Some(b'u' | b'h') => Value::Uint32(self.u32()?),
            Some(b'x') => Value::Int64(self.number().map(i64::from_le_bytes)?),
            Some(b't') => Value::Uint64(self.number().map(u64::from_le_bytes)?),
            Some(b'd') => Value::Double(self.number().map(f64::from_le_bytes)?),
            Some(b's') => Value::String(self.string()?),
            Some(b'o') => Value::ObjectPath(self.string()?),
            Some(b'g') => Value::Signature(self.signature()?),
            Some(b'v') => {
                let signature = self.signature()?;
                match split(&signature)?[..] {
                    [kind] => Value::variant(self.value(kind, depth)?),
                    _ => return Err("a variant that has not one type"),
                }
            }
            Some(b'a') => self.array(&kind[1..], depth)?,
            Some(b'(') => {
                let fields = split(&kind[1..kind.len() - 1])?;
                let fields = fields.into_iter().map(|field| self.value(field, depth));
                Value::Struct(fields.collect::<Read<_>>()?)
            }
            Some(b'{') => match split(&kind[1..kind.len() - 1])?[..] {
                [key, value] => {
                    let key = self.value(key, depth)?;
                    Value::DictEntry(Box::new(key), Box::new(self.value(value, depth)?))
                }
                _ => return Err(SIGNATURE),
            },
            _ => return Err(SIGNATURE),
        })
    }

    fn array(&mut self, item: &str, depth: usize) -> Read<Value> {
        let length = self.u32()? as usize;
        self.align(alignment(item))?;
        let end = self.at.checked_add(length).ok_or(SHORT)?;
        if end > self.bytes.len() {
            return Err(SHORT);
        }
        let mut items = Vec::new();
        while self.at < end {
            items.push(self.value(item, depth)?);
        }
        match self.at == end {
            true => Ok(Value::Array(item.to_owned(), items)),
            false => Err("an array whose last item is longer than it"),
        }
    }

    fn string(&mut self) -> Read<String> {
        let length = self.u32()? as usize;
        self.text(length)
    }

    fn signature(&mut self) -> Read<String> {
        let length = self.take(1)?[0];
        self.text(length.into())
    }

    fn text(&mut self, length: usize) -> Read<String> {
        let text =
            std::str::from_utf8(self.take(length)?).map_err(|_| "a text that is not UTF-8")?;
        match self.take(1)? {
            [0] if !text.contains('\0') => Ok(text.to_owned()),
            _ => Err("a text without a NUL at its end, or with one before"),
        }
    }

    fn u32(&mut self) -> Read<u32> {
        self.number().map(u32::from_le_bytes)
    }

    /// The bytes of a number, the lowest first.
    fn number<const N: usize>(&mut self) -> Read<[u8; N]> {
        let mut bytes: [u8; N] = self.take(N)?.try_into().map_err(|_| SHORT)?;
        if self.big_endian {
            bytes.reverse();
        }
        Ok(bytes)
    }

    fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        let end = self.at.checked_add(length).ok_or(SHORT)?;
        let taken = self.bytes.get(self.at..end).ok_or(SHORT)?;
        self.at = end;
        Ok(taken)
    }
}

/// The complete types of a signature: `a{sv}u(ss)` is three.
fn split(signature: &str) -> Read<Vec<&str>> {
    if !signature.is_ascii() {
        return Err(SIGNATURE);
    }
    let mut kinds = Vec::new();
    let mut rest = signature;
    while !rest.is_empty() {
        let (kind, behind) = rest.split_at(length_of_first(rest.as_bytes())?);
        kinds.push(kind);
        rest = behind;
    }
    Ok(kinds)
}

fn length_of_first(signature: &[u8]) -> Read<usize> {
    let arrays = signature.iter().take_while(|b| **b == b'a').count();
    let mut open = Vec::new();
    for (n, byte) in signature.iter().enumerate().skip(arrays) {
        match byte {
            b'(' => open.push(b')'),
            b'{' => open.push(b'}'),
            b')' | b'}' if open.pop() != Some(*byte) || signature[n - 1] == b'(' => {
                return Err(SIGNATURE);
            }
            b')' | b'}' | b'a' => {}
            b'y' | b'b' | b'n' | b'q' | b'i' | b'u' | b'x' | b't' | b'd' | b's' | b'o' | b'g'
            | b'v' | b'h' => {}
            _ => return Err(SIGNATURE),
        }
        if open.is_empty() && *byte != b'a' {
            return Ok(n + 1);
        }
    }
    Err(SIGNATURE)
}

#[cfg(test)]
mod tests {
    use super::super::marshal::write;
    use super::*;

    fn read(bytes: &[u8], signature: &str) -> Read<Vec<Value>> {
        Reader::new(bytes, false).values(signature)
    }

    fn samples() -> Vec<Value> {
        vec![
            Value::Byte(7),
            Value::Int16(-2),
            Value::Uint16(3),
            Value::Boolean(true),
            Value::Int32(-5),
            Value::Int64(i64::MIN),
            Value::Double(0.5),
            Value::ObjectPath("/a".into()),
            Value::Signature("a{sv}".into()),
            Value::strings(["", "xyz"]),
            Value::Array("t".into(), Vec::new()),
            Value::Array(
                "(sv)".into(),
                vec![Value::Struct(vec![
                    Value::string("PIDs"),
                    Value::variant(Value::Array("u".into(), vec![Value::Uint32(1)])),
                ])],
            ),
            Value::Array(
                "{sv}".into(),
                vec![Value::DictEntry(
                    Box::new(Value::string("k")),
                    Box::new(Value::variant(Value::bytes([1, 2, 3]))),
                )],
            ),
            Value::Uint64(u64::MAX),
        ]
    }

    fn sample_bytes() -> (Vec<u8>, String) {
        let mut bytes = Vec::new();
        let samples = samples();
        samples.iter().for_each(|value| write(&mut bytes, value));
        (bytes, samples.iter().map(Value::signature).collect())
    }

    #[test]
    fn what_was_written_is_read() {
        let (bytes, signature) = sample_bytes();
        assert_eq!(read(&bytes, &signature), Ok(samples()));
    }

    #[test]
    fn numbers_of_either_order_are_read() {
        let mut reader = Reader::new(b"\0\0\0\x05\0\0\0\x01x\0", true);
        assert_eq!(
            reader.values("us"),
            Ok(vec![Value::Uint32(5), Value::string("x")])
        );
    }

    #[test]
    fn no_bytes_are_bad_enough_for_a_panic() {
        let (bytes, signature) = sample_bytes();
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end], &signature).is_err(), "{end}");
        }
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        for round in 0..20_000 {
            let mut damaged = bytes.clone();
            for _ in 0..1 + round % 4 {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                let at = (seed >> 16) as usize % damaged.len();
                damaged[at] = (seed >> 40) as u8;
            }
            let _ = read(&damaged, &signature);
            let _ = read(&damaged, "a{sv}a(ss)v");
            let _ = Reader::new(&damaged, true).values(&signature);
        }
    }

    #[test]
    fn a_signature_that_is_none_is_refused() {
        for signature in [
            "a", "(", ")", "(s", "s)", "{s", "a{s", "aa", "z", "(}", "()", "a()", "r", "\u{e4}",
            "(a)",
        ] {
            assert!(read(&[0; 64], signature).is_err(), "{signature}");
        }
        let deep = "a".repeat(200) + "s";
        assert!(read(&[0; 64], &deep).is_ok_and(|values| values.len() == 1));
        // Each variant holds a variant.
        let variants: Vec<u8> = b"\x01v\0".repeat(200);
        assert!(read(&variants, "v").is_err());
        assert_eq!(
            split("a{sv}u(ss)aas").unwrap(),
            ["a{sv}", "u", "(ss)", "aas"]
        );
    }

    #[test]
    fn an_array_is_not_longer_than_the_message() {
        assert_eq!(read(b"\xff\xff\xff\xff", "ay"), Err(SHORT));
        assert!(read(b"\x05\0\0\0\0\0\0\0\0\0\0\0", "au").is_err());
    }
}
