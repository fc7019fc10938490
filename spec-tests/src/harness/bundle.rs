//! Makes bundles: a root file system of the probe alone and a config.json close to what `spec` writes.
//!
//! Runs in: the worker.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::case::Case;
use super::host::{Mode, User};
use super::verdict::{Doing, Verdict};
use crate::probe::ask::Ask;

/// A bundle whose config.json is written when a container is made of it.
#[derive(Debug, Clone)]
pub struct Bundle {
    pub dir: PathBuf,
    pub config: Value,
}

impl Bundle {
    pub(super) fn make(case: &Case, dir: PathBuf) -> Verdict<Self> {
        let bundle = Self {
            dir,
            config: default_config(&case.mode),
        };
        for folder in ["bin", "proc", "sys", "dev", "tmp", "etc"] {
            bundle.mkdir(folder)?;
        }
        fs::set_permissions(
            bundle.rootfs().join("tmp"),
            fs::Permissions::from_mode(0o1777),
        )?;
        let probe = bundle.rootfs().join("bin/probe");
        // A copy of several megabytes for each bundle would be most of the suite's work.
        // Where a bundle is made anew, a copy over its link would empty the one file.
        let _ = fs::remove_file(&probe);
        fs::hard_link(&case.probe, &probe)
            .or_else(|_| fs::copy(&case.probe, &probe).map(drop))
            .doing(probe.display())?;
        Ok(bundle)
    }

    pub fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// Makes a folder in the root file system, with its parents.
    pub fn mkdir(&self, path: &str) -> Verdict<PathBuf> {
        let path = self.inside(path);
        fs::create_dir_all(&path).doing(path.display())?;
        Ok(path)
    }

    /// Makes a file in the root file system, with its parents.
    pub fn file(&self, path: &str, text: &str) -> Verdict<PathBuf> {
        let path = self.inside(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).doing(parent.display())?;
        }
        fs::write(&path, text).doing(path.display())?;
        Ok(path)
    }

    /// Makes a file in the root file system with this mode.
    pub fn file_with_mode(&self, path: &str, text: &str, mode: u32) -> Verdict<PathBuf> {
        let path = self.file(path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        Ok(path)
    }

    /// Makes a symbolic link in the root file system.
    pub fn symlink(&self, target: impl AsRef<Path>, link: &str) -> Verdict {
        let link = self.inside(link);
        std::os::unix::fs::symlink(target, &link).doing(link.display())
    }

    /// Gives the bundle a probe of its own, for tests that write to it or change its owner.
    pub fn own_probe(&self, case: &Case) -> Verdict {
        let probe = self.inside("/bin/probe");
        fs::remove_file(&probe)?;
        fs::copy(&case.probe, &probe)
            .doing(probe.display())
            .map(drop)
    }

    /// A path of the root file system as seen from the host.
    pub fn inside(&self, path: &str) -> PathBuf {
        self.rootfs().join(path.trim_start_matches('/'))
    }

    pub fn process(&mut self) -> &mut Value {
        &mut self.config["process"]
    }

    pub fn linux(&mut self) -> &mut Value {
        &mut self.config["linux"]
    }

    pub fn args(&mut self, args: &[&str]) -> &mut Self {
        self.process()["args"] = json!(args);
        self
    }

    /// The payload answers these and ends.
    pub fn answers(&mut self, asks: &[Ask]) -> Verdict<&mut Self> {
        let asks = serde_json::to_string(asks)?;
        Ok(self.args(&["/bin/probe", "answer", &asks]))
    }

    /// The payload answers what its standard input asks, until that ends.
    pub fn serves(&mut self) -> &mut Self {
        self.args(&["/bin/probe", "serve"])
    }

    pub fn env(&mut self, entry: &str) -> &mut Self {
        push(&mut self.process()["env"], json!(entry));
        self
    }

    pub fn mount(&mut self, mount: Value) -> &mut Self {
        push(&mut self.config["mounts"], mount);
        self
    }

    /// A bind mount; `options` besides `bind`.
    pub fn bind(&mut self, source: &Path, destination: &str, options: &[&str]) -> &mut Self {
        let mut all = vec!["bind"];
        all.extend(options);
        self.mount(
            json!({"destination": destination, "type": "bind", "source": source, "options": all}),
        )
    }

    pub fn without_mount(&mut self, destination: &str) -> &mut Self {
        if let Some(mounts) = self.config["mounts"].as_array_mut() {
            mounts.retain(|mount| mount["destination"] != destination);
        }
        self
    }

    /// A new namespace of this type, in place of what was said of it before.
    pub fn namespace(&mut self, kind: &str) -> &mut Self {
        self.without_namespace(kind);
        push(&mut self.linux()["namespaces"], json!({"type": kind}));
        self
    }

    /// Joins the namespace at a path.
    pub fn join_namespace(&mut self, kind: &str, path: &str) -> &mut Self {
        self.without_namespace(kind);
        push(
            &mut self.linux()["namespaces"],
            json!({"type": kind, "path": path}),
        );
        self
    }

    pub fn without_namespace(&mut self, kind: &str) -> &mut Self {
        if let Some(namespaces) = self.linux()["namespaces"].as_array_mut() {
            namespaces.retain(|namespace| namespace["type"] != kind);
        }
        self
    }

    pub fn capabilities(&mut self, names: &[&str]) -> &mut Self {
        self.process()["capabilities"] =
            json!({"bounding": names, "effective": names, "permitted": names});
        self
    }

    pub fn hook(&mut self, kind: &str, hook: Value) -> &mut Self {
        push(&mut self.config["hooks"][kind], hook);
        self
    }

    /// Writes config.json.
    pub fn write(&self) -> Verdict {
        self.write_text(&serde_json::to_string_pretty(&self.config)?)
    }

    /// Writes something else as config.json.
    pub fn write_text(&self, text: &str) -> Verdict {
        let path = self.dir.join("config.json");
        fs::write(&path, text).doing(path.display())
    }
}

fn push(list: &mut Value, item: Value) {
    match list {
        Value::Array(items) => items.push(item),
        other => *other = json!([item]),
    }
}

fn default_config(mode: &Mode) -> Value {
    let capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    let mut config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/probe", "serve"],
            "env": ["PATH=/bin"],
            "cwd": "/",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "noNewPrivileges": true
        },
        "root": {"path": "rootfs", "readonly": false},
        "hostname": "spec-tests",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]}
        ],
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}],
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        }
    });
    match mode {
        Mode::Root => {
            push(
                &mut config["linux"]["namespaces"],
                json!({"type": "network"}),
            );
            push(
                &mut config["mounts"],
                json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]}),
            );
        }
        Mode::Rootless(user) => {
            map_user(&mut config, user);
            push(
                &mut config["mounts"],
                json!({"destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]}),
            );
        }
    }
    config
}

/// As `spec --rootless` does: the caller is root inside, the network is the host's.
fn map_user(config: &mut Value, user: &User) {
    push(&mut config["linux"]["namespaces"], json!({"type": "user"}));
    config["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": user.uid, "size": 1}]);
    config["linux"]["gidMappings"] = json!([{"containerID": 0, "hostID": user.gid, "size": 1}]);
}
