//! Known deviations of a runtime: a listed test that fails is no news, one that passes is.
//!
//! Runs in: the suite's main process.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::capability;

#[derive(Debug, Default)]
pub struct Expected {
    file: PathBuf,
    deviations: Vec<Deviation>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    deviation: Vec<Deviation>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deviation {
    /// Full name of the test.
    test: String,
    /// `root` or `rootless`, when it deviates in one of them alone.
    #[serde(rename = "as")]
    mode: Option<String>,
    pub reason: String,
    /// It depends on a race: passing is no news either.
    #[serde(default)]
    pub sometimes: bool,
    /// It deviates only where the suite's caller lacks this capability, e.g. `CAP_SYS_RESOURCE`.
    without: Option<String>,
}

/// Reads the given file, or the suite's own for the runtime's base name; a runtime without a file has no excuses.
pub fn load(file: Option<&Path>, runtime: &Path, mode: &str) -> Result<Expected, String> {
    let name = runtime
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let default = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("expect")
        .join(format!("{name}.toml"));
    let path = match file {
        Some(path) => path.to_owned(),
        None if default.exists() => default,
        None => return Ok(Expected::default()),
    };
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let file: File =
        toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let known: Vec<String> = super::suite::selected(&[])
        .iter()
        .map(|test| test.full_name())
        .collect();
    if let Some(stray) = file
        .deviation
        .iter()
        .find(|deviation| !known.contains(&deviation.test))
    {
        return Err(format!(
            "{}: there is no test {}",
            path.display(),
            stray.test
        ));
    }
    let counts = |one: &Deviation| {
        one.mode.as_deref().is_none_or(|only| only == mode)
            && one
                .without
                .as_deref()
                .is_none_or(|name| !capability::have(name))
    };
    let deviations = file.deviation.into_iter().filter(counts).collect();
    Ok(Expected {
        file: path,
        deviations,
    })
}

impl Expected {
    pub fn of(&self, test: &str) -> Option<&Deviation> {
        self.deviations
            .iter()
            .find(|deviation| deviation.test == test)
    }

    pub fn file(&self) -> String {
        self.file
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    }
}
