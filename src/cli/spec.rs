//! `rt spec`: a config.json to begin with.
//!
//! Runs in: parent.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Global, Verb};
use crate::bundle;
use crate::error::{Error, Result};

#[derive(Args, Debug)]
pub struct Spec {
    /// Directory that config.json is written to
    #[arg(
        short,
        long,
        value_name = "DIR",
        default_value = ".",
        hide_default_value = true
    )]
    bundle: PathBuf,

    /// Write to this file in place of config.json
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "config.json",
        hide_default_value = true
    )]
    file: PathBuf,

    /// For a container that an ordinary user runs
    #[arg(long)]
    rootless: bool,
}

impl Verb for Spec {
    const NAME: &'static str = "spec";
    const ABOUT: &'static str = "Write a config.json to start from";

    fn run(self, _global: &Global) -> Result<u8> {
        let path = self.bundle.join(&self.file);
        write_new(&path, bundle::example(self.rootless).as_bytes()).map(|()| 0)
    }
}

/// Writes a file that is not there yet.
fn write_new(path: &Path, text: &[u8]) -> Result<()> {
    let mut file = std::fs::File::create_new(path).map_err(|e| {
        let exists = e.kind() == std::io::ErrorKind::AlreadyExists;
        let error = Error::io("open", path, &e);
        match exists {
            true => error.with_hint("remove that file first, or name another with --file"),
            false => error,
        }
    })?;
    file.write_all(text)
        .map_err(|e| Error::io("write", path, &e))
}
