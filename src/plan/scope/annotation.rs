//! `org.systemd.property.NAME` annotations: properties of the unit in GVariant's text form.
//!
//! Runs in: parent.

use std::collections::BTreeMap;

use super::Property;
use super::value::Value;
use crate::bundle::checks::{place_in_words, pointer_part};
use crate::error::{Error, Result};

const PREFIX: &str = "org.systemd.property.";

/// How deep lists may be in one another; systemd has no property with more than two.
const DEEPEST: usize = 8;

/// The properties that the annotations ask for. `FooSec`, as unit files have it, is given as
/// the property FooUSec, in microseconds.
pub fn properties(annotations: &BTreeMap<String, String>) -> Result<Vec<Property>> {
    let mut properties = Vec::new();
    for (key, text) in annotations {
        let Some(name) = key.strip_prefix(PREFIX) else {
            continue;
        };
        let pointer = format!("/annotations/{}", pointer_part(key));
        let fault = |what: String| {
            Error::invalid(format!("{}: {what}", place_in_words(&pointer)))
                .with_pointer(pointer.clone())
        };
        if name.len() < 3 || !name.bytes().all(|b| b.is_ascii_alphabetic()) {
            return Err(fault(format!("{name:?} is no name of a property")));
        }
        let value = parse(text).map_err(|what| fault(format!("{text:?}: {what}")))?;
        let seconds = name
            .strip_suffix("Sec")
            .filter(|stem| stem.ends_with(|c: char| c.is_ascii_lowercase()));
        properties.push(match seconds {
            None => Property::new(name, value),
            Some(stem) => {
                let value = microseconds(&value)
                    .ok_or_else(|| fault(format!("{text:?} is no number of seconds")))?;
                Property::new(format!("{stem}USec"), Value::Uint64(value))
            }
        });
    }
    Ok(properties)
}

fn microseconds(seconds: &Value) -> Option<u64> {
    const SECOND: u64 = 1_000_000;
    let whole = |n: u64| n.checked_mul(SECOND);
    match *seconds {
        Value::Byte(n) => whole(n.into()),
        Value::Uint16(n) => whole(n.into()),
        Value::Uint32(n) => whole(n.into()),
        Value::Uint64(n) => whole(n),
        Value::Int16(n) => whole(n.try_into().ok()?),
        Value::Int32(n) => whole(n.try_into().ok()?),
        Value::Int64(n) => whole(n.try_into().ok()?),
        // What is too much saturates.
        Value::Double(n) if n >= 0.0 => Some((n * SECOND as f64) as u64),
        _ => None,
    }
}

type Parsed<T> = std::result::Result<T, &'static str>;

/// Reads one value: `true`, `-5`, `0x10`, `1.5`, `'text'`, `uint64 5`, `['a', 'b']`,
/// `[('/dev/null', 'rw')]`, `@as []`. Numbers without a type are int32, as GVariant has it.
fn parse(text: &str) -> Parsed<Value> {
    let mut rest = Text(text);
    let value = rest.value(None, DEEPEST)?;
    rest.skip_blanks();
    match rest.0 {
        "" => Ok(value),
        _ => Err("there is more behind the value"),
    }
}

struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    fn skip_blanks(&mut self) {
        self.0 = self.0.trim_start();
    }

    fn take(&mut self, token: char) -> bool {
        self.skip_blanks();
        match self.0.strip_prefix(token) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        self.skip_blanks();
        let end = self.0.find(|c| !belongs(c)).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        word
    }

    /// `wanted` is the type that the outside has given it, a signature.
    fn value(&mut self, wanted: Option<&str>, depth: usize) -> Parsed<Value> {
        let depth = depth.checked_sub(1).ok_or("lists in lists in lists")?;
        self.skip_blanks();
        match self.0.chars().next() {
            None => Err("there is no value"),
            Some('@') => {
                self.0 = &self.0[1..];
                let kind = self.word(|c| c.is_ascii_alphabetic() || "(){}".contains(c));
                self.value(Some(kind), depth)
            }
            Some('[') => self.array(wanted, depth),
            Some('(') => self.tuple(depth),
            Some('\'' | '"') => {
                let text = self.quoted()?;
                match wanted.unwrap_or("s") {
                    "s" => Ok(Value::String(text)),
                    "o" => Ok(Value::ObjectPath(text)),
                    "g" => Ok(Value::Signature(text)),
                    _ => Err("a string where something else has to be"),
                }
            }
            Some(c) if c.is_ascii_alphabetic() => self.keyword(wanted, depth),
            Some(_) => {
                let word = self.word(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
                number(word, wanted)
            }
        }
    }

    /// `true`, or the name of a type before its value.
    fn keyword(&mut self, wanted: Option<&str>, depth: usize) -> Parsed<Value> {
        let word = self.word(|c| c.is_ascii_alphanumeric());
        let kind = match word {
            "true" | "false" if wanted.is_none_or(|kind| kind == "b") => {
                return Ok(Value::Boolean(word == "true"));
            }
            "boolean" => "b",
            "byte" => "y",
            "int16" => "n",
            "uint16" => "q",
            "int32" => "i",
            "uint32" => "u",
            "int64" => "x",
            "uint64" => "t",
            "double" => "d",
            "string" => "s",
            "objectpath" => "o",
            "signature" => "g",
            _ => return Err("neither a value nor a type (strings stand in quotes)"),
        };
        self.value(Some(kind), depth)
    }

    fn array(&mut self, wanted: Option<&str>, depth: usize) -> Parsed<Value> {
        self.0 = &self.0[1..];
        let item = match wanted {
            Some(kind) => Some(
                kind.strip_prefix('a')
                    .ok_or("a list where none has to be")?,
            ),
            None => None,
        };
        let mut items: Vec<Value> = Vec::new();
        let mut kind = item
            .filter(|item| !item.starts_with('('))
            .map(str::to_owned);
        while !self.take(']') {
            if !items.is_empty() && !self.take(',') {
                return Err("a list without its end");
            }
            let value = self.value(kind.as_deref(), depth)?;
            // `[uint64 5, 6]`: the first item gives the others their type.
            let of_value = value.signature();
            if !of_value.starts_with('(') {
                kind.get_or_insert_with(|| of_value.clone());
            }
            if items
                .first()
                .is_some_and(|first| first.signature() != of_value)
            {
                return Err("a list of different types");
            }
            items.push(value);
        }
        let signature = match (items.first(), item) {
            (Some(first), _) => first.signature(),
            (None, Some(item)) if !item.is_empty() => item.to_owned(),
            (None, _) => return Err("an empty list has no type: write @as []"),
        };
        Ok(Value::Array(signature, items))
    }

    fn tuple(&mut self, depth: usize) -> Parsed<Value> {
        self.0 = &self.0[1..];
        let mut fields = Vec::new();
        while !self.take(')') {
            if !fields.is_empty() && !self.take(',') {
                return Err("a tuple without its end");
            }
            if self.take(')') {
                break;
            }
            fields.push(self.value(None, depth)?);
        }
        match fields.is_empty() {
            true => Err("an empty tuple"),
            false => Ok(Value::Struct(fields)),
        }
    }

    fn quoted(&mut self) -> Parsed<String> {
        const END: &str = "a string without its end";
        let mut characters = self.0.chars();
        let quote = characters.next().ok_or(END)?;
        let mut text = String::new();
        loop {
            match characters.next().ok_or(END)? {
                '\0' => return Err("a NUL byte"),
                c if c == quote => break,
                '\\' => text.push(match characters.next().ok_or(END)? {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'u' | 'U' | 'x' | '\0' => return Err("an escape other than \\n, \\t and \\r"),
                    plain => plain,
                }),
                c => text.push(c),
            }
        }
        self.0 = characters.as_str();
        Ok(text)
    }
}

fn number(word: &str, wanted: Option<&str>) -> Parsed<Value> {
    const RANGE: &str = "no number, or none in the range of its type";
    let kind = wanted.unwrap_or(match word.contains('.') {
        true => "d",
        false => "i",
    });
    if kind == "d" {
        let value: f64 = word.parse().map_err(|_| RANGE)?;
        return Ok(Value::Double(value));
    }
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let magnitude = match digits.strip_prefix("0x") {
        Some(digits) => i128::from(u64::from_str_radix(digits, 16).map_err(|_| RANGE)?),
        None => i128::from(digits.parse::<u64>().map_err(|_| RANGE)?),
    };
    let n = if negative { -magnitude } else { magnitude };
    let value = match kind {
        "y" => n.try_into().map(Value::Byte),
        "n" => n.try_into().map(Value::Int16),
        "q" => n.try_into().map(Value::Uint16),
        "i" => n.try_into().map(Value::Int32),
        "u" => n.try_into().map(Value::Uint32),
        "x" => n.try_into().map(Value::Int64),
        "t" => n.try_into().map(Value::Uint64),
        _ => return Err("a number where something else has to be"),
    };
    value.map_err(|_| RANGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(key: &str, text: &str) -> std::result::Result<(String, Value), String> {
        let annotations = BTreeMap::from([(format!("{PREFIX}{key}"), text.to_owned())]);
        properties(&annotations)
            .map(|list| (list[0].name.clone(), list[0].value.clone()))
            .map_err(|e| e.to_string())
    }

    #[test]
    fn values_are_read_as_gvariant_writes_them() {
        for (text, value) in [
            ("true", Value::Boolean(true)),
            ("boolean false", Value::Boolean(false)),
            ("15", Value::Int32(15)),
            ("-0x10", Value::Int32(-16)),
            ("uint64 123456789", Value::Uint64(123_456_789)),
            ("byte 255", Value::Byte(255)),
            ("1.5", Value::Double(1.5)),
            ("double 2", Value::Double(2.0)),
            ("'a b'", Value::string("a b")),
            (r#""it's \"x\"\n""#, Value::string("it's \"x\"\n")),
            ("objectpath '/a'", Value::ObjectPath("/a".into())),
            ("['a', 'b']", Value::strings(["a", "b"])),
            (" [ 'a' ] ", Value::strings(["a"])),
            ("@as []", Value::strings::<String>([])),
            ("@t 5", Value::Uint64(5)),
            (
                "[uint64 5, 6]",
                Value::Array("t".into(), vec![Value::Uint64(5), Value::Uint64(6)]),
            ),
            (
                "[('/dev/null', 'rw')]",
                Value::Array(
                    "(ss)".into(),
                    vec![Value::Struct(vec![
                        Value::string("/dev/null"),
                        Value::string("rw"),
                    ])],
                ),
            ),
        ] {
            assert_eq!(parse(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_value_is_an_error_that_names_its_place() {
        for text in [
            "",
            "x",
            "'x",
            "[",
            "['a'",
            "['a' 'b']",
            "[]",
            "()",
            "5 5",
            "byte 256",
            "uint64 -1",
            "['a', 5]",
            "-",
            "0x",
            "@",
            "@as 5",
            "@s 5",
            "uint64 'x'",
            "'\\u0041'",
            "'a\0'",
            "99999999999999999999",
            "1.2.3",
            "[[[[[[[[[1]]]]]]]]]",
            "(",
            "(1",
            "true5",
            "é",
        ] {
            let e = one("Foo", text).unwrap_err();
            assert!(
                e.starts_with("annotations[\"org.systemd.property.Foo\"]: "),
                "{e}"
            );
        }
        assert!(
            one("F2o", "1")
                .unwrap_err()
                .contains("no name of a property")
        );
        assert!(
            one("Fo", "1")
                .unwrap_err()
                .contains("no name of a property")
        );
    }

    #[test]
    fn seconds_become_microseconds() {
        let property = |key: &str, text: &str| one(key, text).unwrap();
        assert_eq!(
            property("TimeoutStopSec", "5"),
            ("TimeoutStopUSec".into(), Value::Uint64(5_000_000))
        );
        assert_eq!(property("TimeoutStopSec", "0.5").1, Value::Uint64(500_000));
        assert_eq!(
            property("TimeoutStopUSec", "uint64 7"),
            ("TimeoutStopUSec".into(), Value::Uint64(7))
        );
        assert_eq!(property("FooSEC", "7").0, "FooSEC");
        assert!(one("TimeoutStopSec", "-5").is_err());
        assert!(one("TimeoutStopSec", "'infinity'").is_err());
        assert!(one("TimeoutStopSec", "uint64 18446744073709551615").is_err());
    }
}
