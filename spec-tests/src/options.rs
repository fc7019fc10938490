//! The suite's command line.
//!
//! Runs in: the suite's main process.

use std::path::PathBuf;
use std::time::Duration;

pub const USAGE: &str = "\
usage: spec-tests --runtime PATH [FILTER]... [options]
       spec-tests --list [FILTER]...

Runs conformance tests against an OCI runtime and prints TAP. A FILTER is a part of a test's name, clause or level.

  --runtime PATH       the runtime, a path or a name in $PATH
  --global ARG         one more argument before the runtime's verb, e.g. --systemd-cgroup (repeatable)
  --user NAME          run every test as this ordinary user (the suite itself is started as root)
  --cgroup-view WHICH  host: as it is; v2: cgroup2 over /sys/fs/cgroup, in a mount namespace of its own;
                       auto (default): v2 where the host's is not
  --expect FILE        known deviations (default: expect/NAME.toml of the suite, where NAME is the runtime's)
  --jobs N             tests at a time (default 2)
  --timeout SECONDS    for one test (default 30)
  --again              run what failed a second time, alone; what passes then counts, and is named at the end
  --keep               leave the bundles and logs in the temporary folder
  --list               names, clauses and levels, without running
";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupView {
    Auto,
    Host,
    V2,
}

#[derive(Debug, Clone)]
pub struct Options {
    pub runtime: Option<PathBuf>,
    pub globals: Vec<String>,
    pub filters: Vec<String>,
    pub user: Option<String>,
    pub cgroup_view: CgroupView,
    pub expect: Option<PathBuf>,
    pub jobs: usize,
    pub timeout: Duration,
    pub again: bool,
    pub keep: bool,
    pub list: bool,
}

impl Options {
    /// Reads the arguments; an error is one line for the user.
    pub fn parse(args: &[String]) -> Result<Self, String> {
        let mut options = Self {
            runtime: None,
            globals: Vec::new(),
            filters: Vec::new(),
            user: None,
            cgroup_view: CgroupView::Auto,
            expect: None,
            jobs: 2,
            timeout: Duration::from_secs(30),
            again: false,
            keep: false,
            list: false,
        };
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            let (name, inline) = match arg.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
                _ => (arg.as_str(), None),
            };
            let mut value = || {
                inline
                    .clone()
                    .or_else(|| rest.next().cloned())
                    .ok_or(format!("{name} wants a value"))
            };
            match name {
                "--runtime" => options.runtime = Some(value()?.into()),
                "--global" => options.globals.push(value()?),
                "--user" => options.user = Some(value()?),
                "--expect" => options.expect = Some(value()?.into()),
                "--jobs" => {
                    options.jobs = value()?
                        .parse()
                        .map_err(|_| "--jobs wants a number".to_owned())?
                }
                "--timeout" => {
                    let seconds = value()?
                        .parse()
                        .map_err(|_| "--timeout wants seconds".to_owned())?;
                    options.timeout = Duration::from_secs(seconds);
                }
                "--cgroup-view" => {
                    options.cgroup_view = match value()?.as_str() {
                        "auto" => CgroupView::Auto,
                        "host" => CgroupView::Host,
                        "v2" => CgroupView::V2,
                        other => {
                            return Err(format!("--cgroup-view is auto, host or v2, not {other}"));
                        }
                    }
                }
                "--again" => options.again = true,
                "--keep" => options.keep = true,
                "--list" => options.list = true,
                _ if name.starts_with('-') => return Err(format!("unknown option {name}")),
                _ => options.filters.push(arg.clone()),
            }
        }
        options.jobs = options.jobs.max(1);
        Ok(options)
    }
}
