//! What a profile costs: to compile, to load, to run. Figures for docs/design come from
//!
//! ```text
//! cargo test --release --bin rt seccomp::tests::cost -- --ignored --nocapture
//! ```

use std::time::Instant;

use seccompiler::{TargetArch, sock_filter};

use super::super::{Action, Arch, compile};
use super::machine::{Data, run};
use super::oracle::Oracle;
use super::seccompiler::seccompilers;
use super::{DEFAULTS, profile};
use crate::sys::seccomp::load;
use crate::sys::seccomp::tests::word_of_child;

fn median(mut of: Vec<u128>) -> u128 {
    of.sort_unstable();
    of[of.len() / 2]
}

fn timed_ns(times: usize, mut f: impl FnMut()) -> u128 {
    let one = |_| {
        let start = Instant::now();
        f();
        start.elapsed().as_nanos()
    };
    median((0..times).map(one).collect())
}

/// Instructions that the kernel runs for a call of x86_64, on average and at most, where the
/// arguments are 0.
fn path(program: &[sock_filter]) -> (f64, usize) {
    let lengths = (0..460).map(|number| {
        let data = Data {
            number,
            audit: Arch::X86_64.audit(),
            ..Data::default()
        };
        run(program, &data).1
    });
    let lengths: Vec<usize> = lengths.collect();
    let sum: usize = lengths.iter().sum();
    (
        sum as f64 / lengths.len() as f64,
        lengths.into_iter().max().unwrap_or(0),
    )
}

/// Time of seccomp(2) for `program`, in a child each.
fn load_ns(program: &[sock_filter]) -> u128 {
    let one = |_| {
        let ns = word_of_child(|word| {
            let start = Instant::now();
            let loaded = load(program, 0x4);
            word.store(loaded.map_or(-1, |()| start.elapsed().as_nanos() as i32));
        });
        assert!(ns > 0);
        ns as u128
    };
    median((0..41).map(one).collect())
}

#[test]
#[ignore = "measures"]
fn of_the_default_profiles() {
    let mut oracle = Oracle::start();
    for (name, json) in DEFAULTS.iter().filter(|(name, _)| name.ends_with("x86_64")) {
        let profile = profile(json);
        let compile_ns = timed_ns(301, || {
            std::hint::black_box(compile(std::hint::black_box(&profile), Arch::X86_64).is_ok());
        });
        let (filter, _) = compile(&profile, Arch::X86_64).unwrap();
        let (mean, longest) = path(&filter.program);
        println!(
            "{name}: compiled in {} us, {} instructions, path {mean:.1} (at most {longest}), loaded in {} us",
            compile_ns / 1000,
            filter.program.len(),
            load_ns(&filter.program) / 1000,
        );
        if !cfg!(debug_assertions) {
            assert!(compile_ns < 300_000, "{compile_ns} ns");
        }
        // x86_64 alone, and the rules of one action alone: all that it can express.
        let mut part = profile.clone();
        part.architectures.clear();
        part.rules.retain(|rule| rule.action == Action::Allow);
        let linear = seccompilers(&part, Arch::X86_64, TargetArch::x86_64);
        let (mean, longest) = path(&linear);
        println!(
            "  seccompiler: {} instructions for a third of it, path {mean:.1} (at most {longest})",
            linear.len()
        );
        if let Some(oracle) = &mut oracle {
            let theirs = oracle.compile(&profile, Arch::X86_64).unwrap();
            let theirs_ns = timed_ns(11, || drop(oracle.compile(&profile, Arch::X86_64)));
            let (mean, longest) = path(&theirs);
            println!(
                "  libseccomp: compiled in {} us, {} instructions, path {mean:.1} (at most {longest}), loaded in {} us",
                theirs_ns / 1000,
                theirs.len(),
                load_ns(&theirs) / 1000,
            );
        }
    }
}
