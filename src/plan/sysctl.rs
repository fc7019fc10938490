//! `linux.sysctl`: names to paths.
//!
//! Runs in: parent.

use super::Sysctl;
use crate::bundle::checks::{place_in_words, pointer_part};
use crate::bundle::{Config, sysctl_path};
use crate::error::{Error, Result};
use crate::host::Host;

/// The checks have seen to it that each belongs to a namespace that config.json lists; that
/// a network namespace is not the caller's own under another name is seen only here.
pub fn plan(config: &Config, host: &Host) -> Result<Vec<Sysctl>> {
    let entries = config.linux().sysctl.iter();
    let sysctls = entries.map(|(key, value)| Sysctl {
        key: key.clone(),
        path: sysctl_path(key),
        value: value.clone(),
    });
    sysctls
        .map(|sysctl| refuse_own_network(sysctl, host))
        .collect()
}

fn refuse_own_network(sysctl: Sysctl, host: &Host) -> Result<Sysctl> {
    if !host.is_own_network || !sysctl.path.starts_with("net/") {
        return Ok(sysctl);
    }
    let pointer = format!("/linux/sysctl/{}", pointer_part(&sysctl.key));
    let place = place_in_words(&pointer);
    Err(Error::invalid(format!(
        "{place}: the network namespace is the caller's own"
    ))
    .with_pointer(pointer))
}
