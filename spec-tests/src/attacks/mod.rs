//! Known ways out of a container. Each test attacks for real and passes when the attack gets nothing: the runtime may
//! refuse the bundle or run it safely.

mod descriptors;
mod identity;
mod leftovers;
mod links;
mod masks;
mod programs;
mod races;
mod undoing;

use crate::harness::verdict::Test;

pub const TESTS: &[&[Test]] = &[
    programs::TESTS,
    descriptors::TESTS,
    links::TESTS,
    masks::TESTS,
    races::TESTS,
    identity::TESTS,
    leftovers::TESTS,
    undoing::TESTS,
];
