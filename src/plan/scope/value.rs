//! Values of D-Bus, as systemd's properties have them.
//!
//! Runs in: parent.

use serde::ser::{Serialize, SerializeStruct as _, Serializer};

/// One value, with its type. The letters are those of the D-Bus specification, "Type system".
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Byte(u8),
    Boolean(bool),
    Int16(i16),
    Uint16(u16),
    Int32(i32),
    Uint32(u32),
    Int64(i64),
    Uint64(u64),
    Double(f64),
    String(String),
    ObjectPath(String),
    Signature(String),
    /// The signature of an item, which an empty array has too, and the items.
    Array(String, Vec<Value>),
    Struct(Vec<Value>),
    /// Only as an item of an array.
    DictEntry(Box<Value>, Box<Value>),
    Variant(Box<Value>),
}

impl Value {
    pub fn string(text: impl Into<String>) -> Value {
        Value::String(text.into())
    }

    /// `as`.
    pub fn strings<S: Into<String>>(items: impl IntoIterator<Item = S>) -> Value {
        Value::Array("s".into(), items.into_iter().map(Value::string).collect())
    }

    /// `ay`.
    pub fn bytes(bytes: impl IntoIterator<Item = u8>) -> Value {
        Value::Array("y".into(), bytes.into_iter().map(Value::Byte).collect())
    }

    pub fn variant(value: Value) -> Value {
        Value::Variant(Box::new(value))
    }

    /// Its type as a signature: `a(ss)`.
    pub fn signature(&self) -> String {
        match self {
            Value::Byte(_) => "y".into(),
            Value::Boolean(_) => "b".into(),
            Value::Int16(_) => "n".into(),
            Value::Uint16(_) => "q".into(),
            Value::Int32(_) => "i".into(),
            Value::Uint32(_) => "u".into(),
            Value::Int64(_) => "x".into(),
            Value::Uint64(_) => "t".into(),
            Value::Double(_) => "d".into(),
            Value::String(_) => "s".into(),
            Value::ObjectPath(_) => "o".into(),
            Value::Signature(_) => "g".into(),
            Value::Array(item, _) => format!("a{item}"),
            Value::Struct(fields) => {
                let fields: String = fields.iter().map(Value::signature).collect();
                format!("({fields})")
            }
            Value::DictEntry(key, value) => format!("{{{}{}}}", key.signature(), value.signature()),
            Value::Variant(_) => "v".into(),
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) | Value::ObjectPath(text) | Value::Signature(text) => Some(text),
            Value::Variant(value) => value.as_str(),
            _ => None,
        }
    }
}

/// With its type, as `busctl --json` prints it.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut typed = to.serialize_struct("Value", 2)?;
        typed.serialize_field("type", &self.signature())?;
        typed.serialize_field("value", &Untyped(self))?;
        typed.end()
    }
}

/// A value alone. A number that means no limit is "infinity" in systemd's own words.
struct Untyped<'a>(&'a Value);

impl Serialize for Untyped<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Byte(n) => to.serialize_u8(*n),
            Value::Boolean(yes) => to.serialize_bool(*yes),
            Value::Int16(n) => to.serialize_i16(*n),
            Value::Uint16(n) => to.serialize_u16(*n),
            Value::Int32(n) => to.serialize_i32(*n),
            Value::Uint32(n) => to.serialize_u32(*n),
            Value::Int64(n) => to.serialize_i64(*n),
            Value::Uint64(u64::MAX) => to.serialize_str("infinity"),
            Value::Uint64(n) => to.serialize_u64(*n),
            Value::Double(n) => to.serialize_f64(*n),
            Value::String(text) | Value::ObjectPath(text) | Value::Signature(text) => {
                to.serialize_str(text)
            }
            Value::Array(_, items) | Value::Struct(items) => {
                to.collect_seq(items.iter().map(Untyped))
            }
            Value::DictEntry(key, value) => to.collect_seq([Untyped(key), Untyped(value)]),
            Value::Variant(value) => Untyped(value).serialize(to),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_written_as_d_bus_writes_it() {
        let entry = Value::Struct(vec![Value::string("/dev/null"), Value::Uint64(1)]);
        let list = Value::Array(entry.signature(), vec![entry]);
        assert_eq!(list.signature(), "a(st)");
        let property = Value::Struct(vec![Value::string("x"), Value::variant(list)]);
        assert_eq!(property.signature(), "(sv)");
        assert_eq!(Value::bytes([1]).signature(), "ay");
    }
}
