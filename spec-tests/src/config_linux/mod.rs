use crate::harness::verdict::Test;

pub const TESTS: &[&[Test]] = &[];
