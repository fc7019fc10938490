//! `rt list`: the containers below one state directory.
//!
//! Runs in: parent.

use std::fmt::Write;

use clap::{Args, ValueEnum};

use super::{Global, Verb, print};
use crate::error::{Error, Result};
use crate::log;
use crate::state::{Container, Report, Status};

#[derive(Args, Debug)]
pub struct List {
    /// Format of the output
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    format: ListFormat,

    /// Print the names alone
    #[arg(short, long)]
    quiet: bool,
}

/// The forms of `list` and `ps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    Table,
    Json,
}

impl Verb for List {
    const NAME: &'static str = "list";
    const ABOUT: &'static str = "List the containers";

    fn run(self, global: &Global) -> Result<u8> {
        let mut containers = global.root()?.list()?;
        if self.quiet {
            let ids = containers.iter().map(|c| c.record.id.as_str());
            return print(ids.map(|id| format!("{id}\n")).collect::<String>()).map(|()| 0);
        }
        let statuses: Vec<Option<Status>> = containers.iter_mut().map(status).collect();
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let reports: Vec<Report<'_>> = containers
            .iter()
            .zip(statuses)
            .filter_map(|(container, status)| {
                let mut report = Report::new(&container.record, status?);
                report.owner = Some(user_name(&users, container.record.owner));
                Some(report)
            })
            .collect();
        let text = match self.format {
            ListFormat::Json => json(&reports)?,
            ListFormat::Table => table(&reports),
        };
        print(text).map(|()| 0)
    }
}

/// None for a container that is being removed at this moment, or cannot be looked at.
fn status(container: &mut Container) -> Option<Status> {
    match container.status() {
        Ok(status) => Some(status),
        Err(e) => {
            log::warning(|| format!("{}: {e}", container.record.id));
            None
        }
    }
}

/// An empty list is `null`, as runc has it and its callers decode it.
fn json(reports: &[Report<'_>]) -> Result<String> {
    let text = match reports {
        [] => Ok("null".to_owned()),
        reports => serde_json::to_string(reports),
    };
    text.map(|text| text + "\n")
        .map_err(|e| Error::system(e.to_string()))
}

/// A bundle's name, and all of another user's record, may hold control characters, which are
/// escaped: no line is forged, and nothing is done to a terminal.
fn table(reports: &[Report<'_>]) -> String {
    let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let rows = reports.iter().map(|report| {
        [
            report.id.to_owned(),
            report.pid.to_string(),
            report.status.name().to_owned(),
            report.bundle.display().to_string(),
            report.created.unwrap_or_default().to_owned(),
            report.owner.clone().unwrap_or_default(),
        ]
        .map(|cell| log::one_line(&cell))
    });
    columns(&std::iter::once(header).chain(rows).collect::<Vec<_>>())
}

/// Columns of at least twelve characters with three between them, as runc sets them.
fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let widest = rows.iter().map(|row| row[column].chars().count()).max();
        (widest.unwrap_or(0) + 3).max(12)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let (last, cells) = row.split_last().map_or(("", &row[..0]), |(l, c)| (l, c));
        for (cell, width) in cells.iter().zip(widths) {
            let _ = write!(text, "{cell:width$}");
        }
        text.push_str(last);
        text.push('\n');
    }
    text
}

/// The name of `uid` in the text of /etc/passwd, or `#` and the number.
fn user_name(passwd: &str, uid: u32) -> String {
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, number) = (fields.next()?, fields.next()?, fields.next()?);
        (number.parse() == Ok(uid)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("#{uid}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Record;

    #[test]
    fn an_owner_has_a_name_or_a_number() {
        let passwd = "root:x:0:0::/:/bin/sh\nbroken\n:x:y\nu:x:1000:1000::/:/bin/sh\n";
        assert_eq!(user_name(passwd, 0), "root");
        assert_eq!(user_name(passwd, 1000), "u");
        assert_eq!(user_name(passwd, 7), "#7");
    }

    #[test]
    fn an_empty_list_is_null_or_a_header() {
        assert_eq!(json(&[]).unwrap(), "null\n");
        assert_eq!(
            table(&[]),
            "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"
        );
    }

    #[test]
    fn a_long_cell_widens_its_column() {
        let mut record = Record::new("a-rather-long-name", "/b".into(), "/b/r".into());
        record.created = "T".into();
        let mut report = Report::new(&record, Status::Stopped);
        report.owner = Some("root".into());
        assert_eq!(
            table(&[report]).lines().nth(1),
            Some("a-rather-long-name   0           stopped     /b          T           root")
        );
    }

    #[test]
    fn a_record_forges_no_line_and_reaches_no_terminal() {
        let mut record = Record::new("a", "/b\nfake   1   running".into(), "/b/r".into());
        record.created = "\u{1b}[2J".into();
        let text = table(&[Report::new(&record, Status::Stopped)]);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}
