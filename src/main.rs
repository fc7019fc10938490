//! `rt`, a low-level container runtime.

#![deny(unsafe_code)]

mod error;

fn main() {}
