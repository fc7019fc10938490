//! `linux.intelRdt`: the container's group of the resctrl file system.
//!
//! Runs in: parent.

use serde::Serialize;

use super::HostPath;
use crate::bundle::Config;
use crate::error::{Error, Result};
use crate::host::Host;

/// The class of resctrl that the container's processes are in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IntelRdt {
    /// Where resctrl is mounted.
    pub mount: HostPath,
    /// The folder of the class beneath it; empty for the default class, which is the root.
    pub group: String,
    pub class: Class,
    /// Lines for the file `schemata`, in this order.
    pub schemata: Vec<String>,
    /// The folder beneath the group's mon_groups that is made for the container.
    pub monitor: Option<String>,
}

/// Whose the class is, config-linux.md#intelrdt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The container's own: made with it and removed with it.
    OfContainer,
    /// Made where it is missing; where it is there, it has to have the same schemata.
    Shared,
    /// Has to be there.
    Present,
}

/// The group of the container `id`; none where config.json does not speak of it.
pub fn plan(config: &Config, id: &str, host: &Host) -> Result<Option<IntelRdt>> {
    let Some(given) = &config.linux().intel_rdt else {
        return Ok(None);
    };
    let Some(mount) = &host.resctrl else {
        return Err(Error::unsupported(
            "linux.intelRdt: no resctrl file system is mounted on this host",
        )
        .with_pointer("/linux/intelRdt")
        .with_hint(
            "where the processor has cache or memory bandwidth allocation: mount -t resctrl resctrl /sys/fs/resctrl (the kernel's CONFIG_X86_CPU_RESCTRL)",
        ));
    };
    let mut schemata = Vec::new();
    for part in [&given.l3_cache_schema, &given.mem_bw_schema] {
        schemata.extend(part.as_deref().unwrap_or_default().lines());
    }
    schemata.extend(given.schemata.iter().flat_map(|line| line.lines()));
    let schemata: Vec<String> = schemata
        .into_iter()
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    let named = given.clos_id.as_deref().filter(|named| !named.is_empty());
    let class = match (named, schemata.is_empty()) {
        (None, _) => Class::OfContainer,
        (Some(_), false) => Class::Shared,
        (Some(_), true) => Class::Present,
    };
    Ok(Some(IntelRdt {
        mount: HostPath::new(mount),
        group: match named {
            Some("/") => String::new(),
            Some(named) => named.to_owned(),
            None => id.to_owned(),
        },
        class,
        schemata,
        monitor: given
            .enable_monitoring
            .unwrap_or(false)
            .then(|| id.to_owned()),
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plan::golden::root;

    fn planned(rdt: Value) -> Result<Option<IntelRdt>> {
        let config: Config = serde_json::from_value(json!({"linux": {"intelRdt": rdt}})).unwrap();
        plan(&config, "web", &root())
    }

    #[test]
    fn the_schemata_are_in_the_order_of_the_specification() {
        let rdt = planned(
            json!({"schemata": ["L2:0=f"], "memBwSchema": "MB:0=20", "l3CacheSchema": "L3:0=7f0"}),
        );
        let rdt = rdt.unwrap().unwrap();
        assert_eq!(rdt.schemata, ["L3:0=7f0", "MB:0=20", "L2:0=f"]);
        assert_eq!(
            (rdt.group.as_str(), rdt.class, rdt.monitor),
            ("web", Class::OfContainer, None)
        );
    }

    #[test]
    fn a_class_with_a_name_is_not_the_containers() {
        let rdt = planned(json!({"closID": "gold", "enableMonitoring": true}));
        let rdt = rdt.unwrap().unwrap();
        assert_eq!((rdt.group.as_str(), rdt.class), ("gold", Class::Present));
        assert_eq!(rdt.monitor.as_deref(), Some("web"));
        let rdt = planned(json!({"closID": "/", "memBwSchema": "MB:0=20"}));
        let rdt = rdt.unwrap().unwrap();
        assert_eq!((rdt.group.as_str(), rdt.class), ("", Class::Shared));
    }

    #[test]
    fn without_resctrl_it_is_an_error() {
        let config: Config = serde_json::from_value(json!({"linux": {"intelRdt": {}}})).unwrap();
        let host = Host {
            resctrl: None,
            ..root()
        };
        let error = plan(&config, "web", &host).unwrap_err();
        assert_eq!(error.pointer(), Some("/linux/intelRdt"));
        assert_eq!(plan(&Config::default(), "web", &host).unwrap(), None);
    }
}
