//! Capability names to bit masks.
//!
//! Runs in: parent.

use std::str::FromStr;

use super::process::Capabilities;
use crate::bundle::config;

/// SPEC: config.md#linux-process: a name that cannot be mapped to the kernel's is a warning.
pub fn plan(given: &config::Capabilities, last: u8, warnings: &mut Vec<String>) -> Capabilities {
    let mut unknown = Vec::new();
    let mut mask = |names: &[String]| {
        names.iter().fold(0, |mask, name| match number(name) {
            Some(number) if number <= last => mask | 1 << number,
            _ => {
                if !unknown.contains(name) {
                    unknown.push(name.clone());
                }
                mask
            }
        })
    };
    let set = Capabilities {
        bounding: mask(&given.bounding),
        effective: mask(&given.effective),
        permitted: mask(&given.permitted),
        inheritable: mask(&given.inheritable),
        ambient: mask(&given.ambient),
    };
    if !unknown.is_empty() {
        warnings.push(format!(
            "process.capabilities: this kernel does not know {}: ignored",
            unknown.join(", ")
        ));
    }
    set
}

/// The capability's number, if the name is one.
pub fn number(name: &str) -> Option<u8> {
    caps::Capability::from_str(name)
        .ok()
        .map(|capability| capability.index())
}

/// `CAP_CHOWN` for 0 and so on; the number where this version knows no name.
pub fn name(number: u32) -> String {
    caps::all()
        .into_iter()
        .find(|c| u32::from(c.index()) == number)
        .map_or_else(|| format!("capability {number}"), |c| c.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_capabilities_are_left_out_with_a_warning() {
        let given = config::Capabilities {
            bounding: vec![
                "CAP_CHOWN".into(),
                "CAP_FLY".into(),
                "CAP_CHECKPOINT_RESTORE".into(),
            ]
            .into(),
            effective: vec!["CAP_FLY".into()].into(),
            ..Default::default()
        };
        let mut warnings = Vec::new();
        let set = plan(&given, 39, &mut warnings);
        assert_eq!((set.bounding, set.effective), (1, 0));
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("CAP_FLY, CAP_CHECKPOINT_RESTORE"));
    }
}
