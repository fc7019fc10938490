//! `linux.sysctl`: names to paths.
//!
//! Runs in: parent.

use super::Sysctl;
use crate::bundle::Config;

pub fn plan(config: &Config) -> Vec<Sysctl> {
    let entries = config.linux().sysctl.iter();
    entries
        .map(|(key, value)| Sysctl {
            key: key.clone(),
            path: crate::bundle::sysctl_path(key),
            value: value.clone(),
        })
        .collect()
}
