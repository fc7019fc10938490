//! What of a container CRIU must not dump, as it belongs to the host, and finds there again.
//!
//! Runs in: parent; a function of config.json.

use super::namespaces::Kind;
use super::rootfs::Source;
use super::{ContainerPath, HostPath, devices, mounts};
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
    /// The first id-mapped mount, by its place in config.json: CRIU knows nothing of those.
    pub id_mapped: Option<usize>,
    pub settings: Settings,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    pub destination: ContainerPath,
    pub source: HostPath,
    /// Whether what is mounted below the source came along.
    pub recursive: bool,
}

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
        for mount in mounts::places(bundle)? {
            match mount.source {
                Source::Bind {
                    path, recursive, ..
                } => binds.push(Bind {
                    destination: mount.destination,
                    source: path,
                    recursive,
                }),
                Source::Remount(_) => {}
                _ => file_systems.push(mount.destination),
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
            id_mapped: mounts::first_mapped(bundle),
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
            }]
        );
        assert_eq!(external.file_systems, [ContainerPath::new("/proc")]);
        let joined = &external.namespaces[..];
        assert_eq!((joined[0].index, joined[0].kind), (2, Kind::Network));
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
