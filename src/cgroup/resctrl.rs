//! The container's group of resctrl: cache and memory bandwidth (`linux.intelRdt`).
//!
//! Owns what is written and made there. A group is a folder; processes come into it by its
//! file `tasks`, and their children are born in it.
//!
//! Runs in: parent, with the rights of root; exec and delete by what the state remembers.

pub mod usage;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;

use crate::error::{Context, Error, Result};
use crate::log;
use crate::plan::intel_rdt::{Class, IntelRdt};
use crate::state::ResctrlRecord;

const POINTER: &str = "/linux/intelRdt";
const PLACE: &str = "linux.intelRdt";

/// What is going to be made and entered, for the state: written down before anything is made, so
/// that delete finds it. A folder that is there already is not the container's to remove.
pub fn record(plan: &IntelRdt) -> ResctrlRecord {
    let group = group(plan);
    let mut record = ResctrlRecord {
        enter: vec![group.clone()],
        remove: Vec::new(),
    };
    if let Some(monitor) = monitor(plan) {
        record.enter.push(monitor.clone());
        record.remove.push(monitor);
    }
    if plan.class == Class::OfContainer && !group.exists() {
        record.remove.push(group);
    }
    record
}

/// Makes the group where it is missing, gives it its schemata, and puts the process `pid`, which
/// has no children yet, into it. What was made goes with the guard unless it is kept.
pub fn enter(plan: &IntelRdt, record: &ResctrlRecord, pid: Pid) -> Result<Guard> {
    let mut guard = Guard { made: Vec::new() };
    make(plan, record, pid, &mut guard).at(POINTER, || PLACE)?;
    Ok(guard)
}

/// Puts one more process of the container into its groups.
pub fn add(record: &ResctrlRecord, pid: Pid) -> Result<()> {
    let mut groups = record.enter.iter();
    groups
        .try_for_each(|group| write(&group.join("tasks"), &pid.to_string(), None))
        .at(POINTER, || PLACE)
}

/// Gives the container's class other schemata, a line each, and then does `last`. Where one of
/// the two fails, the class has what it had.
pub fn replace(
    record: &ResctrlRecord,
    lines: &str,
    last: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let Some(class) = record.enter.first() else {
        return last();
    };
    let file = class.join("schemata");
    let status = class
        .ancestors()
        .map(|folder| folder.join("info/last_cmd_status"))
        .find(|status| status.exists());
    let former = std::fs::read_to_string(&file).map_err(|e| Error::io("open", &file, &e))?;
    write(&file, lines, status.as_deref())
        .at(POINTER, || PLACE)
        .and_then(|()| last())
        .map_err(|error| match write(&file, &former, None) {
            Ok(()) => error,
            Err(e) => error.with_hint(format!("the former schemata are not back: {e}")),
        })
}

/// Removes the groups that were made for the container. None of them is there any more is no
/// error.
pub fn remove(record: &ResctrlRecord) -> Result<()> {
    record
        .remove
        .iter()
        .try_for_each(|path| remove_folder(path))
}

/// Folders that were made. Dropped, they are removed.
pub struct Guard {
    made: Vec<PathBuf>,
}

impl Guard {
    pub fn keep(mut self) {
        self.made.clear();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            if let Err(error) = remove_folder(path) {
                log::warning(|| format!("{PLACE}: {error}"));
            }
        }
    }
}

fn make(plan: &IntelRdt, record: &ResctrlRecord, pid: Pid, guard: &mut Guard) -> Result<()> {
    let group = group(plan);
    let status = plan.mount.as_path().join("info/last_cmd_status");
    let is_new = match plan.class {
        Class::Present => {
            if !group.is_dir() {
                return Err(Error::invalid(format!(
                    "closID: there is no class {:?} in {}",
                    plan.group, plan.mount
                ))
                .with_hint("make it before, or give it schemata"));
            }
            false
        }
        Class::OfContainer | Class::Shared => make_folder(&group, guard)?,
    };
    if plan.class == Class::Shared && !is_new {
        compare(&plan.schemata, &group.join("schemata"))?;
    } else if !plan.schemata.is_empty() {
        let lines = plan.schemata.join("\n") + "\n";
        write(&group.join("schemata"), &lines, Some(&status))?;
    }
    if let Some(monitor) = monitor(plan) {
        make_folder(&monitor, guard)?;
    }
    for group in &record.enter {
        write(&group.join("tasks"), &pid.to_string(), Some(&status))?;
    }
    Ok(())
}

fn group(plan: &IntelRdt) -> PathBuf {
    plan.mount.as_path().join(&plan.group)
}

fn monitor(plan: &IntelRdt) -> Option<PathBuf> {
    let name = plan.monitor.as_deref()?;
    Some(group(plan).join("mon_groups").join(name))
}

/// Whether the folder is new.
fn make_folder(path: &Path, guard: &mut Guard) -> Result<bool> {
    match std::fs::create_dir(path) {
        Ok(()) => {
            guard.made.push(path.to_owned());
            Ok(true)
        }
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => {
            let error = Error::io("mkdir", path, &e);
            Err(match e.raw_os_error() {
                Some(libc::ENOSPC) => error.with_hint(
                    "the processor has no class or monitor left: info/*/num_closids and num_rmids of resctrl tell how many there are",
                ),
                _ => error,
            })
        }
    }
}

fn remove_folder(path: &Path) -> Result<()> {
    match std::fs::remove_dir(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("rmdir", path, &e)),
        _ => Ok(()),
    }
}

/// One write(2). The kernel says in the file `status` what it does not like.
fn write(path: &Path, content: &str, status: Option<&Path>) -> Result<()> {
    let written = std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(content.as_bytes()));
    written.map_err(|e| {
        let error = Error::io("write", path, &e);
        match status.and_then(|status| std::fs::read_to_string(status).ok()) {
            Some(said) if !matches!(said.trim(), "" | "ok") => error.within(said.trim()),
            _ => error,
        }
    })
}

/// SPEC: config-linux.md#intelrdt: a class that is there must have what is asked for; caches
/// that nobody speaks of may be as they are.
fn compare(wanted: &[String], file: &Path) -> Result<()> {
    let present = std::fs::read_to_string(file).map_err(|e| Error::io("open", file, &e))?;
    let present: BTreeMap<&str, BTreeMap<&str, String>> =
        present.lines().filter_map(schema).collect();
    for line in wanted {
        let Some((resource, values)) = schema(line) else {
            return Err(Error::invalid(format!("{line:?} is no schema")));
        };
        let there = present.get(resource);
        for (cache, value) in values {
            if there.and_then(|there| there.get(cache)) != Some(&value) {
                return Err(Error::invalid(format!(
                    "the class is there already and its schemata differ: {line:?} is asked for"
                ))
                .with_hint(format!("{} shows what it has", file.display())));
            }
        }
    }
    Ok(())
}

/// `L3:0=7f0;1=1f`: the resource and a value for each cache, without what makes no difference.
fn schema(line: &str) -> Option<(&str, BTreeMap<&str, String>)> {
    let (resource, values) = line.trim().split_once(':')?;
    let values = values.split(';').filter_map(|pair| {
        let (cache, value) = pair.split_once('=')?;
        let value = value.trim().trim_start_matches('0').to_ascii_lowercase();
        Some((cache.trim(), value))
    });
    Some((resource.trim(), values.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::HostPath;

    /// A folder that looks like resctrl with the class `gold`.
    fn resctrl(name: &str) -> PathBuf {
        let mount = std::env::temp_dir().join(format!("rt-{name}-{}", std::process::id()));
        for group in ["", "gold", "c1"] {
            let group = mount.join(group);
            std::fs::create_dir_all(group.join("mon_groups")).unwrap();
            std::fs::write(group.join("tasks"), "").unwrap();
            std::fs::write(
                group.join("schemata"),
                "    L3:0=7ff;1=0ff\n    MB:0= 20;1=100\n",
            )
            .unwrap();
        }
        mount
    }

    fn plan(mount: &Path, group: &str, class: Class, schemata: &[&str]) -> IntelRdt {
        IntelRdt {
            mount: HostPath::new(mount),
            group: group.into(),
            class,
            schemata: schemata.iter().map(|line| (*line).to_owned()).collect(),
            monitor: None,
        }
    }

    fn try_it(plan: &IntelRdt) -> Result<()> {
        enter(plan, &record(plan), Pid::from_raw(77)).map(Guard::keep)
    }

    #[test]
    fn a_class_that_is_there_is_entered_if_it_has_the_same_schemata() {
        let mount = resctrl("resctrl-compare");
        for (schemata, same) in [
            (&["L3:1=ff", "MB:0=20"][..], true),
            (&["L3:0=07FF;1=ff"], true),
            (&["L3:0=7f0"], false),
            (&["L2:0=f"], false),
            (&["L3:2=ff"], false),
        ] {
            let plan = plan(&mount, "gold", Class::Shared, schemata);
            assert_eq!(try_it(&plan).is_ok(), same, "{schemata:?}");
        }
        assert_eq!(
            std::fs::read_to_string(mount.join("gold/tasks")).unwrap(),
            "77"
        );
        std::fs::remove_dir_all(mount).unwrap();
    }

    #[test]
    fn a_class_without_schemata_has_to_be_there() {
        let mount = resctrl("resctrl-present");
        try_it(&plan(&mount, "", Class::Present, &[])).unwrap();
        assert_eq!(std::fs::read_to_string(mount.join("tasks")).unwrap(), "77");
        try_it(&plan(&mount, "silver", Class::Present, &[])).unwrap_err();
        assert!(!mount.join("silver").exists());
        std::fs::remove_dir_all(mount).unwrap();
    }

    #[test]
    fn the_schemata_of_the_containers_own_class_are_written_at_once() {
        let mount = resctrl("resctrl-own");
        let mut plan = plan(&mount, "c1", Class::OfContainer, &["L3:0=f", "MB:0=10"]);
        // It was there before: it is not the container's to remove.
        assert!(record(&plan).remove.is_empty());
        try_it(&plan).unwrap();
        let schemata = std::fs::read_to_string(mount.join("c1/schemata")).unwrap();
        assert!(schemata.starts_with("L3:0=f\nMB:0=10\n"), "{schemata}");
        plan.monitor = Some("web".into());
        let monitor = mount.join("c1/mon_groups/web");
        assert_eq!(record(&plan).remove, std::slice::from_ref(&monitor));
        // The kernel puts a file tasks into a new group; here there is none, which undoes all.
        try_it(&plan).unwrap_err();
        assert!(!monitor.exists());
        std::fs::remove_dir_all(mount).unwrap();
    }

    #[test]
    fn other_schemata_stay_only_where_the_rest_works() {
        let mount = resctrl("resctrl-replace");
        let record = record(&plan(&mount, "gold", Class::Shared, &[]));
        let schemata = || std::fs::read_to_string(mount.join("gold/schemata")).unwrap();
        let former = schemata();
        assert!(replace(&record, "L3:0=1\n", || Err(Error::system("no"))).is_err());
        assert_eq!(schemata(), former);
        replace(&record, "L3:0=1\n", || Ok(())).unwrap();
        assert!(schemata().starts_with("L3:0=1\n"));
        std::fs::remove_dir_all(mount).unwrap();
    }

    #[test]
    fn what_the_container_made_is_removed_with_it() {
        let mount = resctrl("resctrl-remove");
        let plan = plan(&mount, "web", Class::OfContainer, &[]);
        let record = record(&plan);
        assert_eq!(record.remove, [mount.join("web")]);
        std::fs::create_dir(mount.join("web")).unwrap();
        remove(&record).unwrap();
        assert!(!mount.join("web").exists());
        remove(&record).unwrap();
        std::fs::remove_dir_all(mount).unwrap();
    }
}
