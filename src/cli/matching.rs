//! `kill --regex` and `delete --regex`: one verb for every container whose name matches.
//!
//! Runs in: parent.

use std::ffi::CString;

use crate::error::{Error, Kind, Result};
use crate::state::Root;
use crate::sys::pattern::Pattern;

/// Does `action` with the id of each container in which `pattern`, a POSIX extended regular
/// expression, is found. That there is none is no error (crun).
///
/// A failure keeps no other container from its turn. One that has gone meanwhile counts as done;
/// the others are reported in one error. SPEC: crun prints them as warnings and exits with 0.
pub fn each(root: &Root, pattern: &str, action: impl Fn(&str) -> Result<()>) -> Result<()> {
    let pattern = Pattern::new(pattern).map_err(|e| e.with_kind(Kind::Usage).within("--regex"))?;
    let mut failures = Vec::new();
    for container in root.list()? {
        let id = &container.record.id;
        // An id is a legal file name and so holds no NUL byte.
        let name = CString::new(id.as_str()).unwrap_or_default();
        if !pattern.is_in(&name) {
            continue;
        }
        match action(id) {
            Err(e) if e.kind() == Kind::NoSuchContainer => {}
            Err(e) => failures.push(e),
            Ok(()) => {}
        }
    }
    match failures.len() {
        0 => Ok(()),
        1 => Err(failures.remove(0)),
        _ => {
            let texts: Vec<String> = failures.iter().map(ToString::to_string).collect();
            Err(Error::new(failures[0].kind(), texts.join("; ")))
        }
    }
}
