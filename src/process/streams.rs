//! The three streams of a payload across a dump: what lies outside of the container is not in
//! the images, and whoever restores gives its own streams in their place.
//!
//! Owns `descriptors.json` beside the images, the form of which is runc's: a list of three
//! texts, of which runc and crun read `pipe:[INODE]` alone. Files of the host, which they
//! cannot dump, are `file[MOUNT:INODE]` there, CRIU's own name for them.
//!
//! Runs in: parent.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::error::{Error, Result};
use crate::host::mountinfo::{self, Mounted};
use crate::state::{Identity, Record};

const NAME: &str = "descriptors.json";

/// What the streams of a container are to be called in its images.
pub fn of(record: &Record, init: Identity) -> Result<Vec<String>> {
    let mounts = mountinfo::read(&format!("/proc/{}/mountinfo", init.pid))?;
    let mut streams = record.streams.clone();
    for (number, stream) in streams.iter_mut().enumerate() {
        if let Some(file) = file_outside(init, number, &mounts) {
            *stream = file;
        }
    }
    Ok(streams)
}

/// The name of a regular file that init has open and that is on none of its mounts.
fn file_outside(init: Identity, number: usize, mounts: &[Mounted]) -> Option<String> {
    let pid = init.pid;
    let file = std::fs::metadata(format!("/proc/{pid}/fd/{number}")).ok()?;
    let facts = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).ok()?;
    let mount: u64 = mount_of(&facts)?.parse().ok()?;
    let is_inside = mounts.iter().any(|inside| inside.id == mount);
    (file.is_file() && !is_inside).then(|| format!("file[{mount:x}:{:x}]", file.ino()))
}

/// The id of a mount in a file of /proc/PID/fdinfo, proc_pid_fdinfo(5).
fn mount_of(facts: &str) -> Option<&str> {
    let value = facts.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    value.map(str::trim)
}

/// The files among them, for CRIU's `external`.
pub fn external_files(streams: &[String]) -> impl Iterator<Item = Vec<u8>> {
    let files = streams.iter().filter(|name| name.starts_with("file["));
    files.map(|name| name.clone().into_bytes())
}

/// For whoever restores: which of its own streams stand for what. A file of that name is replaced,
/// not written to: in a folder of another user it may be a pipe, or a link to a file of root's.
pub fn write(images: &Path, streams: &[String]) -> Result<()> {
    let path = images.join(NAME);
    let text = serde_json::to_vec(streams).map_err(|e| Error::system(format!("{NAME}: {e}")))?;
    let _ = std::fs::remove_file(&path);
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(&text))
        .map_err(|e| Error::io("write", &path, &e))
}

/// What this process's own streams stand for in the images: name and number.
pub fn inherited(images: &Path) -> Result<Vec<(String, i32)>> {
    let path = images.join(NAME);
    let text = std::fs::read(&path).map_err(|e| Error::io("open", &path, &e))?;
    let names: Vec<String> = serde_json::from_slice(&text)
        .map_err(|e| Error::invalid(format!("{}: {e}", path.display())))?;
    Ok(number(names))
}

/// One pipe may be two streams: it is restored once.
fn number(names: Vec<String>) -> Vec<(String, i32)> {
    let mut numbered: Vec<(String, i32)> = Vec::new();
    for (name, number) in names.into_iter().zip(0..3) {
        let is_outside = name.starts_with("pipe:") || name.starts_with("file[");
        if is_outside && !numbered.iter().any(|(known, _)| *known == name) {
            numbered.push((name, number));
        }
    }
    numbered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_and_files_are_inherited_and_nothing_twice() {
        let names = ["/dev/null", "pipe:[7]", "pipe:[7]", "pipe:[8]"];
        let names = names.map(String::from).to_vec();
        assert_eq!(number(names), [("pipe:[7]".to_owned(), 1)]);
        let names = ["file[1f:2]", "socket:[1]", "pipe:[9]"];
        let numbered = number(names.map(String::from).to_vec());
        assert_eq!(
            numbered,
            [("file[1f:2]".to_owned(), 0), ("pipe:[9]".to_owned(), 2)]
        );
    }

    #[test]
    fn a_file_is_known_by_its_mount() {
        assert_eq!(mount_of("pos:\t0\nmnt_id:\t31\nino:\t2\n"), Some("31"));
        assert_eq!(mount_of("pos:\t0\n"), None);
    }

    /// A pipe without a reader would be waited at.
    #[test]
    fn a_file_of_that_name_is_replaced() {
        let images = std::env::temp_dir().join(format!("rt-streams-{}", std::process::id()));
        std::fs::create_dir(&images).unwrap();
        let (place, other) = (images.join(NAME), images.join("other"));
        std::fs::write(&other, "of root").unwrap();
        std::fs::hard_link(&other, &place).unwrap();
        write(&images, &["a".to_owned()]).unwrap();
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "of root");
        assert_eq!(std::fs::read_to_string(&place).unwrap(), r#"["a"]"#);
        std::fs::remove_dir_all(&images).unwrap();
    }
}
