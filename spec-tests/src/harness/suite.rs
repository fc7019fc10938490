//! The table of all tests.
//!
//! Runs in: the suite's main process.

use super::verdict::Test;
use crate::{attacks, compat, config, config_linux, runtime};

/// The tests in the order of the specification; with filters, those that one of the filters matches.
pub fn selected(filters: &[String]) -> Vec<&'static Test> {
    let chapters = [
        runtime::TESTS,
        config::TESTS,
        config_linux::TESTS,
        compat::TESTS,
        attacks::TESTS,
    ];
    let all = chapters.into_iter().flatten().copied().flatten();
    all.filter(|test| filters.is_empty() || filters.iter().any(|filter| matches(test, filter)))
        .collect()
}

fn matches(test: &Test, filter: &str) -> bool {
    test.full_name().contains(filter) || test.clause.contains(filter) || test.level.word() == filter
}
