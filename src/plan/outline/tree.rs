//! A value of JSON with its fields in their order, which serde_json's own type forgets.
//!
//! Runs in: parent.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    Null,
    Bool(bool),
    /// As it is written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    /// Whether it says nothing: null, or nothing in it.
    pub fn is_empty(&self) -> bool {
        match self {
            Node::Null => true,
            Node::List(items) => items.is_empty(),
            Node::Object(fields) => fields.is_empty(),
            Node::Bool(_) | Node::Number(_) | Node::Text(_) => false,
        }
    }

    /// Whether it has fields.
    pub fn is_group(&self) -> bool {
        matches!(self, Node::Object(_))
    }

    /// Takes the field at this path, its keys joined by dots, out of the tree, and with it
    /// objects that it leaves empty.
    pub fn take(&mut self, path: &str) -> Option<Node> {
        let Node::Object(fields) = self else {
            return None;
        };
        let (key, rest) = match path.split_once('.') {
            Some((key, rest)) => (key, Some(rest)),
            None => (path, None),
        };
        let at = fields.iter().position(|(k, _)| k == key)?;
        let Some(rest) = rest else {
            return Some(fields.remove(at).1);
        };
        let taken = fields[at].1.take(rest)?;
        if fields[at].1.is_empty() {
            fields.remove(at);
        }
        Some(taken)
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Node, D::Error> {
        from.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Node::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_order_and_can_be_taken() {
        let mut tree: Node =
            serde_json::from_str(r#"{"z": {"b": 1, "a": [true, null]}, "y": "x"}"#).unwrap();
        let Node::Object(fields) = &tree else {
            panic!("{tree:?}");
        };
        assert_eq!((fields[0].0.as_str(), fields[1].0.as_str()), ("z", "y"));
        let list = Node::List(vec![Node::Bool(true), Node::Null]);
        assert_eq!(tree.take("z.a"), Some(list));
        assert_eq!(tree.take("z.a"), None);
        assert_eq!(tree.take("z.b"), Some(Node::Number("1".into())));
        assert_eq!(tree.take("z"), None);
    }
}
