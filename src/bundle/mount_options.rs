//! The words of `mounts[].options`: config.md#mounts, mount(8), and what runc and crun added.
//!
//! Owns the vocabulary. A word that is not here is data for the file system.
//!
//! Runs in: parent.

use libc::{
    MOUNT_ATTR__ATIME as ATIME, MOUNT_ATTR_NOATIME as NOATIME, MOUNT_ATTR_NODEV as NODEV,
    MOUNT_ATTR_NODIRATIME as NODIRATIME, MOUNT_ATTR_NOEXEC as NOEXEC, MOUNT_ATTR_NOSUID as NOSUID,
    MOUNT_ATTR_NOSYMFOLLOW as NOSYMFOLLOW, MOUNT_ATTR_RDONLY as RDONLY,
    MOUNT_ATTR_STRICTATIME as STRICTATIME, MS_DIRSYNC, MS_I_VERSION, MS_LAZYTIME, MS_MANDLOCK,
    MS_PRIVATE, MS_REC, MS_SHARED, MS_SLAVE, MS_SYNCHRONOUS, MS_UNBINDABLE,
};

/// What one word asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// `MOUNT_ATTR_*` of this mount. How times of access are kept is one field of several
    /// bits: a word about it clears the whole field.
    Attribute {
        set: u64,
        clear: u64,
    },
    /// The same for every mount below too.
    Recursive {
        set: u64,
        clear: u64,
    },
    /// `MS_*` of the file system.
    Superblock {
        set: u64,
        clear: u64,
    },
    /// `MS_SHARED` and so on, possibly with `MS_REC`.
    Propagation(u64),
    Bind {
        recursive: bool,
    },
    Remount,
    CopyUp,
    DestinationNofollow,
    SourceNofollow,
    CopySymlink,
    IdMap {
        recursive: bool,
    },
    /// Known, and the same as its absence.
    Nothing,
}

const fn set(set: u64) -> Meaning {
    Meaning::Attribute { set, clear: 0 }
}

const fn clear(clear: u64) -> Meaning {
    Meaning::Attribute { set: 0, clear }
}

const fn times(set: u64) -> Meaning {
    Meaning::Attribute { set, clear: ATIME }
}

const fn set_below(set: u64) -> Meaning {
    Meaning::Recursive { set, clear: 0 }
}

const fn clear_below(clear: u64) -> Meaning {
    Meaning::Recursive { set: 0, clear }
}

const fn times_below(set: u64) -> Meaning {
    Meaning::Recursive { set, clear: ATIME }
}

const fn superblock(set: u64) -> Meaning {
    Meaning::Superblock { set, clear: 0 }
}

const fn no_superblock(clear: u64) -> Meaning {
    Meaning::Superblock { set: 0, clear }
}

/// Every word, in alphabetical order.
pub const WORDS: &[(&str, Meaning)] = &[
    // runc has these as flags; what they would change is the kernel's own choice since 2.6.
    ("acl", Meaning::Nothing),
    ("async", no_superblock(MS_SYNCHRONOUS)),
    ("atime", times(0)),
    ("bind", Meaning::Bind { recursive: false }),
    ("copy-symlink", Meaning::CopySymlink),
    ("defaults", Meaning::Nothing),
    ("dest-nofollow", Meaning::DestinationNofollow),
    ("dev", clear(NODEV)),
    ("diratime", clear(NODIRATIME)),
    ("dirsync", superblock(MS_DIRSYNC)),
    ("exec", clear(NOEXEC)),
    ("idmap", Meaning::IdMap { recursive: false }),
    ("iversion", superblock(MS_I_VERSION)),
    ("lazytime", superblock(MS_LAZYTIME)),
    ("loud", Meaning::Nothing),
    ("mand", superblock(MS_MANDLOCK)),
    ("noacl", Meaning::Nothing),
    ("noatime", times(NOATIME)),
    ("nodev", set(NODEV)),
    ("nodiratime", set(NODIRATIME)),
    ("noexec", set(NOEXEC)),
    ("noiversion", no_superblock(MS_I_VERSION)),
    ("nolazytime", no_superblock(MS_LAZYTIME)),
    ("nomand", no_superblock(MS_MANDLOCK)),
    ("norelatime", Meaning::Nothing),
    ("nostrictatime", times(0)),
    ("nosuid", set(NOSUID)),
    ("nosymfollow", set(NOSYMFOLLOW)),
    ("private", Meaning::Propagation(MS_PRIVATE)),
    ("ratime", times_below(0)),
    ("rbind", Meaning::Bind { recursive: true }),
    ("rdev", clear_below(NODEV)),
    ("rdiratime", clear_below(NODIRATIME)),
    ("relatime", times(0)),
    ("remount", Meaning::Remount),
    ("rexec", clear_below(NOEXEC)),
    ("ridmap", Meaning::IdMap { recursive: true }),
    ("rnoatime", times_below(NOATIME)),
    ("rnodev", set_below(NODEV)),
    ("rnodiratime", set_below(NODIRATIME)),
    ("rnoexec", set_below(NOEXEC)),
    ("rnorelatime", times_below(0)),
    ("rnostrictatime", times_below(0)),
    ("rnosuid", set_below(NOSUID)),
    ("rnosymfollow", set_below(NOSYMFOLLOW)),
    ("ro", set(RDONLY)),
    ("rprivate", Meaning::Propagation(MS_PRIVATE | MS_REC)),
    ("rrelatime", times_below(0)),
    ("rro", set_below(RDONLY)),
    ("rrw", clear_below(RDONLY)),
    ("rshared", Meaning::Propagation(MS_SHARED | MS_REC)),
    ("rslave", Meaning::Propagation(MS_SLAVE | MS_REC)),
    ("rstrictatime", times_below(STRICTATIME)),
    ("rsuid", clear_below(NOSUID)),
    ("rsymfollow", clear_below(NOSYMFOLLOW)),
    ("runbindable", Meaning::Propagation(MS_UNBINDABLE | MS_REC)),
    ("rw", clear(RDONLY)),
    ("shared", Meaning::Propagation(MS_SHARED)),
    ("silent", Meaning::Nothing),
    ("slave", Meaning::Propagation(MS_SLAVE)),
    ("src-nofollow", Meaning::SourceNofollow),
    ("strictatime", times(STRICTATIME)),
    ("suid", clear(NOSUID)),
    ("symfollow", clear(NOSYMFOLLOW)),
    ("sync", superblock(MS_SYNCHRONOUS)),
    ("tmpcopyup", Meaning::CopyUp),
    ("unbindable", Meaning::Propagation(MS_UNBINDABLE)),
];

/// What `option` asks for; none if it is the file system's own.
pub fn meaning(option: &str) -> Option<Meaning> {
    match WORDS.binary_search_by_key(&option, |(name, _)| name) {
        Ok(at) => Some(WORDS[at].1),
        Err(_) => id_map_word(option).map(|recursive| Meaning::IdMap { recursive }),
    }
}

/// Whether `option` asks for an id map, and if so whether that reaches below the mount. crun's
/// `idmap=uids=…;gids=…` carries its maps with it.
pub fn id_map_word(option: &str) -> Option<bool> {
    let below = option.strip_prefix('r');
    let rest = below.unwrap_or(option).strip_prefix("idmap")?;
    (rest.is_empty() || rest.starts_with('=')).then_some(below.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_found() {
        assert!(WORDS.is_sorted_by_key(|(name, _)| *name));
        for (name, what) in WORDS {
            assert_eq!(meaning(name), Some(*what));
        }
        assert_eq!(meaning("size=65536k"), None);
        assert_eq!(
            meaning("idmap=uids=@0-1000-1"),
            Some(Meaning::IdMap { recursive: false })
        );
        let words = [
            "idmap",
            "ridmap",
            "ridmap=uids=0-1-1",
            "rridmap",
            "idmapped",
            "ro",
        ];
        assert_eq!(
            words.map(id_map_word),
            [Some(false), Some(true), Some(true), None, None, None]
        );
    }
}
