//! config.md: what every platform has.

mod process;

use crate::harness::verdict::Test;

pub const TESTS: &[&[Test]] = &[process::TESTS];
