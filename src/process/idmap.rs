//! The maps of a new user namespace.
//!
//! Runs in: parent, with the caller's rights in the caller's user namespace; init, where the
//! map has only its own id and to ask the parent would cost more than to write it.

use std::io::Write;
use std::process::Command;

use nix::unistd::Pid;

use crate::error::{Context, Error, Result, strerror};
use crate::plan::namespaces::{IdMapWriter, IdMaps, IdRange};
use crate::sys::process::keeping_signal_mask;

use super::procfs::Procfs;

/// Parent: writes both maps of the user namespace of `pid`, a child that has not been reaped.
pub fn write_maps(pid: Pid, maps: &IdMaps) -> Result<()> {
    if maps.writer == IdMapWriter::Newidmap {
        run_helper("newuidmap", pid, &maps.uids, "/etc/subuid")
            .at("/linux/uidMappings", || uid_mappings(maps))?;
        return run_helper("newgidmap", pid, &maps.gids, "/etc/subgid")
            .at("/linux/gidMappings", || gid_mappings(maps));
    }
    write_map(pid, "uid_map", &maps.uids).at("/linux/uidMappings", || uid_mappings(maps))?;
    write_map(pid, "gid_map", &maps.gids).at("/linux/gidMappings", || gid_mappings(maps))
}

/// Init: writes both maps of its own user namespace, each with its own id alone.
pub fn write_own_maps(procfs: &Procfs, maps: &IdMaps) -> Result<()> {
    procfs
        .write_own("uid_map", &lines(&maps.uids))
        .at("/linux/uidMappings", || uid_mappings(maps))?;
    procfs.write_own("setgroups", "deny")?;
    procfs
        .write_own("gid_map", &lines(&maps.gids))
        .at("/linux/gidMappings", || gid_mappings(maps))
}

fn uid_mappings(maps: &IdMaps) -> String {
    format!("linux.uidMappings ({})", describe(&maps.uids))
}

fn gid_mappings(maps: &IdMaps) -> String {
    format!("linux.gidMappings ({})", describe(&maps.gids))
}

/// Writes one map of the user namespace of `pid`, `uid_map` or `gid_map`, with the rights of
/// this process.
pub fn write_map(pid: Pid, name: &str, ranges: &[IdRange]) -> Result<()> {
    let content = lines(ranges);
    let path = format!("/proc/{pid}/{name}");
    std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .map_err(|e| Error::io("open", &path, &e))?
        .write_all(content.as_bytes())
        .map_err(|e| match e.raw_os_error() {
            Some(errno) => Error::syscall("write", format_args!("{path:?}, {content:?}"), errno),
            None => Error::io("write", &path, &e),
        })
}

/// One call for the whole map, since the kernel takes a map once.
fn lines(ranges: &[IdRange]) -> String {
    ranges
        .iter()
        .map(|r| format!("{} {} {}\n", r.inside, r.outside, r.count))
        .collect()
}

fn describe(ranges: &[IdRange]) -> String {
    let each: Vec<String> = ranges.iter().map(ToString::to_string).collect();
    each.join(", ")
}

fn run_helper(program: &str, pid: Pid, ranges: &[IdRange], file: &str) -> Result<()> {
    let mut command = Command::new(program);
    command.arg(pid.to_string());
    for range in ranges {
        command.args([range.inside, range.outside, range.count].map(|n| n.to_string()));
    }
    let output = match keeping_signal_mask(|| command.output()) {
        Ok(output) => output,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::system(format!(
                "{program} is not installed: {}",
                strerror(libc::ENOENT)
            ))
            .with_hint(format!(
                "more than one id can be mapped only by {program}: install the package uidmap (Debian) or shadow-utils (Fedora)"
            )));
        }
        Err(e) => return Err(Error::io("execve", program, &e)),
    };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().replace('\n', "; ");
    Err(
        Error::system(format!("{program}: {} ({})", said, output.status)).with_hint(format!(
            "the ranges have to lie within those that {file} grants to this user, and {program} needs its setuid bit or file capability"
        )),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_written_in_one_piece() {
        let range = |inside, outside, count| IdRange {
            inside,
            outside,
            count,
        };
        assert_eq!(
            lines(&[range(0, 1000, 1), range(1, 100_000, 65536)]),
            "0 1000 1\n1 100000 65536\n"
        );
    }
}
