//! The process: program, environment, limits, scheduling.
//!
//! Runs in: parent.

use std::collections::BTreeSet;

use super::{Check, Report, Run};
use crate::bundle::config::{Config, Process};
use crate::bundle::words;

pub const CHECKS: &[Check] = &[
    Check {
        name: "process-is-there",
        clause: "config.md#process",
        pointer: "/process",
        run: Run::Config(process_is_there),
    },
    Check {
        name: "args-name-a-program",
        clause: "config.md#posix-process",
        pointer: "/process/args",
        run: Run::Process(args_name_a_program),
    },
    Check {
        name: "cwd-is-absolute",
        clause: "config.md#process",
        pointer: "/process/cwd",
        run: Run::Process(cwd_is_absolute),
    },
    Check {
        name: "env-has-names",
        clause: "config.md#posix-process",
        pointer: "/process/env/*",
        run: Run::Process(env_has_names),
    },
    Check {
        name: "rlimit-is-known",
        clause: "config.md#posix-process, getrlimit(2)",
        pointer: "/process/rlimits/*/type",
        run: Run::Process(rlimit_is_known),
    },
    Check {
        name: "rlimit-once",
        clause: "config.md#posix-process",
        pointer: "/process/rlimits/*/type",
        run: Run::Process(rlimit_once),
    },
    Check {
        name: "rlimit-soft-below-hard",
        clause: "config.md#posix-process, setrlimit(2)",
        pointer: "/process/rlimits/*",
        run: Run::Process(rlimit_soft_below_hard),
    },
    Check {
        name: "oom-score-in-range",
        clause: "config.md#linux-process, proc(5)",
        pointer: "/process/oomScoreAdj",
        run: Run::Process(oom_score_in_range),
    },
    Check {
        name: "console-size-in-range",
        clause: "config.md#process, ioctl_tty(2)",
        pointer: "/process/consoleSize",
        run: Run::Process(console_size_in_range),
    },
    Check {
        name: "scheduler-is-known",
        clause: "config.md#linux-process, sched_setattr(2)",
        pointer: "/process/scheduler",
        run: Run::Process(scheduler_is_known),
    },
    Check {
        name: "scheduler-fields-agree",
        clause: "config.md#linux-process; runc and crun",
        pointer: "/process/scheduler",
        run: Run::Process(scheduler_fields_agree),
    },
    Check {
        name: "io-priority-is-known",
        clause: "config.md#linux-process, ioprio_set(2)",
        pointer: "/process/ioPriority",
        run: Run::Process(io_priority_is_known),
    },
    Check {
        name: "cpu-affinity-is-a-list",
        clause: "config.md#linux-process, cpuset(7)",
        pointer: "/process/execCPUAffinity",
        run: Run::Process(cpu_affinity_is_a_list),
    },
];

/// SPEC: config.md#process wants it by the time of start; runc and crun, like rt, look for
/// the program at create.
fn process_is_there(config: &Config, report: &mut Report) {
    if config.process.is_none() {
        report.add("/process", "is missing");
    }
}

fn args_name_a_program(process: &Process, report: &mut Report) {
    if process.args.is_empty() {
        report.add("/args", "must name a program");
    }
}

fn cwd_is_absolute(process: &Process, report: &mut Report) {
    match process.cwd.as_deref() {
        None | Some("") => report.add("/cwd", "is missing"),
        Some(cwd) if !cwd.starts_with('/') => {
            report.add("/cwd", format!("{cwd:?} must be an absolute path"));
        }
        Some(_) => {}
    }
}

/// The value of an entry may be a secret: it is not repeated.
fn env_has_names(process: &Process, report: &mut Report) {
    for (n, entry) in process.env.iter().enumerate() {
        match entry.find('=') {
            None => report.add(format!("/env/{n}"), "must have the form NAME=value"),
            Some(0) => report.add(format!("/env/{n}"), "must have a name before the ="),
            Some(_) => {}
        }
    }
}

fn rlimit_is_known(process: &Process, report: &mut Report) {
    for (n, limit) in process.rlimits.iter().enumerate() {
        let pointer = format!("/rlimits/{n}/type");
        match limit.kind.as_deref() {
            None | Some("") => report.add(pointer, "is missing"),
            Some(kind) if !words::RLIMITS.contains(&kind) => {
                report.add(pointer, format!("{kind:?} is no resource limit of Linux"));
            }
            Some(_) => {}
        }
    }
}

fn rlimit_once(process: &Process, report: &mut Report) {
    let mut seen = BTreeSet::new();
    for (n, limit) in process.rlimits.iter().enumerate() {
        if let Some(kind) = limit.kind.as_deref()
            && !seen.insert(kind)
        {
            report.add(
                format!("/rlimits/{n}/type"),
                format!("{kind:?} is there twice"),
            );
        }
    }
}

fn rlimit_soft_below_hard(process: &Process, report: &mut Report) {
    for (n, limit) in process.rlimits.iter().enumerate() {
        match (limit.soft, limit.hard) {
            (Some(soft), Some(hard)) if soft > hard => report.add(
                format!("/rlimits/{n}/soft"),
                format!("{soft} is above the hard limit {hard}"),
            ),
            (Some(_), Some(_)) => {}
            (None, _) => report.add(format!("/rlimits/{n}/soft"), "is missing"),
            (_, None) => report.add(format!("/rlimits/{n}/hard"), "is missing"),
        }
    }
}

fn oom_score_in_range(process: &Process, report: &mut Report) {
    if let Some(score) = process.oom_score_adj
        && !(-1000..=1000).contains(&score)
    {
        report.add(
            "/oomScoreAdj",
            format!("{score} is not between -1000 and 1000"),
        );
    }
}

fn console_size_in_range(process: &Process, report: &mut Report) {
    let Some(size) = process
        .console_size
        .filter(|_| process.terminal == Some(true))
    else {
        return;
    };
    for (name, value) in [("height", size.height), ("width", size.width)] {
        if value > u64::from(u16::MAX) {
            report.add(
                format!("/consoleSize/{name}"),
                format!("{value} is above {}", u16::MAX),
            );
        }
    }
}

fn scheduler_is_known(process: &Process, report: &mut Report) {
    let Some(scheduler) = &process.scheduler else {
        return;
    };
    match scheduler.policy.as_deref() {
        None | Some("") => report.add("/scheduler/policy", "is missing"),
        Some(policy) if words::scheduling_policy(policy).is_none() => {
            report.add(
                "/scheduler/policy",
                format!("{policy:?} is no policy of Linux"),
            );
        }
        Some(_) => {}
    }
    for (n, flag) in scheduler.flags.iter().enumerate() {
        if words::scheduling_flag(flag).is_none() {
            report.add(
                format!("/scheduler/flags/{n}"),
                format!("{flag:?} is no flag of sched_setattr"),
            );
        }
    }
}

fn scheduler_fields_agree(process: &Process, report: &mut Report) {
    let Some(scheduler) = &process.scheduler else {
        return;
    };
    let policy = scheduler.policy.as_deref().unwrap_or_default();
    if !(-20..=19).contains(&scheduler.nice) {
        report.add(
            "/scheduler/nice",
            format!("{} is not between -20 and 19", scheduler.nice),
        );
    }
    match policy {
        "SCHED_FIFO" | "SCHED_RR" if !(1..=99).contains(&scheduler.priority) => report.add(
            "/scheduler/priority",
            format!("{} is not between 1 and 99", scheduler.priority),
        ),
        "SCHED_FIFO" | "SCHED_RR" => {}
        _ if scheduler.priority != 0 => {
            report.add("/scheduler/priority", "is for SCHED_FIFO and SCHED_RR only");
        }
        _ => {}
    }
    let timed = [
        ("runtime", scheduler.runtime),
        ("deadline", scheduler.deadline),
        ("period", scheduler.period),
    ];
    for (name, value) in timed {
        if value != 0 && policy != "SCHED_DEADLINE" {
            report.add(format!("/scheduler/{name}"), "is for SCHED_DEADLINE only");
        }
    }
}

fn io_priority_is_known(process: &Process, report: &mut Report) {
    let Some(priority) = &process.io_priority else {
        return;
    };
    match priority.class.as_deref() {
        None | Some("") => report.add("/ioPriority/class", "is missing"),
        Some(class) if words::io_class(class).is_none() => {
            report.add(
                "/ioPriority/class",
                format!("{class:?} is no class of ioprio_set"),
            );
        }
        Some(_) => {}
    }
    if !(0..=7).contains(&priority.priority) {
        report.add(
            "/ioPriority/priority",
            format!("{} is not between 0 and 7", priority.priority),
        );
    }
}

fn cpu_affinity_is_a_list(process: &Process, report: &mut Report) {
    let Some(affinity) = &process.exec_cpu_affinity else {
        return;
    };
    for (name, list) in [("initial", &affinity.initial), ("final", &affinity.last)] {
        let text = list.as_deref().unwrap_or_default();
        if !text.is_empty() && words::number_list(text).is_none_or(|list| list.is_empty()) {
            report.add(
                format!("/execCPUAffinity/{name}"),
                format!("{text:?} is no list of CPUs such as 0-3,7"),
            );
        }
    }
}
