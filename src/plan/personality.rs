//! `linux.personality`: personality(2).
//!
//! Runs in: parent.

use crate::bundle::Config;

const PER_LINUX: u64 = 0;
const PER_LINUX32: u64 = 8;

/// SPEC: config-linux.md#personality. The specification knows no flag yet; a given one is
/// refused by the checks.
pub fn plan(config: &Config) -> Option<u64> {
    match config.linux().personality.as_ref()?.domain.as_deref()? {
        "LINUX32" => Some(PER_LINUX32),
        _ => Some(PER_LINUX),
    }
}
