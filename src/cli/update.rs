//! `rt update`: other limits for a container. Not built yet.
//!
//! Runs in: parent.

use std::path::PathBuf;

use clap::Args;

use super::{Global, Verb, not_yet};
use crate::error::Result;

// The values stay text until they are used: `64m` and `-1` are legal where a size is meant.
#[derive(Args, Debug)]
pub struct Update {
    /// Read linux.resources from this file; - is standard input
    #[arg(short, long, value_name = "FILE")]
    resources: Option<PathBuf>,

    /// Weight for block devices, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<String>,
    /// Period of the CPU quota in microseconds
    #[arg(long, value_name = "US")]
    cpu_period: Option<String>,
    /// CPU time per period in microseconds
    #[arg(long, value_name = "US", allow_hyphen_values = true)]
    cpu_quota: Option<String>,
    /// CPU time that may be saved up, in microseconds
    #[arg(long, value_name = "US")]
    cpu_burst: Option<String>,
    /// Relative weight for the CPU
    #[arg(long, value_name = "SHARES", alias = "cpu-shares")]
    cpu_share: Option<String>,
    /// Period of the realtime quota in microseconds
    #[arg(long, value_name = "US")]
    cpu_rt_period: Option<String>,
    /// Realtime per period in microseconds
    #[arg(long, value_name = "US", allow_hyphen_values = true)]
    cpu_rt_runtime: Option<String>,
    /// 1: run only where nobody else wants to
    #[arg(long, value_name = "0|1")]
    cpu_idle: Option<String>,
    /// CPUs that may be used
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes that may be used
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Most memory, in bytes or with k, m, g
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory: Option<String>,
    /// Memory that is left when others need some
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory_reservation: Option<String>,
    /// Most memory and swap together
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory_swap: Option<String>,
    #[arg(long, value_name = "SIZE", hide = true, allow_hyphen_values = true)]
    kernel_memory: Option<String>,
    #[arg(long, value_name = "SIZE", hide = true, allow_hyphen_values = true)]
    kernel_memory_tcp: Option<String>,
    /// Most processes
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pids_limit: Option<String>,
    /// Schema of the L3 cache (resctrl)
    #[arg(long, value_name = "SCHEMA")]
    l3_cache_schema: Option<String>,
    /// Schema of the memory bandwidth (resctrl)
    #[arg(long, value_name = "SCHEMA")]
    mem_bw_schema: Option<String>,

    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

impl Verb for Update {
    const NAME: &'static str = "update";
    const ABOUT: &'static str = "Change a container's limits";
    const WORKS: bool = false;

    fn run(self, _global: &Global) -> Result<u8> {
        Err(not_yet(Self::NAME))
    }
}
