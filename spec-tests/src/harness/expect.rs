//! Known deviations of a runtime: a listed test that fails is no news, one that passes is.
//!
//! Runs in: the suite's main process.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

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
struct Deviation {
    /// Full name of the test.
    test: String,
    /// `root` or `rootless`, when it deviates in one of them alone.
    #[serde(rename = "as")]
    mode: Option<String>,
    reason: String,
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
    let deviations = file
        .deviation
        .into_iter()
        .filter(|one| one.mode.as_deref().is_none_or(|only| only == mode))
        .collect();
    Ok(Expected {
        file: path,
        deviations,
    })
}

impl Expected {
    pub fn reason(&self, test: &str) -> Option<&str> {
        self.deviations
            .iter()
            .find(|deviation| deviation.test == test)
            .map(|deviation| deviation.reason.as_str())
    }

    pub fn file(&self) -> String {
        self.file
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    }
}
