//! config-linux.md#cgroups: limits are not only written, they hold.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::case::Case;
use crate::harness::cgroup::{Cgroup, disk_of};
use crate::harness::verdict::{Verdict, equal, fail, holds, skip};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "config-linux.md#pids" Must a_fork_bomb_stops_at_the_pids_limit;
    "config-linux.md#memory" Must an_allocator_is_killed_at_the_memory_limit;
    "config-linux.md#cpu" Must two_spinners_share_by_their_weights;
    "config-linux.md#cpu" Must a_spinner_is_throttled_at_its_quota;
    "config-linux.md#cpu" Must a_cpuset_confines_the_payload;
    "config-linux.md#block-io" Must a_throttled_writer_is_slow;
    "config-linux.md#block-io" Must two_writers_share_by_their_weights;
    "config-linux.md#huge-page-limits" Must huge_pages_above_the_limit_are_refused;
    "runc-update(8)" Compat an_updated_pids_limit_holds_at_once;
}

const MIB: u64 = 1 << 20;

/// How long processes spin where their time is compared: the scheduler's slices have to even out.
const SPIN: Duration = Duration::from_secs(4);

fn a_fork_bomb_stops_at_the_pids_limit(case: &Case) -> Verdict {
    let place = case.need_controller("pids")?;
    let mut bundle = case.limited(&place, "bomb", &json!({"pids": {"limit": 20}}))?;
    let mut container = case.started(&mut bundle)?;
    let forked = container.ask_one(Ask::Fork { most: 200 })?.number()?;
    // The payload itself is one of them.
    equal("children before fork was refused", forked, 19)?;
    let cgroup = container.cgroup()?;
    holds(
        cgroup.number("pids.events", "max")? > 0,
        "pids.events does not count the refusal",
    )?;
    container.stop()
}

fn an_allocator_is_killed_at_the_memory_limit(case: &Case) -> Verdict {
    let place = case.need_controller("memory")?;
    let resources = json!({"memory": {"limit": 32 * MIB, "swap": 32 * MIB}});
    let mut bundle = case.limited(&place, "hog", &resources)?;
    let mut container = case.started(&mut bundle)?;
    let fits = Ask::Allocate { bytes: 8 * MIB };
    let bursts = Ask::Allocate { bytes: 128 * MIB };
    equal("status with 8 MiB", container.ask_one(fits)?.number()?, 0)?;
    equal(
        "status with 128 MiB",
        container.ask_one(bursts)?.number()?,
        i64::from(128 + libc::SIGKILL),
    )?;
    let cgroup = container.cgroup()?;
    holds(
        cgroup.number("memory.events", "oom_kill")? > 0,
        "memory.events counts no oom_kill",
    )?;
    container.stop()
}

fn usage(cgroup: &Cgroup) -> Verdict<u64> {
    cgroup.number("cpu.stat", "usage_usec")
}

fn two_spinners_share_by_their_weights(case: &Case) -> Verdict {
    let place = case.need_controller("cpu")?;
    let mut spinners = Vec::new();
    // Both together below the usual 100, so that the suite itself and its other tests get on.
    for (word, weight) in [("light", "10"), ("heavy", "30")] {
        let resources = json!({"unified": {"cpu.weight": weight}});
        let mut bundle = case.limited(&place, word, &resources)?;
        let id = format!("{}-{word}", case.id);
        let mut container = case.create_named(&mut bundle, &id)?;
        container.start()?;
        container.tell(&[Ask::Spin])?;
        spinners.push((container.cgroup()?, container));
    }
    let seen = |n: usize| usage(&spinners[n].0);
    let begun = [seen(0)?, seen(1)?];
    case.wait_for("both at work", || {
        let work = [seen(0)? - begun[0], seen(1)? - begun[1]];
        Ok(work.iter().all(|us| *us > 100_000).then_some(()))
    })?;
    let before = [seen(0)?, seen(1)?];
    std::thread::sleep(SPIN);
    let light = seen(0)? - before[0];
    let heavy = seen(1)? - before[1];
    for (_, container) in &spinners {
        container.stop()?;
    }
    // 3, and a fifth of it either way.
    if light * 24 <= heavy * 10 && heavy * 10 <= light * 36 {
        return Ok(());
    }
    fail(format!(
        "with weights 1 to 3 they used {light} and {heavy} microseconds"
    ))
}

fn a_spinner_is_throttled_at_its_quota(case: &Case) -> Verdict {
    let place = case.need_controller("cpu")?;
    let resources = json!({
        "cpu": {"quota": 20_000, "period": 100_000}, "unified": {"cpu.weight": "50"},
    });
    let mut bundle = case.limited(&place, "quota", &resources)?;
    let mut container = case.started(&mut bundle)?;
    container.tell(&[Ask::Spin])?;
    let cgroup = container.cgroup()?;
    let (before, began) = (usage(&cgroup)?, Instant::now());
    case.wait_for("being throttled", || {
        Ok((cgroup.number("cpu.stat", "nr_throttled")? >= 5).then_some(()))
    })?;
    std::thread::sleep(Duration::from_secs(1));
    let used = u128::from(usage(&cgroup)? - before);
    let passed = began.elapsed().as_micros();
    container.stop()?;
    // A fifth; what a period has begun counts with it.
    holds(
        used * 100 <= passed * 30,
        format!("it used {used} of {passed} microseconds, and its quota is a fifth"),
    )
}

fn a_cpuset_confines_the_payload(case: &Case) -> Verdict {
    let place = case.need_controller("cpuset")?;
    let mut bundle = case.limited(&place, "cpus", &json!({"cpu": {"cpus": "0"}}))?;
    let process = case.run_process(&mut bundle)?;
    let allowed = process.status.get("Cpus_allowed_list");
    equal("Cpus_allowed_list", allowed.map(String::as_str), Some("0"))
}

/// How long a container takes to write 2 MiB to the disk, in milliseconds.
fn writing_takes(case: &Case, word: &str, resources: &serde_json::Value) -> Verdict<i64> {
    let place = case.need_controller("io")?;
    let mut bundle = case.limited(&place, word, resources)?;
    let ask = Ask::WriteToDisk {
        path: "/tmp/written".into(),
        bytes: 2 * MIB,
    };
    let id = format!("{}-{word}", case.id);
    let mut container = case.create_named(&mut bundle, &id)?;
    container.start()?;
    let answer = container.ask_one(ask)?;
    if answer.errno() == libc::EINVAL {
        return skip("the file system of the temporary folder has no O_DIRECT");
    }
    container.stop()?;
    answer.number()
}

fn a_throttled_writer_is_slow(case: &Case) -> Verdict {
    case.need_controller("io")?;
    let disk = disk_of(&case.dir)?;
    let free = writing_takes(case, "free", &json!({}))?;
    let limit = json!({"unified": {"io.max": format!("{disk} wbps=524288")}});
    let throttled = writing_takes(case, "throttled", &limit)?;
    // Four seconds' worth.
    holds(
        throttled >= 2500 && throttled >= free * 2,
        format!("2 MiB took {free} ms, and {throttled} ms at half a MiB in a second"),
    )
}

/// Skips unless the disk's scheduler, or the kernel's model of its cost, goes by weights.
fn need_weights(disk: &str) -> Verdict {
    let read = |path: String| std::fs::read_to_string(path).unwrap_or_default();
    let scheduler = read(format!("/sys/dev/block/{disk}/queue/scheduler"));
    let by_cost = read("/sys/fs/cgroup/io.cost.qos".into())
        .lines()
        .any(|line| line.starts_with(&format!("{disk} enable=1")));
    if by_cost || scheduler.contains("[bfq]") {
        Ok(())
    } else {
        skip(
            "weights mean nothing to the disk of the temporary folder: neither bfq nor io.cost is on",
        )
    }
}

/// What the cgroup has written to the disk, in bytes.
fn written(cgroup: &Cgroup, disk: &str) -> Verdict<u64> {
    let text = cgroup.read("io.stat")?;
    let mut lines = text.lines().map(str::split_whitespace);
    let bytes = lines
        .find_map(|mut words| (words.next() == Some(disk)).then_some(words))
        .and_then(|mut words| words.find_map(|word| word.strip_prefix("wbytes=")));
    Ok(bytes.and_then(|bytes| bytes.parse().ok()).unwrap_or(0))
}

fn two_writers_share_by_their_weights(case: &Case) -> Verdict {
    let place = case.need_controller("io")?;
    let disk = disk_of(&case.dir)?;
    need_weights(&disk)?;
    // The kernel's own writing is of no cgroup here, and would have its part of the disk.
    nix::unistd::syncfs(std::fs::File::open(&case.dir)?)?;
    let mut writers = Vec::new();
    for (word, weight) in [("light", 100), ("heavy", 500)] {
        let resources = json!({"blockIO": {"weight": weight}});
        let mut bundle = case.limited(&place, word, &resources)?;
        let id = format!("{}-{word}", case.id);
        let mut container = case.create_named(&mut bundle, &id)?;
        container.start()?;
        container.tell(&[Ask::KeepWriting("/tmp/written".into())])?;
        writers.push((container.cgroup()?, container));
    }
    let seen = |n: usize| written(&writers[n].0, &disk);
    // What is written before the other one begins does not count.
    case.wait_for("both at work", || {
        Ok((seen(0)? > MIB && seen(1)? > MIB).then_some(()))
    })?;
    let before = [seen(0)?, seen(1)?];
    let [light, heavy] = case.wait_for("16 MiB more", || {
        let more = [seen(0)? - before[0], seen(1)? - before[1]];
        Ok((more[0] + more[1] >= 16 * MIB).then_some(more))
    })?;
    for (_, container) in &writers {
        container.stop()?;
    }
    // By bfq it is 1 to 5; io.weight has a scale of its own, and systemd maps it to that of bfq.
    holds(
        light * 2 <= heavy && heavy <= light * 15,
        format!("with weights 100 and 500 they wrote {light} and {heavy} bytes"),
    )
}

fn huge_pages_above_the_limit_are_refused(case: &Case) -> Verdict {
    let place = case.need_controller("hugetlb")?;
    let free = std::fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
    if free.is_ok_and(|text| text.trim().parse::<u32>().is_ok_and(|n| n < 2)) {
        return skip("no free huge pages (vm.nr_hugepages)");
    }
    let limit = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 2 * MIB}]});
    let mut bundle = case.limited(&place, "huge", &limit)?;
    let mut container = case.started(&mut bundle)?;
    let pages = |count: usize| Ask::MapHugePages { count };
    container.ask_one(pages(1))?.done()?;
    container
        .ask_one(pages(2))?
        .failed_with("two huge pages", &[libc::ENOMEM])?;
    container.stop()
}

fn an_updated_pids_limit_holds_at_once(case: &Case) -> Verdict {
    let place = case.need_controller("pids")?;
    let mut bundle = case.limited(&place, "bomb", &json!({"pids": {"limit": 100}}))?;
    let mut container = case.started(&mut bundle)?;
    case.runtime(["update", "--pids-limit", "10", &case.id])
        .run()?
        .succeeded()?;
    let forked = container.ask_one(Ask::Fork { most: 200 })?.number()?;
    equal("children before fork was refused", forked, 9)?;
    container.stop()
}
