//! config.md: what every platform has.

mod capabilities;
mod failing_hooks;
pub(crate) mod hooks;
mod id_maps;
mod invalid;
mod labels;
mod mount_options;
mod mounts;
mod process;
mod root;
mod symlinks;
mod user;

use crate::harness::verdict::Test;

pub const TESTS: &[&[Test]] = &[
    root::TESTS,
    mounts::TESTS,
    mount_options::TESTS,
    id_maps::TESTS,
    symlinks::TESTS,
    process::TESTS,
    labels::TESTS,
    user::TESTS,
    capabilities::TESTS,
    hooks::TESTS,
    failing_hooks::TESTS,
    invalid::TESTS,
];
