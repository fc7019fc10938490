//! The config.json that `rt spec` writes: what runc and crun write, to the letter of its
//! order, less what their newest versions left behind (ambient capabilities).
//!
//! Runs in: parent.

const EXAMPLE: &str = include_str!("example.json");

/// `UID` and `GID` stand for the caller's.
const EXAMPLE_ROOTLESS: &str = include_str!("example-rootless.json");

/// The example configuration, indented by tabs. `rootless`: for the calling user, who is
/// mapped to root.
pub fn example(rootless: bool) -> String {
    if rootless {
        example_for(
            nix::unistd::geteuid().as_raw(),
            nix::unistd::getegid().as_raw(),
        )
    } else {
        EXAMPLE.to_owned()
    }
}

/// The example for an ordinary user of these ids.
pub fn example_for(uid: u32, gid: u32) -> String {
    EXAMPLE_ROOTLESS
        .replace("UID", &uid.to_string())
        .replace("GID", &gid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Bundle;

    #[test]
    fn both_examples_are_valid_bundles() {
        for rootless in [false, true] {
            let bundle = Bundle::from_config(example(rootless).into_bytes(), "/b".into()).unwrap();
            assert_eq!(bundle.config.linux().has_namespace("user"), rootless);
            assert_eq!(bundle.warnings, Vec::<String>::new());
        }
    }
}
