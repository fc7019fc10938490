//! What is mounted where, proc_pid_mountinfo(5).
//!
//! Paths are bytes there, as everywhere: a payload may name a mount point as it likes.
//!
//! Runs in: parent, init before pivot.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::error::{Error, Result};

/// One mount, which a line of mountinfo describes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Its number, as in /proc/PID/fdinfo.
    pub id: u64,
    /// The directory of its file system that is mounted.
    pub root: PathBuf,
    /// Where it is mounted, from the root directory of the process whose mountinfo it is.
    pub point: PathBuf,
    /// The type of the file system.
    pub kind: String,
}

/// The mounts in `file`, the mountinfo of some process, in their order there.
pub fn read(file: &str) -> Result<Vec<Mounted>> {
    let text = std::fs::read(file).map_err(|e| Error::io("open", file, &e))?;
    Ok(parse(&text))
}

/// Where the caller sees the first file system of this type, if one is mounted.
pub fn point_of(kind: &str) -> Option<PathBuf> {
    let mounts = read("/proc/self/mountinfo").ok()?;
    let found = mounts.into_iter().find(|mount| mount.kind == kind);
    found.map(|mount| mount.point)
}

/// The mounts in the text of a mountinfo. What is no line of one is passed over.
pub fn parse(text: &[u8]) -> Vec<Mounted> {
    text.split(|byte| *byte == b'\n')
        .filter_map(parse_line)
        .collect()
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw`, with any number of
/// fields before the dash.
fn parse_line(line: &[u8]) -> Option<Mounted> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let mut fields = fields.skip(2);
    let (root, point) = (path(fields.next()?), path(fields.next()?));
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    Some(Mounted {
        id,
        root,
        point,
        kind: String::from_utf8_lossy(kind).into_owned(),
    })
}

/// Blanks, line ends and backslashes are written in octal, a blank as `\040`.
fn path(field: &[u8]) -> PathBuf {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, after)) = rest.split_first() {
        (rest, _) = match (byte, after) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', more @ ..]) => {
                let code = (a - b'0') << 6 | (b - b'0') << 3 | (c - b'0');
                (more, plain.push(code))
            }
            _ => (after, plain.push(*byte)),
        };
    }
    OsString::from_vec(plain).into()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_line_is_read_with_its_escapes_and_whatever_bytes_it_has() {
        let line = b"36 35 98:0 /m\\1341 /odd\\040\xff rw,noatime shared:9 master:1 - proc - rw\n";
        let [mount] = &parse(line)[..] else {
            panic!("one line, one mount");
        };
        assert_eq!((mount.id, mount.kind.as_str()), (36, "proc"));
        assert_eq!(mount.root, Path::new(r"/m\1"));
        assert_eq!(mount.point.as_os_str().as_encoded_bytes(), b"/odd \xff");
        assert_eq!(path(br"/a\04"), Path::new(r"/a\04"));
    }

    #[test]
    fn what_is_no_line_is_passed_over() {
        assert_eq!(parse(b"36 35 98:0 / /mnt rw\n\nx\n"), []);
    }

    #[test]
    fn the_mounts_of_this_process_are_read() {
        let proc = point_of("proc").unwrap();
        assert!(proc.join("self/mountinfo").exists(), "{proc:?}");
        assert_eq!(point_of("nosuchfs"), None);
    }
}
