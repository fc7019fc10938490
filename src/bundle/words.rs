//! The kernel's constants by the names that config.json uses.
//!
//! Runs in: parent.

/// By the numbers of getrlimit(2), which are the same on every architecture but a few that
/// rt does not know (alpha, mips, sparc).
pub const RLIMITS: [&str; 16] = [
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
];

/// sched(7).
pub const SCHEDULING_POLICIES: &[(&str, u64)] = &[
    ("SCHED_OTHER", 0),
    ("SCHED_FIFO", 1),
    ("SCHED_RR", 2),
    ("SCHED_BATCH", 3),
    ("SCHED_ISO", 4),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", 6),
];

/// sched_setattr(2).
pub const SCHEDULING_FLAGS: &[(&str, u64)] = &[
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", 0x08),
    ("SCHED_FLAG_KEEP_PARAMS", 0x10),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];

/// ioprio_set(2).
pub const IO_CLASSES: &[(&str, u64)] = &[
    ("IOPRIO_CLASS_RT", 1),
    ("IOPRIO_CLASS_BE", 2),
    ("IOPRIO_CLASS_IDLE", 3),
];

/// set_mempolicy(2).
pub const MEMORY_MODES: &[(&str, u64)] = &[
    ("MPOL_BIND", 2),
    ("MPOL_DEFAULT", 0),
    ("MPOL_INTERLEAVE", 3),
    ("MPOL_LOCAL", 4),
    ("MPOL_PREFERRED", 1),
    ("MPOL_PREFERRED_MANY", 5),
    ("MPOL_WEIGHTED_INTERLEAVE", 6),
];

/// set_mempolicy(2); each is or-ed to the mode.
pub const MEMORY_FLAGS: &[(&str, u64)] = &[
    ("MPOL_F_NUMA_BALANCING", 1 << 13),
    ("MPOL_F_RELATIVE_NODES", 1 << 14),
    ("MPOL_F_STATIC_NODES", 1 << 15),
];

pub fn scheduling_policy(name: &str) -> Option<u32> {
    number_of(SCHEDULING_POLICIES, name)
}

pub fn scheduling_flag(name: &str) -> Option<u64> {
    number_of(SCHEDULING_FLAGS, name)
}

pub fn io_class(name: &str) -> Option<u32> {
    number_of(IO_CLASSES, name)
}

pub fn memory_mode(name: &str) -> Option<i32> {
    number_of(MEMORY_MODES, name)
}

pub fn memory_flag(name: &str) -> Option<i32> {
    number_of(MEMORY_FLAGS, name)
}

fn number_of<N: TryFrom<u64>>(table: &[(&str, u64)], name: &str) -> Option<N> {
    let row = table.iter().find(|(word, _)| *word == name);
    row.and_then(|(_, number)| N::try_from(*number).ok())
}

/// The numbers of a list such as `0-3,7`, cpuset(7) "List format", in order and once each.
/// None if it is no such list or a number is beyond what any kernel is built for.
pub fn number_list(text: &str) -> Option<Vec<usize>> {
    const TOO_BIG: usize = 1 << 16;
    let mut numbers = Vec::new();
    for part in text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: usize = digits(first)?;
        let last: usize = digits(last)?;
        if first > last || last >= TOO_BIG {
            return None;
        }
        numbers.extend(first..=last);
    }
    numbers.sort_unstable();
    numbers.dedup();
    Some(numbers)
}

/// Digits alone: Rust's own parser would take a sign.
fn digits(text: &str) -> Option<usize> {
    let text = text.trim();
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_numbers_is_as_the_kernel_reads_it() {
        assert_eq!(number_list("0-3,7"), Some(vec![0, 1, 2, 3, 7]));
        assert_eq!(number_list(" 2 , 1-2 "), Some(vec![1, 2]));
        assert_eq!(number_list(""), Some(vec![]));
        for wrong in ["3-1", "a", "+1", "-1", "1-", "0-99999999"] {
            assert_eq!(number_list(wrong), None, "{wrong}");
        }
    }
}
