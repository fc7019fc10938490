//! What engines rely on and the specification leaves open: the command line of runc and crun.

mod annotations;
mod caller;
mod cgroup_identity;
mod cgroups;
mod check;
mod crash;
mod daemons;
mod delete;
mod descriptors;
mod environment;
mod errors;
mod events;
mod exec;
mod features;
mod interrupts;
mod kill;
mod mounts;
mod nested;
mod notify;
mod options;
mod pause;
mod phrases;
mod pidfd;
mod plan;
mod run;
mod show;
mod spec;
mod systemd;
mod terminal;
mod tolerated;
mod trace;
mod update;

use crate::harness::verdict::Test;

pub const TESTS: &[&[Test]] = &[
    options::TESTS,
    run::TESTS,
    kill::TESTS,
    delete::TESTS,
    show::TESTS,
    exec::TESTS,
    terminal::TESTS,
    tolerated::TESTS,
    descriptors::TESTS,
    environment::TESTS,
    errors::TESTS,
    phrases::TESTS,
    cgroups::TESTS,
    events::TESTS,
    cgroup_identity::TESTS,
    pause::TESTS,
    update::TESTS,
    spec::TESTS,
    crash::TESTS,
    interrupts::TESTS,
    nested::TESTS,
    notify::TESTS,
    features::TESTS,
    pidfd::TESTS,
    annotations::TESTS,
    mounts::TESTS,
    daemons::TESTS,
    caller::TESTS,
    systemd::TESTS,
    systemd::PODMAN,
    systemd::PROPERTIES,
    check::TESTS,
    check::AGREEMENT,
    trace::TESTS,
    plan::TESTS,
];
