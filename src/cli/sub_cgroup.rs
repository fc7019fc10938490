//! `exec --cgroup [CONTROLLER[,CONTROLLER]:]PATH`: a cgroup below the container's own.
//!
//! The form is that of cgroup version 1, where each controller has a tree of its own. In the
//! one tree of version 2 a process is in one place for all of them.
//!
//! Runs in: parent.

use std::path::{Component, Path, PathBuf};

use super::processes;
use crate::cgroup::Handle;
use crate::error::{Context, Error, Kind, Result};
use crate::state::Record;

/// Opens the cgroup that the options name. None where there are no options.
pub fn open(options: &[String], record: &Record) -> Result<Option<Handle>> {
    let Some(below) = path(options)? else {
        return Ok(None);
    };
    let need = "below which alone exec can enter one";
    let (_, own) = processes::need_cgroup(record, need).context(|| "--cgroup")?;
    let handle = Handle::open(&own.mount, &own.path.join(&below)).context(|| "--cgroup")?;
    handle.map(Some).ok_or_else(|| {
        Error::system(format!(
            "--cgroup: the container's cgroup has none below it at {below:?}"
        ))
    })
}

/// What the options name, relative to the container's cgroup; empty for that one itself.
fn path(options: &[String]) -> Result<Option<PathBuf>> {
    let mut controllers: Vec<&str> = Vec::new();
    let mut found: Option<PathBuf> = None;
    for option in options {
        let (names, path) = match option.split_once(':') {
            Some((names, path)) => (names.split(',').collect(), path),
            None if options.len() > 1 => {
                return Err(wrong(option, "one of several needs CONTROLLER: before it"));
            }
            None => (Vec::new(), option.as_str()),
        };
        for name in names {
            if name.is_empty() {
                return Err(wrong(option, "a controller without a name"));
            }
            if controllers.contains(&name) {
                return Err(wrong(option, "the controller is there twice"));
            }
            controllers.push(name);
        }
        let path = below(option, path)?;
        if found.as_ref().is_some_and(|found| *found != path) {
            return Err(wrong(
                option,
                "on cgroup version 2 a process is in one cgroup for all controllers",
            ));
        }
        found = Some(path);
    }
    Ok(found)
}

fn below(option: &str, path: &str) -> Result<PathBuf> {
    let mut clean = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => clean.push(name),
            Component::ParentDir | Component::Prefix(_) => {
                return Err(wrong(option, "it leads out of the container's cgroup"));
            }
        }
    }
    Ok(clean)
}

fn wrong(option: &str, why: &str) -> Error {
    Error::new(Kind::Usage, format!("--cgroup {option:?}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_of(options: &[&str]) -> Result<Option<PathBuf>> {
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        path(&options)
    }

    #[test]
    fn both_forms_name_a_place_below_the_containers_cgroup() {
        for (options, wanted) in [
            (&[][..], None),
            (&["/"], Some("")),
            (&["a/b"], Some("a/b")),
            (&["/a//./b/"], Some("a/b")),
            (&["cpu,memory:a", "pids:/a"], Some("a")),
        ] {
            assert_eq!(path_of(options).unwrap(), wanted.map(PathBuf::from));
        }
    }

    #[test]
    fn two_places_and_places_outside_are_refused() {
        for (options, why) in [
            (&["../x"][..], "leads out"),
            (&["a/../b"], "leads out"),
            (&["a", "b"], "CONTROLLER:"),
            (&["cpu:a", "cpu:a"], "twice"),
            (&[":a"], "without a name"),
            (&["cpu:a", "memory:b"], "one cgroup"),
        ] {
            let e = path_of(options).unwrap_err().to_string();
            assert!(e.contains(why), "{options:?}: {e}");
        }
    }
}
