//! config-linux.md: what Linux adds.

mod cgroups;
mod device_rules;
mod devices;
mod enforcement;
mod filesystems;
mod intel_rdt;
mod limits;
mod masks;
mod memory_policy;
mod namespaces;
mod net_devices;
mod propagation;
mod rdma;
mod seccomp;
mod seccomp_actions;
mod seccomp_agent;
mod shared_namespaces;
mod sysctl;
mod threaded;
mod user_namespace;

use crate::harness::verdict::Test;

pub const TESTS: &[&[Test]] = &[
    filesystems::TESTS,
    namespaces::TESTS,
    net_devices::TESTS,
    intel_rdt::TESTS,
    memory_policy::TESTS,
    user_namespace::TESTS,
    devices::TESTS,
    device_rules::TESTS,
    cgroups::TESTS,
    limits::TESTS,
    enforcement::TESTS,
    threaded::TESTS,
    rdma::TESTS,
    shared_namespaces::TESTS,
    sysctl::TESTS,
    propagation::TESTS,
    masks::TESTS,
    seccomp::TESTS,
    seccomp_actions::TESTS,
    seccomp_agent::TESTS,
];
