//! runtime.md: state, lifecycle and operations.

mod checkpoint;
mod lifecycle;
mod state;

use crate::harness::verdict::Test;

pub const TESTS: &[&[Test]] = &[
    state::TESTS,
    lifecycle::TESTS,
    checkpoint::saving::TESTS,
    checkpoint::going_on::TESTS,
    checkpoint::outside::TESTS,
    checkpoint::mapped::TESTS,
    checkpoint::pages::TESTS,
    checkpoint::labels::TESTS,
    checkpoint::peers::TESTS,
];
