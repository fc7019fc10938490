//! What CRIU is told of a dump or a restore: `criu_opts` of its rpc.proto.
//!
//! Runs in: parent.

use super::protobuf::Writer;

/// `criu_cg_mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CgroupsMode {
    Ignore = 0,
    /// Put back only what CRIU itself has to make.
    #[default]
    Soft = 3,
    Full = 4,
    Strict = 5,
}

/// `criu_network_lock_method`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkLock {
    Iptables = 1,
    Nftables = 2,
    Skip = 3,
}

/// `join_namespace`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinNamespace {
    pub kind: &'static str,
    pub path: Vec<u8>,
}

/// `criu_opts`. Descriptors are numbers in this process, but for `inherit`, which are those
/// that CRIU was born with.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub images_dir: i32,
    pub work_dir: Option<i32>,
    pub log_file: &'static str,
    /// The root of the tree to be dumped.
    pub pid: Option<i32>,
    pub root: Vec<u8>,
    pub parent_image: Option<Vec<u8>>,
    /// `host:port` of a server that takes the pages.
    pub page_server: Option<(String, u16)>,
    pub status_fd: Option<i32>,
    /// `mnt[KEY]:VALUE`, `net[INODE]:NAME` and so on.
    pub external: Vec<Vec<u8>>,
    /// Name in the images, descriptor.
    pub inherit: Vec<(String, i32)>,
    pub join: Vec<JoinNamespace>,
    /// `CLONE_NEW*` of namespaces whose content is left out.
    pub empty_namespaces: u32,
    pub cgroups_mode: CgroupsMode,
    /// Where the root cgroup of the images goes, in the hierarchy of version 2.
    pub cgroup_root: Option<Vec<u8>>,
    pub freeze_cgroup: Option<Vec<u8>>,
    pub network_lock: Option<NetworkLock>,
    pub config_file: Option<Vec<u8>>,
    pub lsm_profile: Option<String>,
    pub lsm_mount_context: Option<String>,
    pub switches: Switches,
}

/// The plain yes or no of `criu_opts`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    pub leave_running: bool,
    pub external_unix_sockets: bool,
    pub tcp_established: bool,
    pub tcp_skip_in_flight: bool,
    pub tcp_close: bool,
    pub shell_job: bool,
    pub file_locks: bool,
    pub link_remap: bool,
    pub track_memory: bool,
    pub auto_dedup: bool,
    pub lazy_pages: bool,
    /// Restore the root of the tree as a child of CRIU's parent.
    pub restore_sibling: bool,
    /// Use another file where a device's own path has changed.
    pub evasive_devices: bool,
}

/// Everything worth a line in the log: 4 is CRIU's "debug".
const LOG_LEVEL: i64 = 4;

impl Options {
    pub(super) fn encode(&self) -> Writer {
        let mut to = Writer::default();
        to.number(1, i64::from(self.images_dir));
        let numbers = [(2, self.pid), (17, self.work_dir), (49, self.status_fd)];
        for (field, value) in numbers {
            if let Some(value) = value {
                to.number(field, i64::from(value));
            }
        }
        to.number(9, LOG_LEVEL);
        to.text(10, self.log_file.as_bytes());
        if let Some((address, port)) = &self.page_server {
            let mut server = Writer::default();
            server.text(1, address.as_bytes());
            server.number(2, i64::from(*port));
            to.message(11, &server);
        }
        to.flag(12, true); // notify_scripts
        to.text(13, &self.root);
        for (field, value) in [
            (14, &self.parent_image),
            (44, &self.freeze_cgroup),
            (51, &self.config_file),
        ] {
            if let Some(value) = value {
                to.text(field, value);
            }
        }
        self.encode_cgroups(&mut to);
        self.encode_namespaces(&mut to);
        self.switches.encode(&mut to);
        to.flag(50, true); // orphan_pts_master
        for (field, value) in [(53, &self.lsm_profile), (63, &self.lsm_mount_context)] {
            if let Some(value) = value {
                to.text(field, value.as_bytes());
            }
        }
        if let Some(method) = self.network_lock {
            to.number(64, method as i64);
        }
        to
    }

    fn encode_cgroups(&self, to: &mut Writer) {
        to.flag(24, true); // manage_cgroups, which the mode has taken over
        to.number(34, self.cgroups_mode as i64);
        if let Some(path) = &self.cgroup_root {
            let mut root = Writer::default();
            root.text(1, b"");
            root.text(2, path);
            to.message(25, &root);
        }
    }

    fn encode_namespaces(&self, to: &mut Writer) {
        for (key, fd) in &self.inherit {
            let mut inherit = Writer::default();
            inherit.text(1, key.as_bytes());
            inherit.number(2, i64::from(*fd));
            to.message(27, &inherit);
        }
        for external in &self.external {
            to.text(37, external);
        }
        if self.empty_namespaces != 0 {
            to.number(38, i64::from(self.empty_namespaces));
        }
        for namespace in &self.join {
            let mut join = Writer::default();
            join.text(1, namespace.kind.as_bytes());
            join.text(2, &namespace.path);
            to.message(39, &join);
        }
    }
}

impl Switches {
    fn encode(self, to: &mut Writer) {
        for (field, value) in [
            (3, self.leave_running),
            (4, self.external_unix_sockets),
            (5, self.tcp_established),
            (6, self.evasive_devices),
            (7, self.shell_job),
            (8, self.file_locks),
            (15, self.track_memory),
            (16, self.auto_dedup),
            (18, self.link_remap),
            (26, self.restore_sibling),
            (46, self.tcp_skip_in_flight),
            (48, self.lazy_pages),
            (52, self.tcp_close),
        ] {
            if value {
                to.flag(field, true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::criu::message::{Kind, Request};
    use crate::criu::protobuf::{self, Value};

    #[test]
    fn a_request_is_what_criu_reads() {
        let options = Options {
            images_dir: 5,
            log_file: "l",
            root: b"/r".to_vec(),
            inherit: vec![("k".into(), 4)],
            page_server: Some(("::1".into(), 27)),
            lsm_profile: Some("apparmor:p".into()),
            lsm_mount_context: Some("c".into()),
            ..Options::default()
        };
        let bytes = Request::Run(Kind::Restore, &options).to_bytes();
        let fields = protobuf::fields(&bytes).unwrap();
        assert_eq!(fields[0], (1, Value::Number(2)));
        let inner = protobuf::fields(fields[1].1.bytes().unwrap()).unwrap();
        let field = |n| inner.iter().find(|(number, _)| *number == n).unwrap().1;
        assert_eq!(field(1), Value::Number(5));
        assert_eq!(field(13), Value::Bytes(b"/r"));
        assert_eq!(field(27), Value::Bytes(b"\x0a\x01k\x10\x04"));
        assert_eq!(field(34), Value::Number(3));
        assert_eq!(field(11), Value::Bytes(b"\x0a\x03::1\x10\x1b"));
        assert_eq!(field(53), Value::Bytes(b"apparmor:p"));
        assert_eq!(field(63), Value::Bytes(b"c"));
        assert!(!inner.iter().any(|(number, _)| *number == 2 || *number == 3));
    }
}
