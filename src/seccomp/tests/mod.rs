//! What the compiler is held to: libseccomp, seccompiler and the kernel itself.

mod cost;
mod equivalence;
mod kernel;
mod machine;
mod model;
mod oracle;
mod random;
mod rules;
mod seccompiler;

use super::Profile;

/// Default profiles of engines, as they come to a runtime (`hack/seccomp-to-oci`).
pub const DEFAULTS: [(&str, &str); 6] = [
    (
        "podman, x86_64",
        include_str!("../testdata/podman-x86_64.json"),
    ),
    ("moby, x86_64", include_str!("../testdata/moby-x86_64.json")),
    (
        "containerd, x86_64",
        include_str!("../testdata/containerd-x86_64.json"),
    ),
    (
        "podman, aarch64",
        include_str!("../testdata/podman-aarch64.json"),
    ),
    (
        "moby, aarch64",
        include_str!("../testdata/moby-aarch64.json"),
    ),
    (
        "containerd, aarch64",
        include_str!("../testdata/containerd-aarch64.json"),
    ),
];

pub fn profile(json: &str) -> Profile {
    serde_json::from_str(json).unwrap()
}
