//! What stands in the way of a plan, all of it.
//!
//! `create` wants the first fault, `check` every one. So what does not follow from the part
//! that is at fault is decided all the same.
//!
//! Runs in: parent.

use crate::error::{Error, Result};

/// The faults found so far, in the order of the decisions.
#[derive(Debug, Default)]
pub struct Faults(Vec<Error>);

impl Faults {
    /// The decision; where there is none, its fault is noted.
    pub fn take<T>(&mut self, decision: Result<T>) -> Option<T> {
        decision.map_err(|fault| self.0.push(fault)).ok()
    }

    /// The decision, or a stand-in from which nothing will be made, since a fault was noted.
    pub fn or_default<T: Default>(&mut self, decision: Result<T>) -> T {
        self.take(decision).unwrap_or_default()
    }

    pub fn into_first(self) -> Option<Error> {
        self.0.into_iter().next()
    }

    pub fn into_all(self) -> Vec<Error> {
        self.0
    }
}
