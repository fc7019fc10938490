//! Runs the tests one by one in processes of their own and reports.
//!
//! Runs in: the suite's main process.

pub mod apparmor;
pub mod bundle;
pub mod call;
pub mod capability;
pub mod case;
pub mod cgroup;
pub mod console;
pub mod container;
mod expect;
mod host;
pub mod host_mount;
mod leftovers;
mod report;
mod schedule;
mod suite;
pub mod swapper;
pub mod systemd;
pub mod verdict;

use std::path::PathBuf;

use crate::options::{Options, USAGE};

/// Carries out the command line; returns the exit status: 0 as expected, 1 something unexpected, 2 not run at all.
pub fn run(args: &[String]) -> i32 {
    host::ignore_sigpipe();
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        print!("{USAGE}");
        return 0;
    }
    match Options::parse(args).and_then(|options| run_tests(&options)) {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(message) => {
            eprintln!("spec-tests: {message}");
            2
        }
    }
}

fn run_tests(options: &Options) -> Result<bool, String> {
    let tests = suite::selected(&options.filters);
    if tests.is_empty() {
        return Err(format!("no test matches {}", options.filters.join(" or ")));
    }
    if options.list {
        for test in &tests {
            println!(
                "{}\t{}\t{}",
                test.full_name(),
                test.clause,
                test.level.word()
            );
        }
        return Ok(true);
    }
    let runtime: PathBuf = options.runtime.clone().ok_or("--runtime PATH is missing")?;
    let world = host::prepare(options, &runtime)?;
    let expected = expect::load(options.expect.as_deref(), &world.runtime, world.mode_word())?;
    let mut report = report::Report::new(&expected, options.again);
    let whole = schedule::run_all(&tests, 0, &world, options, |index, test, outcome, taken| {
        report.add(index, test, outcome, taken)
    });
    let second = report.second_attempts(whole);
    if !second.is_empty() {
        let alone = Options {
            jobs: 1,
            ..options.clone()
        };
        schedule::run_all(
            &second,
            tests.len(),
            &world,
            &alone,
            |index, test, outcome, taken| report.add(index, test, outcome, taken),
        );
    }
    world.remove();
    Ok(report.finish())
}
