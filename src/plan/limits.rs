//! `linux.resources` to files of cgroup v2 and what is written into them.
//!
//! Runs in: parent.

use super::cgroup::Setting;
use crate::bundle::resources::Resources;
use crate::error::{Error, Result};

pub fn settings(given: &Resources, _warnings: &mut Vec<String>) -> Result<Vec<Setting>> {
    let only_devices = Resources {
        devices: given.devices.clone(),
        ..Resources::default()
    };
    if *given == only_devices {
        return Ok(Vec::new());
    }
    Err(
        Error::unsupported("linux.resources: limits are not there yet")
            .with_pointer("/linux/resources"),
    )
}
