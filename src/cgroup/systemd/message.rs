//! One message: its header and its body. D-Bus specification, "Message Protocol".
//!
//! Runs in: parent.

use super::marshal::{pad, write};
use super::unmarshal::{Fault, Reader};
use crate::plan::scope::value::Value;

/// Nothing that is asked here is answered by more; the specification allows 128 MiB.
pub const LONGEST: usize = 1 << 20;

/// The length of what says how long the rest is.
pub const START: usize = 16;

const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

/// Header fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// A method to be called.
#[derive(Clone, Copy, Debug)]
pub struct Method<'a> {
    pub destination: &'a str,
    pub path: &'a str,
    pub interface: &'a str,
    pub member: &'a str,
}

/// What came.
#[derive(Debug, PartialEq)]
pub enum Incoming {
    /// The answer to the call with that serial.
    Return(u32, Vec<Value>),
    /// The same, and why it was refused: the error's name and its text.
    Error(u32, String, String),
    /// A signal's name and its arguments.
    Signal(String, Vec<Value>),
    /// A call of a method of ours; there are none.
    Other,
}

/// The bytes of a call. None where it would be too long.
pub fn call(serial: u32, method: &Method<'_>, arguments: &[Value]) -> Option<Vec<u8>> {
    let fields = vec![
        field(PATH, Value::ObjectPath(method.path.into())),
        field(INTERFACE, Value::string(method.interface)),
        field(MEMBER, Value::string(method.member)),
        field(DESTINATION, Value::string(method.destination)),
    ];
    build(METHOD_CALL, serial, fields, arguments)
}

fn field(code: u8, value: Value) -> Value {
    Value::Struct(vec![Value::Byte(code), Value::variant(value)])
}

fn build(kind: u8, serial: u32, mut fields: Vec<Value>, arguments: &[Value]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    arguments.iter().for_each(|value| write(&mut body, value));
    let signature: String = arguments.iter().map(Value::signature).collect();
    if !signature.is_empty() {
        fields.push(field(SIGNATURE, Value::Signature(signature)));
    }
    let length = u32::try_from(body.len()).ok()?;
    let mut message = vec![b'l', kind, 0, 1];
    message.extend(length.to_le_bytes());
    message.extend(serial.to_le_bytes());
    write(&mut message, &Value::Array("(yv)".into(), fields));
    pad(&mut message, 8);
    message.extend(body);
    (message.len() <= LONGEST).then_some(message)
}

/// The length of the whole message that begins with these bytes.
pub fn length(start: &[u8; START]) -> Result<usize, Fault> {
    let big_endian = is_big_endian(start[0])?;
    let number = |at: usize| {
        let bytes = [start[at], start[at + 1], start[at + 2], start[at + 3]];
        match big_endian {
            true => u32::from_be_bytes(bytes) as usize,
            false => u32::from_le_bytes(bytes) as usize,
        }
    };
    if start[3] != 1 {
        return Err("another version of the protocol");
    }
    let (body, fields) = (number(4), number(12));
    if body > LONGEST || fields > LONGEST {
        return Err("too long");
    }
    let whole = (START + fields).next_multiple_of(8) + body;
    match whole > LONGEST {
        true => Err("too long"),
        false => Ok(whole),
    }
}

/// Reads a whole message.
pub fn parse(bytes: &[u8]) -> Result<Incoming, Fault> {
    let (kind, fields, arguments) = take_apart(bytes)?;
    Ok(match kind {
        METHOD_RETURN => Incoming::Return(fields.reply_to, arguments),
        ERROR => {
            let text = arguments.first().and_then(Value::as_str);
            let text = text.unwrap_or_default().to_owned();
            Incoming::Error(fields.reply_to, fields.error, text)
        }
        SIGNAL => Incoming::Signal(fields.member, arguments),
        _ => Incoming::Other,
    })
}

/// The kind of a message, what its header says, and its arguments.
fn take_apart(bytes: &[u8]) -> Result<(u8, Fields, Vec<Value>), Fault> {
    let big_endian = is_big_endian(*bytes.first().ok_or("empty")?)?;
    let mut reader = Reader::new(bytes, big_endian);
    let header = reader.values("yyyyuua(yv)")?;
    reader.align(8)?;
    let mut fields = Fields::default();
    for (code, value) in header.last().into_iter().flat_map(field_values) {
        match (code, value) {
            (MEMBER, Value::String(text)) => fields.member.clone_from(text),
            (ERROR_NAME, Value::String(text)) => fields.error.clone_from(text),
            (REPLY_SERIAL, Value::Uint32(serial)) => fields.reply_to = *serial,
            (SIGNATURE, Value::Signature(text)) => fields.signature.clone_from(text),
            _ => {}
        }
    }
    let body = bytes.get(reader.position()..).unwrap_or_default();
    let arguments = Reader::new(body, big_endian).values(&fields.signature)?;
    match header.get(1) {
        Some(Value::Byte(kind)) => Ok((*kind, fields, arguments)),
        _ => Err("a header without a kind"),
    }
}

#[derive(Default)]
struct Fields {
    member: String,
    error: String,
    reply_to: u32,
    signature: String,
}

fn field_values(fields: &Value) -> Vec<(u8, &Value)> {
    let Value::Array(_, fields) = fields else {
        return Vec::new();
    };
    fields
        .iter()
        .filter_map(|field| match field {
            Value::Struct(pair) => match &pair[..] {
                [Value::Byte(code), Value::Variant(value)] => Some((*code, &**value)),
                _ => None,
            },
            _ => None,
        })
        .collect()
}

fn is_big_endian(mark: u8) -> Result<bool, Fault> {
    match mark {
        b'l' => Ok(false),
        b'B' => Ok(true),
        _ => Err("neither of the two byte orders"),
    }
}

/// What the other side of a connection says and hears, for tests.
#[cfg(test)]
pub mod bus {
    use super::*;

    pub fn answer(to: u32, arguments: &[Value]) -> Vec<u8> {
        let fields = vec![field(REPLY_SERIAL, Value::Uint32(to))];
        build(METHOD_RETURN, 1, fields, arguments).unwrap()
    }

    pub fn error(to: u32, name: &str, text: &str) -> Vec<u8> {
        let fields = vec![
            field(REPLY_SERIAL, Value::Uint32(to)),
            field(ERROR_NAME, Value::string(name)),
        ];
        build(ERROR, 1, fields, &[Value::string(text)]).unwrap()
    }

    pub fn signal(member: &str, arguments: &[Value]) -> Vec<u8> {
        let fields = vec![field(MEMBER, Value::string(member))];
        build(SIGNAL, 1, fields, arguments).unwrap()
    }

    /// Serial, name and arguments of a call.
    pub fn heard(bytes: &[u8]) -> (u32, String, Vec<Value>) {
        let (_, fields, arguments) = take_apart(bytes).unwrap();
        let serial = u32::from_le_bytes(bytes[8..12].try_into().unwrap());
        (serial, fields.member, arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: Method<'static> = Method {
        destination: "org.freedesktop.DBus",
        path: "/org/freedesktop/DBus",
        interface: "org.freedesktop.DBus",
        member: "Hello",
    };

    fn start(bytes: &[u8]) -> [u8; START] {
        bytes[..START].try_into().unwrap()
    }

    /// A call looks like an answer but for its kind.
    fn answer(kind: u8, arguments: &[Value]) -> Vec<u8> {
        let mut bytes = call(7, &HELLO, arguments).unwrap();
        bytes[1] = kind;
        bytes
    }

    #[test]
    fn a_call_has_the_length_that_its_start_says() {
        for text in ["", "a", "abcdefghij"] {
            let bytes = call(1, &HELLO, &[Value::string(text)]).unwrap();
            assert_eq!(length(&start(&bytes)), Ok(bytes.len()));
        }
        let bytes = call(1, &HELLO, &[]).unwrap();
        assert_eq!(length(&start(&bytes)), Ok(bytes.len()));
        assert_eq!(parse(&bytes), Ok(Incoming::Other));
        assert!(call(1, &HELLO, &[Value::string("x".repeat(LONGEST))]).is_none());
    }

    #[test]
    fn answers_errors_and_signals_are_told_apart() {
        let arguments = [Value::string("why"), Value::Uint32(5)];
        assert_eq!(
            parse(&answer(METHOD_RETURN, &arguments)),
            Ok(Incoming::Return(0, arguments.to_vec()))
        );
        assert_eq!(
            parse(&answer(ERROR, &arguments)),
            Ok(Incoming::Error(0, String::new(), "why".into()))
        );
        assert_eq!(
            parse(&answer(SIGNAL, &arguments)),
            Ok(Incoming::Signal("Hello".into(), arguments.to_vec()))
        );
    }

    #[test]
    fn a_message_that_is_too_long_is_refused_at_its_start() {
        let mut bytes = answer(SIGNAL, &[]);
        bytes[4..8].copy_from_slice(&[0xff; 4]);
        assert_eq!(length(&start(&bytes)), Err("too long"));
        bytes[0] = b'?';
        assert!(length(&start(&bytes)).is_err());
    }

    #[test]
    fn damaged_messages_are_errors() {
        let whole = answer(SIGNAL, &[Value::strings(["a", "b"])]);
        for end in 0..whole.len() {
            assert!(parse(&whole[..end]).is_err(), "{end}");
        }
        for at in 0..whole.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = byte;
                let _ = parse(&damaged);
            }
        }
    }
}
