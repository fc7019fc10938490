//! `rt ps`: the processes of a container.
//!
//! Runs in: parent.

use std::process::Command;

use clap::Args;
use nix::unistd::Pid;

use super::list::ListFormat;
use super::{Global, Verb, print, processes};
use crate::error::{Context, Error, Result};

#[derive(Args, Debug)]
pub struct Ps {
    /// Format of the output
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    format: ListFormat,

    /// Name of the container, followed by options for the host's ps(1); -ef if not given
    #[arg(value_names = ["CONTAINER", "PS OPTION"], required = true, trailing_var_arg = true, num_args = 1..)]
    container_and_options: Vec<String>,
}

impl Verb for Ps {
    const NAME: &'static str = "ps";
    const ABOUT: &'static str = "List the processes of a container";
    const USAGE: Option<&'static str> = Some("[OPTIONS] <CONTAINER> [PS OPTIONS]...");

    fn run(self, global: &Global) -> Result<u8> {
        let id = &self.container_and_options[0];
        let options = &self.container_and_options[1..];
        let root = global.root()?;
        let mut container = root.look_at(id)?;
        let pids = processes::list(&root, &mut container).context(|| format!("ps {id:?}"))?;
        let text = match self.format {
            ListFormat::Json => json(&pids),
            ListFormat::Table => table(&host_ps(options)?, &pids)?,
        };
        print(text).map(|()| 0)
    }
}

fn json(pids: &[Pid]) -> String {
    let numbers: Vec<String> = pids.iter().map(ToString::to_string).collect();
    format!("[{}]\n", numbers.join(","))
}

/// What the host's ps prints of all processes.
fn host_ps(options: &[String]) -> Result<String> {
    let mut ps = Command::new("ps");
    match options {
        [] => ps.arg("-ef"),
        options => ps.args(options),
    };
    let output = ps.output().map_err(|e| {
        Error::io("execve", "ps", &e).with_hint(
            "a table comes from the host's ps (package procps); --format json needs none",
        )
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(Error::system(format!(
        "ps {}: {}: {}",
        options.join(" "),
        output.status,
        words.trim()
    )))
}

/// The header of `output` and those of its lines that are about one of `pids`.
fn table(output: &str, pids: &[Pid]) -> Result<String> {
    let mut lines = output.lines();
    let header = lines.next().unwrap_or_default();
    let column = header
        .split_whitespace()
        .position(|title| title == "PID")
        .ok_or_else(|| {
            Error::invalid("the output of ps has no column PID").with_hint("add pid to its options")
        })?;
    let is_meant = |line: &&str| {
        let number = line.split_whitespace().nth(column);
        let pid = number.and_then(|number| number.parse().ok());
        pid.is_some_and(|pid| pids.contains(&Pid::from_raw(pid)))
    };
    Ok(std::iter::once(header)
        .chain(lines.filter(is_meant))
        .map(|line| format!("{line}\n"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_keeps_the_lines_of_the_container() {
        let output = "UID   PID  PPID CMD\nroot    1     0 init 22\nroot   22     1 sleep 1\n";
        assert_eq!(
            table(output, &[Pid::from_raw(22)]).unwrap(),
            "UID   PID  PPID CMD\nroot   22     1 sleep 1\n"
        );
        assert!(table("CMD\nsleep\n", &[]).is_err());
    }

    #[test]
    fn json_is_a_list_of_numbers() {
        assert_eq!(json(&[]), "[]\n");
        assert_eq!(json(&[Pid::from_raw(1), Pid::from_raw(22)]), "[1,22]\n");
    }
}
