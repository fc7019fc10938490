//! What of a container CRIU must not dump, as it belongs to the host, and finds there again.
//!
//! Runs in: parent; a function of config.json.

use super::namespaces::Kind;
use super::rootfs::Source;
use super::{ContainerPath, HostPath, devices, mount_ids, mounts};
use crate::bundle::Bundle;
use crate::error::Result;

/// What a container has of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct External {
    pub mounts: Vec<Bind>,
    /// Where the container has file systems of its own.
    pub file_systems: Vec<ContainerPath>,
    pub masked_paths: Vec<ContainerPath>,
    pub readonly_paths: Vec<ContainerPath>,
    /// Nodes, the default ones too: in a user namespace they are bound from the host.
    pub devices: Vec<ContainerPath>,
    /// Namespaces that were joined, with their place in `linux.namespaces`.
    pub namespaces: Vec<Joined>,
    /// The first new file system with an id map, by its place in config.json: CRIU saves what
    /// is in it, and makes it again without the map.
    pub mapped_file_system: Option<usize>,
    pub settings: Settings,
}

/// A bind mount, whose source is not in the images and has to be named again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    pub destination: ContainerPath,
    pub source: HostPath,
    /// Whether what is mounted below the source came along.
    pub recursive: bool,
    /// The place in config.json.
    pub index: usize,
    pub is_mapped: bool,
}

/// A namespace that the container shares, which lives on without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    pub index: usize,
    pub kind: Kind,
    pub path: HostPath,
}

/// CRIU's file of settings, annotation `org.criu.config`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Settings {
    /// The host's own for containers.
    #[default]
    Usual,
    None,
    File(HostPath),
}

impl External {
    pub fn plan(bundle: &Bundle) -> Result<External> {
        let config = &bundle.config;
        let linux = config.linux();
        let (mut binds, mut file_systems) = (Vec::new(), Vec::new());
        let mut mapped_file_system = None;
        let given = config.mounts.iter().enumerate();
        for (mount, (index, given)) in mounts::places(bundle)?.into_iter().zip(given) {
            let is_mapped = mount_ids::is_mapped(given);
            match mount.source {
                Source::Bind {
                    path, recursive, ..
                } => binds.push(Bind {
                    destination: mount.destination,
                    source: path,
                    recursive,
                    index,
                    is_mapped,
                }),
                Source::Remount(_) => {}
                _ => {
                    mapped_file_system = mapped_file_system.or(is_mapped.then_some(index));
                    file_systems.push(mount.destination);
                }
            }
        }
        let paths = |list: &[String]| list.iter().map(|path| ContainerPath::new(path)).collect();
        let namespaces = linux.namespaces.iter().enumerate();
        let namespaces = namespaces.filter_map(|(index, namespace)| {
            let path = namespace.path.as_deref().filter(|path| !path.is_empty())?;
            Some(Joined {
                index,
                kind: Kind::from_name(namespace.kind.as_deref()?)?,
                path: HostPath::new(path),
            })
        });
        let nodes = devices::nodes(config, true)?;
        Ok(External {
            mounts: binds,
            file_systems,
            masked_paths: paths(&linux.masked_paths),
            readonly_paths: paths(&linux.readonly_paths),
            devices: nodes.into_iter().map(|node| node.path).collect(),
            namespaces: namespaces.collect(),
            mapped_file_system,
            settings: match config
                .annotations
                .get("org.criu.config")
                .map(String::as_str)
            {
                None => Settings::Usual,
                Some("") => Settings::None,
                Some(path) => Settings::File(HostPath::new(path)),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn external(change: impl FnOnce(&mut serde_json::Value)) -> External {
        let mut config: serde_json::Value =
            serde_json::from_str(&crate::bundle::example(false)).unwrap();
        change(&mut config);
        let bytes = serde_json::to_vec(&config).unwrap();
        External::plan(&Bundle::from_config(bytes, "/bundle".into()).unwrap()).unwrap()
    }

    #[test]
    fn bind_mounts_and_joined_namespaces_are_the_hosts() {
        let external = external(|config| {
            config["mounts"] = serde_json::json!([
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/data", "source": "in-the-bundle", "options": ["rbind"]},
            ]);
            config["linux"]["namespaces"] = serde_json::json!([
                {"type": "uts"}, {"type": "mount"}, {"type": "network", "path": "/run/netns/a"},
            ]);
        });
        assert_eq!(
            external.mounts,
            [Bind {
                destination: ContainerPath::new("/data"),
                source: HostPath::new("/bundle/in-the-bundle"),
                recursive: true,
                index: 1,
                is_mapped: false,
            }]
        );
        assert_eq!(external.file_systems, [ContainerPath::new("/proc")]);
        let joined = &external.namespaces[..];
        assert_eq!((joined[0].index, joined[0].kind), (2, Kind::Network));
    }

    #[test]
    fn an_id_map_is_known_by_the_place_of_its_mount() {
        let external = external(|config| {
            config["mounts"] = serde_json::json!([
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/data", "source": "/d", "options": ["bind", "idmap=uids=0-1-1;gids=0-1-1"]},
                {"destination": "/own", "type": "tmpfs", "options": ["idmap=uids=0-1-1;gids=0-1-1"]},
            ]);
        });
        let bind = &external.mounts[0];
        assert_eq!((bind.index, bind.is_mapped), (1, true));
        assert_eq!(external.mapped_file_system, Some(2));
    }

    #[test]
    fn the_annotation_names_criu_a_file_or_none() {
        let settings = |value: Option<&str>| {
            external(|config| {
                if let Some(value) = value {
                    config["annotations"] = serde_json::json!({ "org.criu.config": value });
                }
            })
            .settings
        };
        assert_eq!(settings(None), Settings::Usual);
        assert_eq!(settings(Some("")), Settings::None);
        let file = HostPath::new("/etc/criu/x.conf");
        assert_eq!(settings(Some("/etc/criu/x.conf")), Settings::File(file));
    }
}
