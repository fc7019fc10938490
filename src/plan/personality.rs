//! `linux.personality`: personality(2).
//!
//! Runs in: parent.

use crate::bundle::Config;

const PER_LINUX: u64 = 0;
const PER_LINUX32: u64 = 8;

/// SPEC: config-linux.md#personality. The specification knows no flag yet; a given one is
/// left alone with a warning, as runc and crun do.
pub fn plan(config: &Config, warnings: &mut Vec<String>) -> Option<u64> {
    let given = config.linux().personality.as_ref()?;
    if !given.flags.is_empty() {
        warnings.push("linux.personality.flags: no flag is known: left alone".into());
    }
    match given.domain.as_deref()? {
        "LINUX32" => Some(PER_LINUX32),
        _ => Some(PER_LINUX),
    }
}
