//! `linux.cgroupsPath` where systemd makes the cgroup: `slice:prefix:name`.
//!
//! Runs in: parent.

use std::path::PathBuf;

use crate::error::{Error, Result};

const POINTER: &str = "/linux/cgroupsPath";
const SCOPE: &str = ".scope";
const SLICE: &str = ".slice";

/// systemd.unit(5): a name has at most 255 bytes.
const LONGEST: usize = 255;

/// The unit of a container and the slice that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub unit: String,
    pub slice: String,
    /// From the cgroup of the systemd that is asked: `a.slice/a-b.slice/rt-web.scope`.
    pub path: PathBuf,
}

/// Reads cgroupsPath as runc and crun do; where it is empty the unit is `rt-ID.scope`. A name
/// that ends in `.slice` is a slice of its own, whose name says where it is.
pub fn place(given: &str, id: &str, default_slice: &str) -> Result<Place> {
    let (slice, unit) = if given.is_empty() {
        (default_slice, format!("rt-{}{SCOPE}", escape(id)))
    } else {
        let parts: Vec<&str> = given.split(':').collect();
        let [slice, prefix, name] = parts[..] else {
            return Err(refused(format!(
                "{given:?} has not the three parts slice:prefix:name that systemd's units are named by"
            ))
            .with_hint("give it as \"machine.slice:libpod:web\", or use the cgroupfs driver"));
        };
        let slice = if slice.is_empty() {
            default_slice
        } else {
            slice
        };
        match name.ends_with(SLICE) {
            true => (slice, name.to_owned()),
            false => (slice, format!("{prefix}-{name}{SCOPE}")),
        }
    };
    if !is_unit_name(&unit) {
        return Err(refused(format!("{unit:?} is no name of a unit of systemd")));
    }
    let slice = if slice == "-" { "-.slice" } else { slice };
    let path = match unit.ends_with(SLICE) {
        true => expand(&unit)?,
        false => expand(slice)?.join(&unit),
    };
    Ok(Place {
        unit,
        slice: slice.to_owned(),
        path,
    })
}

/// The cgroup of a slice, whose name holds those of the slices above it: `a-b.slice` is
/// `a.slice/a-b.slice` (systemd.slice(5)).
fn expand(slice: &str) -> Result<PathBuf> {
    if slice == "-.slice" {
        return Ok(PathBuf::new());
    }
    let stem = slice.strip_suffix(SLICE).unwrap_or_default();
    let is_legal = is_unit_name(slice) && stem.split('-').all(|part| !part.is_empty());
    if !is_legal {
        return Err(refused(format!(
            "{slice:?} is no name of a slice of systemd"
        )));
    }
    let ends = stem.match_indices('-').map(|(end, _)| end);
    Ok(ends
        .chain([stem.len()])
        .map(|end| format!("{}{SLICE}", &stem[..end]))
        .collect())
}

/// systemd.unit(5), "Description": letters, digits and `:-_.\@`.
fn is_unit_name(name: &str) -> bool {
    let is_legal = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
    name.len() <= LONGEST && name.bytes().all(is_legal) && !name.starts_with('.')
}

/// A container's id may hold `+` and `,`, which systemd writes as systemd-escape(1) does.
fn escape(id: &str) -> String {
    id.replace('+', "\\x2b").replace(',', "\\x2c")
}

fn refused(message: String) -> Error {
    Error::invalid(format!("linux.cgroupsPath: {message}")).with_pointer(POINTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(given: &str) -> std::result::Result<String, String> {
        place(given, "web", "system.slice")
            .map(|place| place.path.display().to_string())
            .map_err(|e| e.to_string())
    }

    #[test]
    fn three_parts_name_a_scope_in_a_slice() {
        let given = place("machine-a.slice:libpod:web", "id", "system.slice").unwrap();
        assert_eq!(given.unit, "libpod-web.scope");
        assert_eq!(given.slice, "machine-a.slice");
        assert_eq!(
            given.path,
            PathBuf::from("machine.slice/machine-a.slice/libpod-web.scope")
        );
        assert_eq!(path(":p:n").unwrap(), "system.slice/p-n.scope");
        assert_eq!(path("-:p:n").unwrap(), "p-n.scope");
        assert_eq!(path("-.slice:p:n").unwrap(), "p-n.scope");
        assert_eq!(path("a::n").unwrap_err(), path("a::m").unwrap_err());
        assert_eq!(path("a.slice::n").unwrap(), "a.slice/-n.scope");
    }

    #[test]
    fn a_name_that_is_a_slice_is_one() {
        assert_eq!(
            path("a.slice:p:b-c.slice").unwrap(),
            "b.slice/b-c.slice",
            "a slice is where its name says"
        );
    }

    #[test]
    fn without_a_path_the_unit_has_the_name_of_the_container() {
        assert_eq!(path("").unwrap(), "system.slice/rt-web.scope");
        let odd = place("", "a+b,c", "user.slice").unwrap();
        assert_eq!(odd.unit, "rt-a\\x2bb\\x2cc.scope");
    }

    #[test]
    fn what_is_no_name_is_an_error_of_cgroups_path() {
        for given in [
            "/a/b",
            "a.slice:b",
            "a.slice:b:c:d",
            "a:b:c",
            "a/b.slice:p:n",
            "--.slice:p:n",
            "-a.slice:p:n",
            "a--b.slice:p:n",
            ".slice:p:n",
            "a.slice:p/x:n",
            "a.slice:p:../n",
            "a.slice:p:\u{e4}",
            "a.slice::.slice",
        ] {
            let e = path(given).unwrap_err();
            assert!(e.starts_with("linux.cgroupsPath: "), "{given}: {e}");
        }
        assert!(path(&format!("a.slice:p:{}", "n".repeat(300))).is_err());
    }
}
