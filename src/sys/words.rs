//! Flags as strace prints them, for the text of errors.

use std::fmt::Write as _;

use nix::fcntl::OFlag;

/// The flags of open(2) as strace prints them.
pub fn open_words(flags: OFlag) -> String {
    let words: Vec<&str> = flags.iter_names().map(|(name, _)| name).collect();
    if words.is_empty() {
        "O_RDONLY".to_owned()
    } else {
        words.join("|")
    }
}

/// `MOUNT_ATTR_*` as strace prints them.
pub fn attribute_words(bits: u64) -> String {
    const NAMES: [(u64, &str); 9] = [
        (libc::MOUNT_ATTR_RDONLY, "MOUNT_ATTR_RDONLY"),
        (libc::MOUNT_ATTR_NOSUID, "MOUNT_ATTR_NOSUID"),
        (libc::MOUNT_ATTR_NODEV, "MOUNT_ATTR_NODEV"),
        (libc::MOUNT_ATTR_NOEXEC, "MOUNT_ATTR_NOEXEC"),
        (libc::MOUNT_ATTR__ATIME, "MOUNT_ATTR__ATIME"),
        (libc::MOUNT_ATTR_NOATIME, "MOUNT_ATTR_NOATIME"),
        (libc::MOUNT_ATTR_STRICTATIME, "MOUNT_ATTR_STRICTATIME"),
        (libc::MOUNT_ATTR_NODIRATIME, "MOUNT_ATTR_NODIRATIME"),
        (libc::MOUNT_ATTR_NOSYMFOLLOW, "MOUNT_ATTR_NOSYMFOLLOW"),
    ];
    flag_words(bits, &NAMES)
}

/// `MS_*` as strace prints them.
pub fn mount_flag_words(bits: u64) -> String {
    const NAMES: [(u64, &str); 21] = [
        (libc::MS_RDONLY, "MS_RDONLY"),
        (libc::MS_NOSUID, "MS_NOSUID"),
        (libc::MS_NODEV, "MS_NODEV"),
        (libc::MS_NOEXEC, "MS_NOEXEC"),
        (libc::MS_SYNCHRONOUS, "MS_SYNCHRONOUS"),
        (libc::MS_REMOUNT, "MS_REMOUNT"),
        (libc::MS_MANDLOCK, "MS_MANDLOCK"),
        (libc::MS_DIRSYNC, "MS_DIRSYNC"),
        (256, "MS_NOSYMFOLLOW"),
        (libc::MS_NOATIME, "MS_NOATIME"),
        (libc::MS_NODIRATIME, "MS_NODIRATIME"),
        (libc::MS_BIND, "MS_BIND"),
        (libc::MS_MOVE, "MS_MOVE"),
        (libc::MS_REC, "MS_REC"),
        (libc::MS_SILENT, "MS_SILENT"),
        (libc::MS_UNBINDABLE, "MS_UNBINDABLE"),
        (libc::MS_PRIVATE, "MS_PRIVATE"),
        (libc::MS_SLAVE, "MS_SLAVE"),
        (libc::MS_SHARED, "MS_SHARED"),
        (libc::MS_RELATIME, "MS_RELATIME"),
        (libc::MS_STRICTATIME, "MS_STRICTATIME"),
    ];
    flag_words(bits, &NAMES)
}

fn flag_words(bits: u64, names: &[(u64, &str)]) -> String {
    let mut left = bits;
    let mut words = String::new();
    for (bit, name) in names {
        if left & bit == *bit {
            left &= !bit;
            let bar = if words.is_empty() { "" } else { "|" };
            let _ = write!(words, "{bar}{name}");
        }
    }
    if left != 0 || words.is_empty() {
        let bar = if words.is_empty() { "" } else { "|" };
        let number = if left == 0 {
            "0".to_owned()
        } else {
            format!("{left:#x}")
        };
        let _ = write!(words, "{bar}{number}");
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_read_as_strace_prints_them() {
        assert_eq!(mount_flag_words(0), "0");
        assert_eq!(
            mount_flag_words(libc::MS_BIND | libc::MS_REC),
            "MS_BIND|MS_REC"
        );
        assert_eq!(
            mount_flag_words(libc::MS_RDONLY | 1 << 40),
            "MS_RDONLY|0x10000000000"
        );
        assert_eq!(
            attribute_words(libc::MOUNT_ATTR_NOATIME | libc::MOUNT_ATTR_NODEV),
            "MOUNT_ATTR_NODEV|MOUNT_ATTR_NOATIME"
        );
    }
}
