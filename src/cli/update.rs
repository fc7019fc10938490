//! `rt update`: other limits for a container; all that are asked for, or none.
//!
//! Runs in: parent.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{Global, Verb, processes};
use crate::bundle::checks;
use crate::bundle::resources::{BlockIo, Pids};
use crate::bundle::{self, Bundle, Resources};
use crate::cgroup::{self, Handle, Privilege, resctrl};
use crate::error::{Context, Error, Kind, Result};
use crate::log;
use crate::plan::cgroup::for_update;
use crate::state::{Container, Status};

/// How long another command on the same container is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

// The values stay text until they are used: `64m` and `-1` are legal where a size is meant.
#[derive(Args, Debug)]
pub struct Update {
    /// Read linux.resources from this file; - is standard input
    #[arg(short, long, value_name = "FILE")]
    resources: Option<PathBuf>,

    /// Weight for block devices, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<String>,
    /// Period of the CPU quota, in microseconds
    #[arg(long, value_name = "US")]
    cpu_period: Option<String>,
    /// CPU time per period in microseconds, -1 for no limit
    #[arg(long, value_name = "US", allow_hyphen_values = true)]
    cpu_quota: Option<String>,
    /// CPU time that may be saved up, in microseconds
    #[arg(long, value_name = "US")]
    cpu_burst: Option<String>,
    /// Relative weight for the CPU
    #[arg(long, value_name = "SHARES", alias = "cpu-shares")]
    cpu_share: Option<String>,
    /// Period of the realtime quota, in microseconds
    #[arg(long, value_name = "US")]
    cpu_rt_period: Option<String>,
    /// Realtime CPU time per period, in microseconds
    #[arg(long, value_name = "US", allow_hyphen_values = true)]
    cpu_rt_runtime: Option<String>,
    /// 1: run only while nobody else wants the CPU
    #[arg(long, value_name = "0|1")]
    cpu_idle: Option<String>,
    /// CPUs that may be used
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes that may be used
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Limit of memory, in bytes or with k, m, g; -1 for none
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory: Option<String>,
    /// Memory that is spared when the host runs short
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory_reservation: Option<String>,
    /// Limit of memory and swap together; -1 for none
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory_swap: Option<String>,
    #[arg(long, value_name = "SIZE", hide = true, allow_hyphen_values = true)]
    kernel_memory: Option<String>,
    #[arg(long, value_name = "SIZE", hide = true, allow_hyphen_values = true)]
    kernel_memory_tcp: Option<String>,
    /// Limit of processes; -1 for none
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

    fn run(self, global: &Global) -> Result<u8> {
        let resources = self.resources()?;
        let mut container = global.root()?.open(&self.id)?;
        container.lock(PATIENCE)?;
        update(&mut container, resources, &self.schemata())
            .context(|| format!("update {:?}", self.id))
            .map(|()| 0)
    }
}

impl Update {
    /// Lines for the class of resctrl that the container is in; empty for none.
    fn schemata(&self) -> String {
        let given = [&self.l3_cache_schema, &self.mem_bw_schema];
        let lines = given.into_iter().flatten().flat_map(|text| text.lines());
        lines.map(|line| format!("{}\n", line.trim())).collect()
    }

    /// What is asked for: the file, and over it the single values.
    fn resources(&self) -> Result<Resources> {
        let mut resources = match &self.resources {
            Some(path) => read(path).context(|| "--resources")?,
            None => Resources::default(),
        };
        if let Some(weight) = number(self.blkio_weight.as_deref(), "--blkio-weight")? {
            resources
                .block_io
                .get_or_insert_with(BlockIo::default)
                .weight = Some(weight);
        }
        if let Some(limit) = number(self.pids_limit.as_deref(), "--pids-limit")? {
            resources.pids = Some(Pids { limit: Some(limit) });
        }
        self.add_cpu(&mut resources)?;
        self.add_memory(&mut resources)?;
        Ok(resources)
    }

    fn add_cpu(&self, resources: &mut Resources) -> Result<()> {
        let mut cpu = resources.cpu.take().unwrap_or_default();
        set(
            &mut cpu.period,
            number(self.cpu_period.as_deref(), "--cpu-period")?,
        );
        set(
            &mut cpu.quota,
            number(self.cpu_quota.as_deref(), "--cpu-quota")?,
        );
        set(
            &mut cpu.burst,
            number(self.cpu_burst.as_deref(), "--cpu-burst")?,
        );
        set(
            &mut cpu.shares,
            number(self.cpu_share.as_deref(), "--cpu-share")?,
        );
        set(
            &mut cpu.idle,
            number(self.cpu_idle.as_deref(), "--cpu-idle")?,
        );
        set(
            &mut cpu.realtime_period,
            number(self.cpu_rt_period.as_deref(), "--cpu-rt-period")?,
        );
        set(
            &mut cpu.realtime_runtime,
            number(self.cpu_rt_runtime.as_deref(), "--cpu-rt-runtime")?,
        );
        set(&mut cpu.cpus, self.cpuset_cpus.clone());
        set(&mut cpu.mems, self.cpuset_mems.clone());
        resources.cpu = Some(cpu);
        Ok(())
    }

    fn add_memory(&self, resources: &mut Resources) -> Result<()> {
        let mut memory = resources.memory.take().unwrap_or_default();
        set(&mut memory.limit, size(self.memory.as_deref(), "--memory")?);
        set(
            &mut memory.reservation,
            size(self.memory_reservation.as_deref(), "--memory-reservation")?,
        );
        set(
            &mut memory.swap,
            size(self.memory_swap.as_deref(), "--memory-swap")?,
        );
        set(
            &mut memory.kernel,
            size(self.kernel_memory.as_deref(), "--kernel-memory")?,
        );
        set(
            &mut memory.kernel_tcp,
            size(self.kernel_memory_tcp.as_deref(), "--kernel-memory-tcp")?,
        );
        resources.memory = Some(memory);
        Ok(())
    }
}

fn set<T>(place: &mut Option<T>, given: Option<T>) {
    if given.is_some() {
        *place = given;
    }
}

fn read(path: &PathBuf) -> Result<Resources> {
    let mut source = Vec::new();
    let result = match path.as_os_str() == "-" {
        true => std::io::stdin().lock().read_to_end(&mut source).map(drop),
        false => std::fs::read(path).map(|bytes| source = bytes),
    };
    result.map_err(|e| Error::io("read", path, &e))?;
    bundle::resources_from_json(&source)
}

fn number<T: std::str::FromStr>(text: Option<&str>, option: &str) -> Result<Option<T>> {
    text.map(|text| {
        text.parse().map_err(|_| {
            Error::new(
                Kind::Usage,
                format!("{option}: {text:?} is no number in its range"),
            )
        })
    })
    .transpose()
}

fn size(text: Option<&str>, option: &str) -> Result<Option<i64>> {
    text.map(|text| {
        bytes_of(text).ok_or_else(|| {
            let wrong = format!("{option}: {text:?} is no size such as 1048576, 64m, 1.5g or -1");
            Error::new(Kind::Usage, wrong)
        })
    })
    .transpose()
}

/// A number of bytes as Docker's and runc's command lines take it: powers of 1024, whether
/// `m`, `MB` or `MiB`, and a fraction before them. -1 is "no limit".
fn bytes_of(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim_start().to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let unit = unit
        .strip_suffix('i')
        .filter(|unit| !unit.is_empty())
        .unwrap_or(unit);
    let shift = 10
        * ["", "k", "m", "g", "t", "p"]
            .iter()
            .position(|known| *known == unit)?;
    match number.parse::<i64>() {
        Ok(number) => number.checked_mul(1 << shift),
        Err(_) => {
            let number: f64 = number.parse().ok().filter(|_| number.contains('.'))?;
            // A fraction of a byte is none, and what is too much saturates.
            Some((number * (1_i64 << shift) as f64) as i64)
        }
    }
}

fn update(container: &mut Container, mut resources: Resources, schemata: &str) -> Result<()> {
    let status = container.status()?;
    if !matches!(status, Status::Created | Status::Running | Status::Paused) {
        return Err(processes::not_running());
    }
    let record = &container.record;
    let (handle, cgroup) = processes::need_cgroup(record, "which alone has limits")?;
    fill_in(&mut resources, &handle)?;
    checks::resources(&resources)?;
    let bundle = Bundle::from_state(container.config()?, record.bundle.clone())?;
    let version = bundle.config.oci_version.as_deref().unwrap_or_default();
    let mut warnings = Vec::new();
    let change = for_update(&resources, version, &mut warnings)?;
    for warning in warnings {
        log::warning(|| warning);
    }
    let privilege = match record.rootless {
        true => Privilege::Rootless,
        false => Privilege::Host,
    };
    let limits = || cgroup::update(&handle, &change, &cgroup.manager, privilege);
    match (schemata, &record.resctrl) {
        ("", _) => limits(),
        (schemata, Some(groups)) => resctrl::replace(groups, schemata, limits),
        (_, None) => Err(Error::unsupported(
            "the container has no linux.intelRdt, and so no schemata of its own",
        )),
    }
}

/// What two values of config.json say together is one file: where one is given alone, the
/// other stays as it is.
fn fill_in(resources: &mut Resources, handle: &Handle) -> Result<()> {
    if let Some(cpu) = &mut resources.cpu
        && (cpu.quota.is_some() != cpu.period.is_some())
        && let Some(text) = handle.read("cpu.max")?
        && let Some((quota, period)) = text.trim().split_once(' ')
    {
        // What is no number is `max`.
        cpu.quota = cpu.quota.or(Some(quota.parse().unwrap_or(-1)));
        cpu.period = cpu.period.or(period.parse().ok());
    }
    if let Some(memory) = &mut resources.memory
        && memory.swap.is_some_and(|swap| swap > 0)
        && memory.limit.is_none()
        && let Some(text) = handle.read("memory.max")?
    {
        memory.limit = text.trim().parse().ok();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_dockers_command_line_reads_them() {
        for (text, bytes) in [
            ("-1", Some(-1)),
            ("0", Some(0)),
            ("64m", Some(64 << 20)),
            ("64MB", Some(64 << 20)),
            ("2 GiB", Some(2 << 30)),
            ("1.5k", Some(1536)),
            ("7b", Some(7)),
            ("", None),
            ("m", None),
            ("-2", None),
            ("5x", None),
            ("9999999t", None),
        ] {
            assert_eq!(bytes_of(text), bytes, "{text:?}");
        }
    }
}
