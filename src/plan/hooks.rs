//! Hooks: programs of the caller that run at fixed moments of a container's life.

use std::ffi::CString;
use std::time::Duration;

use serde::Serialize;

use super::{HostPath, annotations, c_string, words};
use crate::bundle::{Bundle, config};
use crate::error::Result;

/// runtime-spec config.md#posix-platform-hooks, in the order in which they run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Hooks {
    pub prestart: Vec<Hook>,
    pub create_runtime: Vec<Hook>,
    pub create_container: Vec<Hook>,
    pub start_container: Vec<Hook>,
    pub poststart: Vec<Hook>,
    pub poststop: Vec<Hook>,
    /// Files that what hooks print is added to, `run.oci.hooks.stdout` and `.stderr`.
    pub stdout: Option<HostPath>,
    pub stderr: Option<HostPath>,
}

/// A program of the bundle's that runs at one moment of the container's life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hook {
    /// JSON pointer, `/hooks/prestart/0`.
    pub pointer: String,
    pub path: HostPath,
    /// Not empty; `path` where config.json gives none.
    #[serde(serialize_with = "words::texts")]
    pub args: Vec<CString>,
    pub env: Environment,
    /// Printed in seconds, as config.json has it.
    #[serde(serialize_with = "words::seconds")]
    pub timeout: Option<Duration>,
}

/// What a hook's environment is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// SPEC: config.md#posix-platform-hooks leaves open what comes of no list. With runc and
    /// crun it is that of rt's caller where the hook runs outside, else the payload's.
    Inherited,
    /// config.json's list, and nothing else.
    #[serde(untagged, serialize_with = "words::texts")]
    Given(Vec<CString>),
}

impl Hooks {
    /// Whether there is no hook of any kind.
    pub fn is_empty(&self) -> bool {
        let Hooks {
            prestart,
            create_runtime,
            create_container,
            start_container,
            poststart,
            poststop,
            stdout: _,
            stderr: _,
        } = self;
        let lists = [
            prestart,
            create_runtime,
            create_container,
            start_container,
            poststart,
            poststop,
        ];
        lists.iter().all(|hooks| hooks.is_empty())
    }

    pub fn plan(bundle: &Bundle) -> Result<Hooks> {
        let Some(given) = &bundle.config.hooks else {
            return Ok(Hooks::default());
        };
        let [
            prestart,
            create_runtime,
            create_container,
            start_container,
            poststart,
            poststop,
        ] = given.lists().map(|(name, hooks)| plan_list(name, hooks));
        Ok(Hooks {
            prestart: prestart?,
            create_runtime: create_runtime?,
            create_container: create_container?,
            start_container: start_container?,
            poststart: poststart?,
            poststop: poststop?,
            stdout: annotations::path(bundle, annotations::HOOKS_STDOUT),
            stderr: annotations::path(bundle, annotations::HOOKS_STDERR),
        })
    }
}

fn plan_list(name: &str, hooks: &[config::Hook]) -> Result<Vec<Hook>> {
    let plan_one = |(n, hook): (usize, &config::Hook)| {
        let pointer = format!("/hooks/{name}/{n}");
        let path = hook.path.clone().unwrap_or_default();
        let strings = |list: &[String], field: &str| -> Result<Vec<CString>> {
            let one = |(n, s): (usize, &String)| c_string(s, &format!("{pointer}/{field}/{n}"));
            list.iter().enumerate().map(one).collect()
        };
        let mut args = strings(&hook.args, "args")?;
        if args.is_empty() {
            args.push(c_string(&path, &format!("{pointer}/path"))?);
        }
        Ok(Hook {
            args,
            env: match &hook.env {
                Some(list) => Environment::Given(strings(list, "env")?),
                None => Environment::Inherited,
            },
            path: HostPath::new(path),
            timeout: hook
                .timeout
                .and_then(|s| u64::try_from(s).ok())
                .map(Duration::from_secs),
            pointer,
        })
    };
    hooks.iter().enumerate().map(plan_one).collect()
}
