//! `linux.netDevices`: devices of the caller's network that become the container's.
//!
//! Runs in: parent.

use serde::Serialize;

use crate::bundle::Config;
use crate::bundle::checks::pointer_part;
use crate::error::{Error, Result};
use crate::host::{CAP_NET_ADMIN, Host};

/// One device to be moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NetDevice {
    /// In the caller's network namespace.
    pub name: String,
    /// In the container's. With `%d`, the first number that is free.
    pub inside: String,
}

impl NetDevice {
    pub fn pointer(&self) -> String {
        format!("/linux/netDevices/{}", pointer_part(&self.name))
    }
}

/// The checks have seen to it that there is a network namespace; that it is not the caller's own
/// under another name, and that the caller may move devices, is seen only here.
pub fn plan(config: &Config, host: &Host) -> Result<Vec<NetDevice>> {
    let devices = &config.linux().net_devices;
    if devices.is_empty() {
        return Ok(Vec::new());
    }
    let refuse = |error: Error| {
        Err(error
            .with_pointer("/linux/netDevices")
            .within("linux.netDevices"))
    };
    if host.is_own_network {
        return refuse(Error::invalid("the network namespace is the caller's own"));
    }
    if !host.has_capability(CAP_NET_ADMIN) {
        return refuse(
            Error::unsupported("an ordinary user cannot move network devices").with_hint(
                "the kernel wants CAP_NET_ADMIN over the network namespace that a device comes from: run rt as root, or let slirp4netns or pasta connect the container",
            ),
        );
    }
    let planned = devices.iter().map(|(name, device)| {
        let inside = device.name.as_deref().filter(|inside| !inside.is_empty());
        NetDevice {
            name: name.clone(),
            inside: inside.unwrap_or(name).to_owned(),
        }
    });
    Ok(planned.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::golden::{root, user};

    fn config() -> Config {
        let text = r#"{"linux": {"netDevices": {"eth1": {"name": "net%d"}, "eth2": {}}}}"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_device_without_a_new_name_keeps_its_own() {
        let planned = plan(&config(), &root()).unwrap();
        let names: Vec<_> = planned
            .iter()
            .map(|d| (d.name.as_str(), d.inside.as_str()))
            .collect();
        assert_eq!(names, [("eth1", "net%d"), ("eth2", "eth2")]);
    }

    #[test]
    fn who_cannot_move_devices_is_told_before_anything_is_made() {
        let error = plan(&config(), &user()).unwrap_err();
        assert!(error.hint().unwrap().contains("CAP_NET_ADMIN"));
        let host = Host {
            is_own_network: true,
            ..root()
        };
        plan(&config(), &host).unwrap_err();
    }
}
