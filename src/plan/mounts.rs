//! `mounts[]`: words to flags.
//!
//! Runs in: parent.

use std::ffi::CString;

use super::faults::Faults;
use super::mount_label::{self, is_context};
use super::namespaces::{IdRange, Namespaces, maps_inside};
use super::rootfs::{FileSystem, Mount, MountLabel, Source};
use super::{ContainerPath, HostPath, c_string, mount_ids};
use crate::bundle::checks::mounts::shapes;
use crate::bundle::checks::place_in_words;
use crate::bundle::mount_options::{Meaning, meaning};
use crate::bundle::{Bundle, Config, config};
use crate::error::{Context, Error, Result};
use crate::host::Host;

/// File systems whose superblock is not one mount's alone, or has no state of its own: for
/// them read-only is a matter of the mount.
const WITHOUT_READONLY_SUPERBLOCK: &[&str] = &[
    "tmpfs", "proc", "sysfs", "cgroup", "cgroup2", "mqueue", "devpts",
];

pub fn plan(
    bundle: &Bundle,
    namespaces: &Namespaces,
    host: &Host,
    label: Option<&MountLabel>,
    faults: &mut Faults,
) -> Vec<Mount> {
    let mounts = bundle.config.mounts.iter().enumerate();
    mounts
        .filter_map(|(index, mount)| {
            let name = mount.destination.as_deref().unwrap_or_default();
            let planned = plan_one(index, mount, bundle).and_then(|planned| {
                let id_map = mount_ids::plan(mount, bundle.config.linux(), namespaces, host)?;
                Ok(Mount { id_map, ..planned })
            });
            let planned = planned.map(|mut planned| {
                if let (Some(label), Source::New(fs) | Source::CopyUp(fs)) =
                    (label, &mut planned.source)
                {
                    mount_label::add(label, fs);
                }
                planned
            });
            faults.take(planned.at(&format!("/mounts/{index}"), || {
                format!("mounts[{index}] ({name})")
            }))
        })
        .collect()
}

/// The mounts alone, without ids: for who asks where they are and what they are of.
pub(super) fn places(bundle: &Bundle) -> Result<Vec<Mount>> {
    let mounts = bundle.config.mounts.iter().enumerate();
    mounts
        .map(|(index, mount)| plan_one(index, mount, bundle))
        .collect()
}

/// Refuses `uid=` and `gid=` that mean nothing in the container's user namespace: the kernel
/// would say only "Invalid argument". Those of an id-mapped mount are ids on its disk.
pub fn check_ids(config: &Config, uids: &[IdRange], gids: &[IdRange]) -> Result<()> {
    let mut bad = Vec::new();
    for (index, shape) in shapes(config).enumerate() {
        // A bind mount has no file system that would be asked.
        if shape.is_bind() || mount_ids::is_mapped(shape.mount) {
            continue;
        }
        let words = |(n, text)| data_words(text).map(move |word| (n, word));
        for (n, option) in shape.options().flat_map(words) {
            let Some((key @ ("uid" | "gid"), Ok(id))) =
                option.split_once('=').map(|(key, id)| (key, id.parse()))
            else {
                continue;
            };
            if !maps_inside(if key == "uid" { uids } else { gids }, id) {
                let pointer = format!("/mounts/{index}/options/{n}");
                let place = place_in_words(&pointer);
                bad.push((
                    pointer,
                    format!("{place}: {option} is not mapped in the container's user namespace"),
                ));
            }
        }
    }
    let Some((first, _)) = bad.first() else {
        return Ok(());
    };
    let pointer = first.clone();
    let text: Vec<String> = bad.into_iter().map(|(_, text)| text).collect();
    Err(Error::invalid(text.join("; "))
        .with_pointer(pointer)
        .with_hint("leave the option out, or map the id (linux.uidMappings, linux.gidMappings)"))
}

fn plan_one(index: usize, mount: &config::Mount, bundle: &Bundle) -> Result<Mount> {
    let options = Options::parse(mount)?;
    let kind = mount.kind.as_deref().unwrap_or_default();
    let source = match options.bind.or((kind == "bind").then_some(false)) {
        Some(recursive) if !options.remount => Source::Bind {
            path: HostPath::new(bundle.dir.join(mount.source.as_deref().unwrap_or_default())),
            recursive,
            nofollow: options.source_nofollow,
            copy_symlink: options.copy_symlink,
        },
        _ => new_file_system(kind, mount, &options)?,
    };
    Ok(Mount {
        index: Some(index),
        destination: ContainerPath::new(mount.destination.as_deref().unwrap_or_default()),
        source,
        set: options.here.set,
        clear: options.here.clear,
        recursive_set: options.below.set,
        recursive_clear: options.below.clear,
        propagation: options.propagation,
        destination_nofollow: options.destination_nofollow,
        id_map: None,
    })
}

fn new_file_system(kind: &str, mount: &config::Mount, options: &Options) -> Result<Source> {
    let mut superblock_flags = options.superblock.set;
    if options.here.set & libc::MOUNT_ATTR_RDONLY != 0
        && !WITHOUT_READONLY_SUPERBLOCK.contains(&kind)
    {
        superblock_flags |= libc::MS_RDONLY;
    }
    let source = mount.source.as_deref().filter(|source| !source.is_empty());
    let file_system = FileSystem {
        kind: c_string(kind, "/type")?,
        source: c_string(source.unwrap_or("none"), "/source")?,
        superblock_flags,
        data: options.data.clone(),
    };
    Ok(match kind {
        _ if options.remount => Source::Remount(file_system),
        "proc" => Source::Proc(file_system),
        "sysfs" => Source::Sysfs(file_system),
        "cgroup" | "cgroup2" => Source::Cgroup(file_system),
        _ if options.copy_up => Source::CopyUp(file_system),
        _ => Source::New(file_system),
    })
}

/// Flags that words set and clear, later words over earlier ones.
#[derive(Clone, Copy, Default)]
struct Flags {
    set: u64,
    clear: u64,
}

impl Flags {
    fn apply(&mut self, set: u64, clear: u64) {
        self.set = self.set & !clear | set;
        // The field of access times is cleared and set at once; of the other bits each is
        // one or the other.
        self.clear = (self.clear & !(set & !libc::MOUNT_ATTR__ATIME)) | clear;
    }
}

#[derive(Default)]
struct Options {
    here: Flags,
    below: Flags,
    superblock: Flags,
    propagation: Vec<u64>,
    /// Whether it is a bind mount, and if so whether of all that lies below.
    bind: Option<bool>,
    remount: bool,
    copy_up: bool,
    source_nofollow: bool,
    destination_nofollow: bool,
    copy_symlink: bool,
    data: Vec<(CString, Option<CString>)>,
}

impl Options {
    fn parse(mount: &config::Mount) -> Result<Options> {
        let mut options = Options::default();
        for (n, word) in mount.options.iter().enumerate() {
            match meaning(word) {
                Some(meaning) => options.apply(meaning),
                None => {
                    for word in data_words(word).filter(|word| !word.is_empty()) {
                        options.data.push(data(word, n)?);
                    }
                }
            }
        }
        Ok(options)
    }

    fn apply(&mut self, meaning: Meaning) {
        match meaning {
            Meaning::Attribute { set, clear } => self.here.apply(set, clear),
            Meaning::Recursive { set, clear } => self.below.apply(set, clear),
            Meaning::Superblock { set, clear } => self.superblock.apply(set, clear),
            Meaning::Propagation(flags) => self.propagation.push(flags),
            Meaning::Bind { recursive } => self.bind = Some(recursive),
            Meaning::Remount => self.remount = true,
            Meaning::CopyUp => self.copy_up = true,
            Meaning::DestinationNofollow => self.destination_nofollow = true,
            Meaning::SourceNofollow => self.source_nofollow = true,
            Meaning::CopySymlink => self.copy_symlink = true,
            // Read by `mount_ids`.
            Meaning::IdMap { .. } | Meaning::Nothing => {}
        }
    }
}

/// The options that one string holds: mount(2), by which runc and crun hand them on, takes a
/// comma for the end of one, but within the quotes of a label and, as overlay does, after a
/// backslash.
fn data_words(text: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        let ends = c == ',' && !quoted && !escaped;
        quoted ^= c == '"';
        escaped = c == '\\' && !escaped;
        ends
    })
}

/// `size=64k` is a key with a value, `newinstance` a key alone. Quotes are mount(2)'s, which
/// fsconfig(2) does not know.
fn data(word: &str, n: usize) -> Result<(CString, Option<CString>)> {
    let pointer = format!("/options/{n}");
    let Some((key, value)) = word.split_once('=') else {
        return Ok((c_string(word, &pointer)?, None));
    };
    let key = c_string(key, &pointer)?;
    let bare = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    let value = bare.filter(|_| is_context(&key)).unwrap_or(value);
    Ok((key, Some(c_string(value, &pointer)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use libc::*;

    fn flags(words: &[&str]) -> Options {
        let mount = config::Mount {
            options: words
                .iter()
                .map(|w| (*w).to_owned())
                .collect::<Vec<_>>()
                .into(),
            ..Default::default()
        };
        Options::parse(&mount).unwrap()
    }

    #[test]
    fn the_last_word_wins() {
        let o = flags(&["ro", "rw", "nosuid"]);
        assert_eq!(
            (o.here.set, o.here.clear),
            (MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY)
        );
        let o = flags(&["rw", "ro"]);
        assert_eq!((o.here.set, o.here.clear), (MOUNT_ATTR_RDONLY, 0));
        let o = flags(&["noatime", "strictatime"]);
        assert_eq!(
            (o.here.set, o.here.clear),
            (MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME)
        );
    }

    #[test]
    fn what_is_no_word_of_ours_is_data() {
        let o = flags(&["size=64k", "newinstance", "rro"]);
        assert_eq!(o.data.len(), 2);
        assert_eq!(o.data[0], (c"size".into(), Some(c"64k".into())));
        assert_eq!((o.here.set, o.below.set), (0, MOUNT_ATTR_RDONLY));
    }

    #[test]
    fn a_comma_ends_an_option_but_in_quotes_and_after_a_backslash() {
        let keys_and_values = |word: &str| -> Vec<String> {
            let show = |(key, value): &(CString, Option<CString>)| format!("{key:?} {value:?}");
            flags(&[word]).data.iter().map(show).collect()
        };
        assert_eq!(
            keys_and_values("size=1m,,mode=700"),
            [r#""size" Some("1m")"#, r#""mode" Some("700")"#]
        );
        assert_eq!(
            keys_and_values(r#"context="u:r:t:s0:c1,c2",size=1m"#),
            [
                r#""context" Some("u:r:t:s0:c1,c2")"#,
                r#""size" Some("1m")"#
            ]
        );
        assert_eq!(
            keys_and_values(r"lowerdir=/a\,b:/c\\,x"),
            [r#""lowerdir" Some("/a\\,b:/c\\\\")"#, r#""x" None"#]
        );
        assert!(keys_and_values("").is_empty());
    }
}
