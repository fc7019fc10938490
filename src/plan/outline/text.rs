//! The form of the outline: headings, fields, tables, and lines that end before the margin.
//!
//! Knows nothing of a plan but a few names whose values speak for themselves.
//!
//! Runs in: parent.

use std::fmt::Write as _;

use super::note;
use super::tree::Node;
use crate::bundle::checks::place_in_words;
use crate::log::one_line;

/// Columns of a line, as far as words can be broken.
const WIDTH: usize = 100;
/// Where values begin.
const VALUES: usize = 30;
/// A longer cell of a table does not push what stands right of the others; a longer item of a
/// list has the others on lines of their own, too.
const WIDEST_CELL: usize = 40;
/// Fields whose values need no name before them.
const SELF_EVIDENT: &[&str] = &["how", "type", "flag", "access", "value"];
/// In the place of a pointer into config.json, for what is there without it.
const OF_RT: &str = "rt's own";
/// The label of what is null or has nothing in it.
pub(super) const NONE: &str = "none of";
/// From so many items on a list that was there in the same group is not said again.
const LONG_LIST: usize = 2;

#[derive(Default)]
pub struct Text(String);

/// Where a value goes if it is longer than a line.
#[derive(Clone, Copy)]
enum Flow {
    /// On to the next one.
    Words,
    /// Each piece gets a line.
    Lines,
}

impl Text {
    pub fn finish(self) -> String {
        self.0
    }

    /// A heading with its fields, each with its path. Without any there is none.
    pub fn section(&mut self, title: &str, fields: &[(String, Node)]) {
        if fields.is_empty() {
            return;
        }
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0.push_str(title);
        self.0.push('\n');
        let fields: Vec<Field<'_>> = fields
            .iter()
            .map(|(path, node)| Field {
                label: path,
                path: path.clone(),
                node,
            })
            .collect();
        self.fields(&fields, 2);
    }

    /// What is not there comes last, in one line.
    fn fields(&mut self, fields: &[Field<'_>], indent: usize) {
        let mut absent = Vec::new();
        for (n, field) in fields.iter().enumerate() {
            if let Node::List(items) = field.node
                && items.len() >= LONG_LIST
                && let Some(same) = fields[..n].iter().find(|before| before.node == field.node)
            {
                let value = format!("as {}", same.label);
                self.value(indent, field.label, &[value], Flow::Words);
                continue;
            }
            match (field.node.is_empty(), note(&field.path, &plain(field.node))) {
                (true, Some(note)) => self.value(indent, field.label, &[note.into()], Flow::Words),
                (true, None) => absent.push(field.label.to_owned()),
                (false, _) => self.field(field, indent),
            }
        }
        if !absent.is_empty() {
            self.value(indent, NONE, &separated(absent), Flow::Words);
        }
    }

    fn field(&mut self, field: &Field<'_>, indent: usize) {
        match field.node {
            Node::List(items) if items.iter().any(Node::is_group) => {
                self.label(indent, field.label);
                self.table(items, indent + 2);
            }
            Node::List(items) => {
                let lines: Vec<String> = items.iter().map(plain).collect();
                match lines.iter().any(|line| line.chars().count() > WIDEST_CELL) {
                    true => self.value(indent, field.label, &lines, Flow::Lines),
                    false => self.value(indent, field.label, &words(field.node), Flow::Words),
                }
            }
            Node::Object(fields) => match in_one_line(fields) {
                Some(words) => self.value(indent, field.label, &words, Flow::Words),
                None => {
                    self.label(indent, field.label);
                    let fields: Vec<Field<'_>> = fields
                        .iter()
                        .map(|(key, node)| Field {
                            label: key,
                            path: format!("{}.{key}", field.path),
                            node,
                        })
                        .collect();
                    self.fields(&fields, indent + 2);
                }
            },
            single => {
                let value = plain(single);
                let value = match note(&field.path, &value) {
                    Some(note) => format!("{value} ({note})"),
                    None => value,
                };
                self.value(indent, field.label, &[value], Flow::Words);
            }
        }
    }

    fn label(&mut self, indent: usize, label: &str) {
        let _ = writeln!(self.0, "{:indent$}{}", "", one_line(label));
    }

    fn value(&mut self, indent: usize, label: &str, pieces: &[String], flow: Flow) {
        let width = VALUES.saturating_sub(indent + 2);
        let label = one_line(label);
        let _ = write!(self.0, "{:indent$}{label:width$}  ", "");
        let column = VALUES.max(indent + label.chars().count() + 2);
        self.flow(pieces, column, VALUES, flow);
    }

    /// Appends pieces, from `column` on; further lines begin at `margin`.
    fn flow(&mut self, pieces: &[String], mut column: usize, margin: usize, flow: Flow) {
        for (n, piece) in pieces.iter().enumerate() {
            let length = piece.chars().count();
            if n > 0 {
                match flow {
                    Flow::Words if column + 1 + length <= WIDTH => {
                        self.0.push(' ');
                        column += 1;
                    }
                    _ => {
                        let _ = write!(self.0, "\n{:margin$}", "");
                        column = margin;
                    }
                }
            }
            self.0.push_str(piece);
            column += length;
        }
        self.0.push('\n');
    }

    /// A line for each item: what it is about in columns, and what is said of it.
    fn table(&mut self, items: &[Node], indent: usize) {
        let rows: Vec<Row> = items.iter().map(Row::of).collect();
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.head.get(column));
            let widths = cells.map(|cell| cell.chars().count());
            widths.max().unwrap_or(0).min(WIDEST_CELL)
        };
        let widths: Vec<usize> = (0..2).map(width).collect();
        for row in &rows {
            let mut line = " ".repeat(indent);
            for (cell, width) in row.head.iter().zip(&widths) {
                let _ = write!(line, "{cell:width$}  ");
            }
            match row.said.is_empty() {
                true => self.0.push_str(line.trim_end()),
                false => self.0.push_str(&line),
            }
            let column = line.chars().count();
            let margin = match column < WIDTH / 2 {
                true => column,
                false => indent + 4,
            };
            self.flow(&row.said, column, margin, Flow::Words);
        }
    }
}

struct Field<'a> {
    label: &'a str,
    path: String,
    node: &'a Node,
}

/// One item of a list.
struct Row {
    head: Vec<String>,
    said: Vec<String>,
}

impl Row {
    /// The place in config.json and the first text are what it is about.
    fn of(item: &Node) -> Row {
        let Node::Object(fields) = item else {
            return Row {
                head: Vec::new(),
                said: vec![word(item)],
            };
        };
        let mut rest = fields.as_slice();
        let mut head = Vec::new();
        if let [(key, place), tail @ ..] = rest
            && key == "pointer"
        {
            head.push(match place {
                Node::Text(pointer) => one_line(&place_in_words(pointer)),
                _ => OF_RT.to_owned(),
            });
            rest = tail;
        }
        if let [(key, first), tail @ ..] = rest
            && let Some(cell) = match first {
                Node::Text(text) => Some(one_line(text)),
                Node::Bool(allow) if key == "allow" => {
                    Some(if *allow { "allow" } else { "deny" }.to_owned())
                }
                _ => None,
            }
        {
            head.push(cell);
            rest = tail;
        }
        Row {
            head,
            said: phrases(rest),
        }
    }
}

/// What is said of something, field by field: pieces of one sentence.
fn phrases(fields: &[(String, Node)]) -> Vec<String> {
    let mut phrases: Vec<(Vec<String>, bool)> = Vec::new();
    let mut said: Vec<&String> = Vec::new();
    for (key, node) in fields {
        let evident = SELF_EVIDENT.contains(&key.as_str());
        let phrase = match (key.as_str(), node) {
            ("major", major) => vec![numbers(major, fields)],
            ("minor", _) => continue,
            (_, node) if evident && !matches!(node, Node::Null | Node::Text(_)) => words(node),
            (_, Node::Bool(false)) => continue,
            (_, node) if node.is_empty() => continue,
            // `proc proc from proc` says no more than `proc`.
            ("type" | "source", Node::Text(text)) if said.contains(&text) => continue,
            (key, Node::Bool(true)) => vec![one_line(key)],
            (_, single) if evident => vec![word(single)],
            (key, Node::List(_)) => {
                let mut words = words(node);
                words[0].insert_str(0, &format!("{} ", one_line(key)));
                words
            }
            (key, single) => vec![format!("{} {}", one_line(key), word(single))],
        };
        if let Node::Text(text) = node {
            said.push(text);
        }
        phrases.push((phrase, evident || key == "major"));
    }
    // `new tmpfs, source shm`: only what has a name is set off by commas.
    let last = phrases.len().saturating_sub(1);
    let mut pieces: Vec<String> = Vec::new();
    for n in 0..phrases.len() {
        let (phrase, evident) = &phrases[n];
        pieces.extend_from_slice(phrase);
        if n < last
            && !(*evident && phrases[n + 1].1)
            && let Some(end) = pieces.last_mut()
        {
            end.push(',');
        }
    }
    pieces
}

/// `10:229`, with a star for any.
fn numbers(major: &Node, fields: &[(String, Node)]) -> String {
    let number = |node: &Node| match node {
        Node::Null => "*".to_owned(),
        number => word(number),
    };
    let minor = fields.iter().find(|(key, _)| key == "minor");
    let minor = minor.map_or("*".to_owned(), |(_, minor)| number(minor));
    format!("{}:{minor}", number(major))
}

/// The phrases of an object that is small and flat enough; "yes" where it says nothing but that
/// it is there.
fn in_one_line(fields: &[(String, Node)]) -> Option<Vec<String>> {
    let flat = fields.iter().all(|(_, node)| match node {
        Node::List(items) => items.len() < 2,
        node => !node.is_group(),
    });
    let pieces = phrases(fields);
    match pieces.as_slice() {
        _ if !flat => None,
        [] => Some(vec!["yes".to_owned()]),
        _ => {
            let length: usize = pieces.iter().map(|piece| piece.chars().count() + 1).sum();
            (VALUES + length <= WIDTH + 1).then_some(pieces)
        }
    }
}

fn separated(mut list: Vec<String>) -> Vec<String> {
    let last = list.len().saturating_sub(1);
    for piece in &mut list[..last] {
        piece.push(',');
    }
    list
}

/// A value that stands alone.
fn plain(node: &Node) -> String {
    match node {
        Node::Null => "null".to_owned(),
        Node::Bool(true) => "yes".to_owned(),
        Node::Bool(false) => "no".to_owned(),
        Node::Number(number) => number.clone(),
        Node::Text(text) if text.is_empty() => "\"\"".to_owned(),
        Node::Text(text) => one_line(text),
        Node::List(items) if items.is_empty() => "[]".to_owned(),
        Node::List(_) => format!("({})", words(node).join(" ")),
        Node::Object(fields) => format!("({})", phrases(fields).join(" ")),
    }
}

/// A value among others: in quotes where it would look like several.
fn word(node: &Node) -> String {
    match node {
        Node::Text(text) if text.contains([' ', '"', ',']) => format!("{text:?}"),
        node => plain(node),
    }
}

/// The items of a list, each as a piece.
fn words(node: &Node) -> Vec<String> {
    match node {
        Node::List(items) if !items.is_empty() => items.iter().map(word).collect(),
        node => vec![word(node)],
    }
}
