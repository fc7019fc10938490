//! The unit that systemd is asked for, where it makes the container's cgroup.
//!
//! Owns the words of that question: the unit's name and slice, and the properties that say in
//! systemd's terms what config.json asks for. How it is asked is [`crate::cgroup`]'s.
//!
//! Runs in: parent; a function of its arguments.

mod annotation;
mod devices;
mod limits;
mod name;
pub mod value;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::cgroup::{DeviceRule, Setting};
use super::{ContainerPath, annotations, words};
use crate::error::{Error, Result};
use value::Value;

/// Which systemd is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bus {
    /// Process 1.
    System,
    /// The caller's own.
    User,
}

/// One property of a unit, as org.freedesktop.systemd1(5) names it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Property {
    pub name: String,
    #[serde(flatten)]
    pub value: Value,
    /// The version of systemd that knows it; 0 for all that are in use.
    #[serde(serialize_with = "words::version")]
    pub since: u32,
}

/// A transient unit to be started.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scope {
    pub bus: Bus,
    pub unit: String,
    /// The unit's cgroup, from the cgroup of the systemd that is asked.
    #[serde(serialize_with = "words::path")]
    pub path: PathBuf,
    /// A cgroup below the unit's, in which the container is then.
    pub subgroup: Option<String>,
    /// One more below that, which has no limits of its own: the container's first process is in
    /// it, and its cgroup namespace begins above it.
    pub delegated: Option<String>,
    pub properties: Vec<Property>,
}

/// What the container says about its unit.
pub struct Wishes<'a> {
    pub id: &'a str,
    pub cgroups_path: &'a str,
    pub annotations: &'a BTreeMap<String, String>,
    /// What is to be written into a cgroup that may have other values: defaults too, since
    /// systemd's own may be others than the kernel's (DefaultTasksMax= for one).
    pub settings: &'a [Setting],
    pub devices: Option<&'a [DeviceRule]>,
}

impl Property {
    pub fn new(name: impl Into<String>, value: Value) -> Property {
        Property {
            name: name.into(),
            value,
            since: 0,
        }
    }

    fn since(self, since: u32) -> Property {
        Property { since, ..self }
    }
}

impl Scope {
    pub fn plan(wishes: &Wishes<'_>, bus: Bus) -> Result<Scope> {
        let default_slice = match bus {
            Bus::System => "system.slice",
            Bus::User => "user.slice",
        };
        let place = name::place(wishes.cgroups_path, wishes.id, default_slice)?;
        let mut scope = Scope {
            bus,
            subgroup: subgroup(wishes.annotations)?,
            delegated: below(wishes.annotations, annotations::DELEGATE_CGROUP)?,
            properties: Vec::new(),
            unit: place.unit,
            path: place.path,
        };
        scope.describe(wishes.id, &place.slice);
        let limits = update(wishes.settings, wishes.devices, bus);
        // What a user of systemd's own words asks for has the last word.
        let annotations = annotation::properties(wishes.annotations)?;
        scope
            .properties
            .retain(|p| annotations.iter().all(|a| a.name != p.name));
        scope.properties.extend(limits);
        scope.properties.extend(annotations);
        Ok(scope)
    }

    /// A slice holds other units; the container's first process is moved into it by rt.
    pub fn is_slice(&self) -> bool {
        self.unit.ends_with(".slice")
    }

    fn describe(&mut self, id: &str, slice: &str) {
        let boolean = |name: &str, value| Property::new(name, Value::Boolean(value));
        let mut properties = vec![Property::new(
            "Description",
            Value::string(format!("rt container {id}")),
        )];
        if self.is_slice() {
            properties.push(Property::new("Wants", Value::strings([slice])));
        } else {
            properties.push(Property::new("Slice", Value::string(slice)));
            // What is below belongs to the container: systemd leaves it alone.
            properties.push(boolean("Delegate", true));
        }
        properties.push(boolean("DefaultDependencies", false));
        for controller in ["CPU", "Memory", "IO", "Tasks"] {
            properties.push(boolean(&format!("{controller}Accounting"), true));
        }
        // A unit whose processes met a bad end goes too, though nobody comes to delete it.
        properties.push(Property::new(
            "CollectMode",
            Value::string("inactive-or-failed"),
        ));
        self.properties = properties;
    }
}

/// What a unit in use is told. An ordinary user's systemd cannot load device programs.
pub fn update(settings: &[Setting], devices: Option<&[DeviceRule]>, bus: Bus) -> Vec<Property> {
    let mut properties = limits::properties(settings);
    if bus == Bus::System {
        properties.extend(devices.map(devices::properties).into_iter().flatten());
    }
    properties
}

/// podman's containers are in a cgroup below their scope, as with crun: conmon looks no further
/// than the first change of memory.events, and in a scope that is a limit that was met, long
/// before a process is killed for it (docs/design/0010-systemd.md). kubelet and cAdvisor, who
/// are others' callers, expect none.
fn subgroup(given: &BTreeMap<String, String>) -> Result<Option<String>> {
    let manager = given.get(annotations::CONTAINER_MANAGER);
    match manager.is_some_and(|manager| manager == annotations::PODMAN)
        && !given.contains_key(annotations::SYSTEMD_SUBGROUP)
    {
        true => Ok(Some("container".to_owned())),
        false => below(given, annotations::SYSTEMD_SUBGROUP),
    }
}

/// crun(1), the annotations that name a cgroup below another.
fn below(given: &BTreeMap<String, String>, key: &str) -> Result<Option<String>> {
    match given.get(key).map(String::as_str) {
        None | Some("") => Ok(None),
        Some(name) => {
            let clean = ContainerPath::new(name).beneath_root().to_owned();
            match clean == *name {
                true => Ok(Some(clean)),
                false => Err(Error::invalid(format!(
                    "annotations[{key:?}]: {name:?} is not the path of a cgroup below another"
                ))
                .with_pointer(annotations::pointer(key))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(annotations: &[(&str, &str)], bus: Bus) -> Result<Scope> {
        let annotations = annotations
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let settings = [Setting::new("", "pids.max", "max")];
        let wishes = Wishes {
            id: "web",
            cgroups_path: "",
            annotations: &annotations,
            settings: &settings,
            devices: Some(&[]),
        };
        Scope::plan(&wishes, bus)
    }

    fn value<'a>(scope: &'a Scope, name: &str) -> Option<&'a Value> {
        let mut of_name = scope.properties.iter().filter(|p| p.name == name);
        let found = of_name.next().map(|p| &p.value);
        assert!(of_name.next().is_none(), "{name} is there twice");
        found
    }

    #[test]
    fn a_scope_is_delegated_and_has_the_limits() {
        let system = scope(&[], Bus::System).unwrap();
        assert_eq!(value(&system, "Delegate"), Some(&Value::Boolean(true)));
        assert_eq!(
            value(&system, "Slice"),
            Some(&Value::string("system.slice"))
        );
        assert_eq!(value(&system, "TasksMax"), Some(&Value::Uint64(u64::MAX)));
        assert_eq!(
            value(&system, "DevicePolicy"),
            Some(&Value::string("strict"))
        );
        let user = scope(&[], Bus::User).unwrap();
        assert_eq!(value(&user, "Slice"), Some(&Value::string("user.slice")));
        assert_eq!(value(&user, "DevicePolicy"), None);
    }

    #[test]
    fn an_annotation_takes_the_place_of_what_rt_would_say() {
        let given = [
            ("org.systemd.property.CollectMode", "'inactive'"),
            ("org.systemd.property.TimeoutStopSec", "3"),
            ("org.systemd.other", "x"),
        ];
        let scope = scope(&given, Bus::System).unwrap();
        assert_eq!(
            value(&scope, "CollectMode"),
            Some(&Value::string("inactive"))
        );
        assert_eq!(
            value(&scope, "TimeoutStopUSec"),
            Some(&Value::Uint64(3_000_000))
        );
    }

    #[test]
    fn a_subgroup_lies_below() {
        let subgroup = |name| {
            scope(&[("run.oci.systemd.subgroup", name)], Bus::System)
                .map(|scope| scope.subgroup)
                .map_err(|e| e.to_string())
        };
        assert_eq!(subgroup("").unwrap(), None);
        assert_eq!(subgroup("container").unwrap(), Some("container".into()));
        assert!(
            subgroup("../x")
                .unwrap_err()
                .contains("run.oci.systemd.subgroup")
        );
        assert!(subgroup("/x").is_err());
    }

    #[test]
    fn podmans_containers_lie_below_unless_they_say_otherwise() {
        let subgroup =
            |annotations: &[(&str, &str)]| scope(annotations, Bus::User).unwrap().subgroup;
        let podman = ("io.container.manager", "libpod");
        assert_eq!(subgroup(&[podman]), Some("container".into()));
        assert_eq!(subgroup(&[("io.container.manager", "cri-o")]), None);
        assert_eq!(subgroup(&[podman, ("run.oci.systemd.subgroup", "")]), None);
        assert_eq!(
            subgroup(&[podman, ("run.oci.systemd.subgroup", "own")]),
            Some("own".into())
        );
    }
}
