//! runtime.md: state, lifecycle and operations.

mod checkpoint;
mod lifecycle;
mod state;

use crate::harness::verdict::Test;

pub const TESTS: &[&[Test]] = &[
    state::TESTS,
    lifecycle::TESTS,
    checkpoint::TESTS[0],
    checkpoint::TESTS[1],
    checkpoint::TESTS[2],
];
