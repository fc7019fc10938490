//! `rt`, a low-level container runtime.

#![deny(unsafe_code)]
#![allow(dead_code)] // until the house is whole

mod error;
mod log;
mod plan;
mod process;
mod sys;

fn main() {}
