//! Id-mapped mounts: whose ids the files of a mount get.
//!
//! Runs in: parent.

use super::id_maps;
use super::namespaces::{IdRange, Kind, Namespace, Namespaces};
use super::rootfs::{MountIdMap, MountIds};
use crate::bundle::config::Mount;
use crate::bundle::id_map::{self, IdMaps};
use crate::bundle::linux::Linux;
use crate::bundle::mount_options::id_map_word;
use crate::error::{Error, Result};
use crate::host::Host;

/// Whether the mount asks for an id map, by its own maps or by an option.
pub fn is_mapped(mount: &Mount) -> bool {
    !mount.uid_mappings.is_empty() || words(mount).next().is_some()
}

/// The options `idmap` and `ridmap`, and whether they reach below.
fn words(mount: &Mount) -> impl Iterator<Item = (&str, bool)> {
    let options = mount.options.iter();
    options.filter_map(|option| Some((option.as_str(), id_map_word(option)?)))
}

/// The id map of one mount: its own, else that of the container's user namespace.
///
/// SPEC: config.md#posix-platform-mounts wants an option beside uidMappings, and leaves open
/// what its absence means: the mount alone, not those below it, as with runc.
pub fn plan(
    mount: &Mount,
    linux: &Linux,
    namespaces: &Namespaces,
    host: &Host,
) -> Result<Option<MountIdMap>> {
    if !is_mapped(mount) {
        return Ok(None);
    }
    refuse_what_the_kernel_refuses(namespaces, host)?;
    let mut maps = (!mount.uid_mappings.is_empty()).then(|| IdMaps {
        uids: mount.uid_mappings.to_vec(),
        gids: mount.gid_mappings.to_vec(),
    });
    let mut recursive = false;
    for (word, below) in words(mount) {
        recursive = below;
        if let Some(own) = id_map::read(word, linux).map_err(Error::invalid)? {
            maps = Some(own);
        }
    }
    let ids = match maps {
        Some(maps) => MountIds::Maps {
            uids: id_maps::ranges(&maps.uids),
            gids: id_maps::ranges(&maps.gids),
        },
        None => of_container(namespaces)?,
    };
    if let MountIds::Maps { uids, gids } = &ids {
        check("uid", uids, &host.user_namespace.uid_map)?;
        check("gid", gids, &host.user_namespace.gid_map)?;
    }
    Ok(Some(MountIdMap { ids, recursive }))
}

/// What is known before anything is made.
fn refuse_what_the_kernel_refuses(namespaces: &Namespaces, host: &Host) -> Result<()> {
    if !host.is_privileged() {
        return Err(Error::unsupported(
            "idmap: an ordinary user cannot map the ids of a mount",
        )
        .with_hint(
            "the kernel wants CAP_SYS_ADMIN in the user namespace that the file system was mounted in, for one of the host in the host's: run rt as root, or leave idmap, ridmap and uidMappings out and give the files to the ids of linux.uidMappings",
        ));
    }
    match namespaces.get(Kind::Mount) {
        Some(Namespace::Join(_)) => Err(Error::unsupported(
            "idmap: the source would be looked for outside of the mount namespace that is joined",
        )
        .with_hint("map the ids in the container that made the mount namespace")),
        _ => Ok(()),
    }
}

fn of_container(namespaces: &Namespaces) -> Result<MountIds> {
    match (&namespaces.id_maps, namespaces.get(Kind::User)) {
        (Some(maps), _) => Ok(MountIds::Maps {
            uids: maps.uids.clone(),
            gids: maps.gids.clone(),
        }),
        (None, Some(Namespace::Join(path))) => Ok(MountIds::Namespace(path.clone())),
        (None, _) => Err(Error::invalid("idmap: there is no map")),
    }
}

fn check(what: &str, ranges: &[IdRange], own: &[IdRange]) -> Result<()> {
    match id_maps::first_unmapped(ranges, own) {
        Some((_, id)) => Err(Error::invalid(format!(
            "the id map: {what} {id} of the host is not mapped in the caller's own user namespace"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::linux::IdMapping;
    use crate::plan::HostPath;
    use crate::plan::golden::{podman, range, root, user};
    use crate::plan::namespaces::{IdMapWriter, IdMaps as Written};

    fn mapped(options: &[&str]) -> Mount {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        Mount {
            options: options.into(),
            ..Mount::default()
        }
    }

    fn of_kind(namespace: Namespace) -> Namespaces {
        Namespaces {
            id_maps: (namespace == Namespace::New).then(|| Written {
                uids: vec![range(0, 1000, 10)],
                gids: vec![range(0, 2000, 10)],
                writer: IdMapWriter::Parent,
            }),
            list: vec![(Kind::User, namespace), (Kind::Mount, Namespace::New)],
            ..Namespaces::default()
        }
    }

    fn planned(mount: &Mount, namespaces: &Namespaces) -> MountIdMap {
        let planned = plan(mount, &Linux::default(), namespaces, &root());
        planned.unwrap().unwrap()
    }

    #[test]
    fn without_maps_of_its_own_a_mount_gets_the_containers() {
        let new = planned(&mapped(&["ridmap"]), &of_kind(Namespace::New));
        assert!(new.recursive);
        let MountIds::Maps { uids, gids } = new.ids else {
            panic!("{new:?}");
        };
        assert_eq!(
            (uids, gids),
            (vec![range(0, 1000, 10)], vec![range(0, 2000, 10)])
        );
        let path = HostPath::new("/proc/1/ns/user");
        let joined = planned(&mapped(&["idmap"]), &of_kind(Namespace::Join(path.clone())));
        assert_eq!(
            (joined.ids, joined.recursive),
            (MountIds::Namespace(path), false)
        );
    }

    #[test]
    fn maps_of_its_own_come_first() {
        let mount = mapped(&["idmap=uids=0-5-1;gids=0-6-1"]);
        let MountIds::Maps { uids, .. } = planned(&mount, &of_kind(Namespace::New)).ids else {
            panic!("no maps");
        };
        assert_eq!(uids, [range(0, 5, 1)]);
        let line = IdMapping {
            container_id: 7,
            host_id: 8,
            size: 9,
        };
        let mount = Mount {
            uid_mappings: vec![line].into(),
            gid_mappings: vec![line].into(),
            ..Mount::default()
        };
        let planned = planned(&mount, &of_kind(Namespace::New));
        assert!(!planned.recursive);
        let maps = vec![range(7, 8, 9)];
        assert_eq!(
            planned.ids,
            MountIds::Maps {
                uids: maps.clone(),
                gids: maps
            }
        );
    }

    #[test]
    fn what_cannot_be_is_refused_before_anything_is_made() {
        let refused = |mount: &Mount, namespaces: &Namespaces, host: &Host| {
            plan(mount, &Linux::default(), namespaces, host).unwrap_err()
        };
        let error = refused(&mapped(&["idmap"]), &of_kind(Namespace::New), &user());
        assert!(error.hint().unwrap().contains("CAP_SYS_ADMIN"), "{error}");
        let far = mapped(&["idmap=uids=0-100000-1;gids=0-100000-1"]);
        let error = refused(&far, &of_kind(Namespace::New), &podman());
        assert!(error.to_string().contains("uid 100000"), "{error}");
        let mut joined = of_kind(Namespace::New);
        joined.list[1].1 = Namespace::Join(HostPath::new("/x"));
        refused(&mapped(&["idmap"]), &joined, &root());
    }
}
