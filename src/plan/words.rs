//! The plan's values as `rt plan` shows them: flags and numbers by the kernel's names, strings
//! as strings.
//!
//! Owns the form of each kind of value, for `serialize_with`; the names of fields stand at the
//! fields. Nothing (no flag, no value) is null.
//!
//! Runs in: parent.

use std::ffi::{CStr, CString};
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::ContainerPath;
use super::capabilities;
use super::namespaces::{Kind, Namespace};
use crate::bundle::words as config;
use crate::sys::process::clone_flags;
use crate::sys::words::{attribute_words, mount_flag_words};

type Written<S> = Result<<S as Serializer>::Ok, <S as Serializer>::Error>;

/// Text, with bytes that are none as `\xff`.
fn visible(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

fn of_c_string(text: &CStr) -> String {
    visible(text.to_bytes())
}

pub fn path<S: Serializer>(path: &Path, to: S) -> Written<S> {
    to.serialize_str(&visible(path.as_os_str().as_bytes()))
}

pub fn text<S: Serializer>(text: &CStr, to: S) -> Written<S> {
    to.serialize_str(&of_c_string(text))
}

pub fn optional_text<S: Serializer>(text: &Option<CString>, to: S) -> Written<S> {
    text.as_deref().map(of_c_string).serialize(to)
}

pub fn texts<S: Serializer>(list: &[CString], to: S) -> Written<S> {
    to.collect_seq(list.iter().map(|text| of_c_string(text)))
}

/// `size=64k`, or a key alone.
pub fn options<S: Serializer>(list: &[(CString, Option<CString>)], to: S) -> Written<S> {
    to.collect_seq(list.iter().map(|(key, value)| match value {
        Some(value) => format!("{}={}", of_c_string(key), of_c_string(value)),
        None => of_c_string(key),
    }))
}

pub fn links<S: Serializer>(links: &[(ContainerPath, CString)], to: S) -> Written<S> {
    #[derive(Serialize)]
    struct Link<'a> {
        path: &'a ContainerPath,
        target: String,
    }
    to.collect_seq(links.iter().map(|(path, target)| Link {
        path,
        target: of_c_string(target),
    }))
}

/// `MOUNT_ATTR_NOSUID|MOUNT_ATTR_NODEV`.
pub fn attributes<S: Serializer>(bits: &u64, to: S) -> Written<S> {
    (*bits != 0).then(|| attribute_words(*bits)).serialize(to)
}

/// `MS_SLAVE|MS_REC`.
pub fn mount_flags<S: Serializer>(bits: &u64, to: S) -> Written<S> {
    optional_mount_flags(&Some(*bits), to)
}

pub fn optional_mount_flags<S: Serializer>(bits: &Option<u64>, to: S) -> Written<S> {
    bits.filter(|bits| *bits != 0)
        .map(mount_flag_words)
        .serialize(to)
}

pub fn mount_flag_list<S: Serializer>(list: &[u64], to: S) -> Written<S> {
    to.collect_seq(list.iter().map(|bits| mount_flag_words(*bits)))
}

pub fn namespaces<S: Serializer>(list: &[(Kind, Namespace)], to: S) -> Written<S> {
    #[derive(Serialize)]
    struct Entry<'a> {
        r#type: Kind,
        how: &'static str,
        flag: String,
        path: Option<&'a super::HostPath>,
    }
    to.collect_seq(list.iter().map(|(kind, namespace)| Entry {
        r#type: *kind,
        how: match namespace {
            Namespace::New => "new",
            Namespace::Join(_) => "join",
        },
        flag: clone_flags(kind.flag()),
        path: match namespace {
            Namespace::New => None,
            Namespace::Join(path) => Some(path),
        },
    }))
}

pub fn time_offsets<S: Serializer>(list: &[(String, i64, u32)], to: S) -> Written<S> {
    #[derive(Serialize)]
    struct Offset<'a> {
        clock: &'a str,
        secs: i64,
        nanosecs: u32,
    }
    to.collect_seq(list.iter().map(|(clock, secs, nanosecs)| Offset {
        clock,
        secs: *secs,
        nanosecs: *nanosecs,
    }))
}

/// The names in a capability set.
pub fn capabilities<S: Serializer>(set: &u64, to: S) -> Written<S> {
    let numbers = (0_u32..64).filter(|number| set & 1 << number != 0);
    to.collect_seq(numbers.map(capabilities::name))
}

/// `0644`.
pub fn octal<S: Serializer>(mode: &u32, to: S) -> Written<S> {
    to.collect_str(&format_args!("{mode:04o}"))
}

/// A number, or "unlimited", as ulimit(1) has it.
pub fn limit<S: Serializer>(limit: &u64, to: S) -> Written<S> {
    match *limit {
        u64::MAX => to.serialize_str("unlimited"),
        limit => to.serialize_u64(limit),
    }
}

pub fn seconds<S: Serializer>(time: &Option<Duration>, to: S) -> Written<S> {
    time.map(|time| time.as_secs()).serialize(to)
}

/// The version of systemd that a property needs.
pub fn version<S: Serializer>(version: &u32, to: S) -> Written<S> {
    (*version != 0).then_some(*version).serialize(to)
}

pub fn terminal_size<S: Serializer>(size: &Option<(u16, u16)>, to: S) -> Written<S> {
    #[derive(Serialize)]
    struct Size {
        columns: u16,
        rows: u16,
    }
    size.map(|(columns, rows)| Size { columns, rows })
        .serialize(to)
}

pub fn mount_pointer<S: Serializer>(index: &Option<usize>, to: S) -> Written<S> {
    index.map(|index| format!("/mounts/{index}")).serialize(to)
}

pub fn device_pointer<S: Serializer>(index: &Option<usize>, to: S) -> Written<S> {
    index
        .map(|index| format!("/linux/devices/{index}"))
        .serialize(to)
}

/// `rwm`, as devices.allow of cgroup v1 has it.
pub fn device_access<S: Serializer>(access: &u32, to: S) -> Written<S> {
    let letters = [(2, 'r'), (4, 'w'), (1, 'm')].into_iter();
    let given = letters.filter(|(bit, _)| access & bit != 0);
    to.serialize_str(&given.map(|(_, letter)| letter).collect::<String>())
}

pub fn scheduling_policy<S: Serializer>(policy: &u32, to: S) -> Written<S> {
    names(u64::from(*policy), config::SCHEDULING_POLICIES, &[], to)
}

pub fn scheduling_flags<S: Serializer>(flags: &u64, to: S) -> Written<S> {
    names(*flags, &[], config::SCHEDULING_FLAGS, to)
}

/// `MPOL_BIND|MPOL_F_STATIC_NODES`.
pub fn memory_mode<S: Serializer>(mode: &i32, to: S) -> Written<S> {
    names(
        u64::from(mode.cast_unsigned()),
        config::MEMORY_MODES,
        config::MEMORY_FLAGS,
        to,
    )
}

/// The numbers of the bits.
pub fn nodes<S: Serializer>(words: &[u64], to: S) -> Written<S> {
    let bits = 0..words.len() * 64;
    to.collect_seq(bits.filter(|bit| words[bit / 64] & 1 << (bit % 64) != 0))
}

pub fn io_priority<S: Serializer>(priority: &Option<u32>, to: S) -> Written<S> {
    #[derive(Serialize)]
    struct IoPriority {
        class: String,
        priority: u32,
    }
    const CLASS_SHIFT: u32 = 13;
    priority
        .map(|value| IoPriority {
            class: in_words(u64::from(value >> CLASS_SHIFT), config::IO_CLASSES, &[]),
            priority: value & ((1 << CLASS_SHIFT) - 1),
        })
        .serialize(to)
}

/// personality(2).
pub fn personality<S: Serializer>(persona: &Option<u64>, to: S) -> Written<S> {
    persona
        .map(|persona| in_words(persona, &[("PER_LINUX", 0), ("PER_LINUX32", 8)], &[]))
        .serialize(to)
}

/// Nothing for no flags; a number without a name is one of `values`.
fn names<S: Serializer>(
    number: u64,
    values: &[(&str, u64)],
    flags: &[(&str, u64)],
    to: S,
) -> Written<S> {
    let words = in_words(number, values, flags);
    (!words.is_empty()).then_some(words).serialize(to)
}

/// One of `values` with any of `flags`; what has no name as a number.
fn in_words(number: u64, values: &[(&str, u64)], flags: &[(&str, u64)]) -> String {
    let mut rest = number;
    let mut words = Vec::new();
    for (name, flag) in flags {
        if rest & flag != 0 {
            rest &= !flag;
            words.push((*name).to_owned());
        }
    }
    match values.iter().find(|(_, value)| *value == rest) {
        Some((name, _)) => words.insert(0, (*name).to_owned()),
        None if rest == 0 => {}
        None => words.push(format!("{rest:#x}")),
    }
    words.join("|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_can_be_seen() {
        assert_eq!(visible("/é".as_bytes()), "/é");
        assert_eq!(visible(b"/a\xff\xc3"), r"/a\xff\xc3");
    }

    #[test]
    fn numbers_have_their_names() {
        let mode = 2 | 1 << 15;
        assert_eq!(
            in_words(mode, config::MEMORY_MODES, config::MEMORY_FLAGS),
            "MPOL_BIND|MPOL_F_STATIC_NODES"
        );
        assert_eq!(
            in_words(1 | 1 << 40, &[], config::SCHEDULING_FLAGS),
            "SCHED_FLAG_RESET_ON_FORK|0x10000000000"
        );
        assert_eq!(in_words(0, &[], config::SCHEDULING_FLAGS), "");
    }
}
