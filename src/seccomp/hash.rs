//! The hash of the compiler's own tables.
//!
//! The standard one resists an adversary who picks the keys and takes a third of the whole
//! compile time for it. The keys here are a profile's names and graph nodes; whoever writes
//! them owns the container anyway.
//!
//! Runs in: parent, before anything is created.

use std::hash::{BuildHasherDefault, Hasher};

pub type Fast = BuildHasherDefault<Multiply>;

/// Multiply and rotate, a word at a time.
#[derive(Default)]
pub struct Multiply(u64);

impl Multiply {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for Multiply {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_ne_bytes(word));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.add(u64::from(n));
    }

    fn write_u32(&mut self, n: u32) {
        self.add(u64::from(n));
    }

    fn write_u64(&mut self, n: u64) {
        self.add(n);
    }

    fn write_usize(&mut self, n: usize) {
        self.add(n as u64);
    }

    fn finish(&self) -> u64 {
        // The table takes the low bits, the product has its best ones on top.
        self.0.rotate_left(26)
    }
}
