//! What a verb writes to standard output.
//!
//! Runs in: parent.

use std::io::Write;

use crate::error::{Error, Result};

/// Writes `text` to standard output. A reader that has gone away is an error like any other.
pub fn print(text: impl AsRef<[u8]>) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(text.as_ref())
        .and_then(|()| stdout.flush())
        .map_err(|e| Error::io("write", "/dev/stdout", &e))
}
