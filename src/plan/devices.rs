//! Device nodes and links of /dev: the specification's own and config.json's.
//!
//! Runs in: parent.

use std::ffi::CString;

use super::ContainerPath;
use super::rootfs::{Device, DeviceKind};
use crate::bundle::Config;
use crate::error::{Error, Result};
use crate::host::Host;

/// config-linux.md#default-devices: name, major, minor.
const DEFAULT_DEVICES: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/random", 1, 8),
    ("/dev/full", 1, 7),
    ("/dev/tty", 5, 0),
    ("/dev/zero", 1, 5),
    ("/dev/urandom", 1, 9),
];

/// config-linux.md#default-devices, runtime-linux.md#dev-symbolic-links; /dev/core as runc
/// and crun make it.
const LINKS: [(&str, &str); 6] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", "/proc/kcore"),
    (PTMX, "pts/ptmx"),
];

const PTMX: &str = "/dev/ptmx";

/// Whether /dev is the container's to fill: not where it is bound from elsewhere.
pub fn fills_dev(config: &Config) -> bool {
    !config.mounts.iter().any(|mount| {
        let bound = mount.kind.as_deref() == Some("bind")
            || mount
                .options
                .iter()
                .any(|option| option == "bind" || option == "rbind");
        bound
            && ContainerPath::new(mount.destination.as_deref().unwrap_or_default()).as_str()
                == "/dev"
    })
}

/// The default devices, less those that config.json has of its own, then config.json's.
/// `bind` is said of all of them.
pub fn nodes(config: &Config, bind: bool) -> Result<Vec<Device>> {
    let own: Vec<Device> = config
        .linux()
        .devices
        .iter()
        .enumerate()
        .map(|(index, given)| plan_one(index, given, bind))
        // SPEC: config-linux.md#default-devices: that place is the container's own. docker's
        // --privileged lists the host's, which would reach the host's terminals.
        .filter(|device| !matches!(device, Ok(device) if device.path.as_str() == PTMX))
        .collect::<Result<_>>()?;
    let mut all: Vec<Device> = DEFAULT_DEVICES
        .iter()
        .filter(|(path, ..)| !own.iter().any(|device| device.path.as_str() == *path))
        .map(|&(path, major, minor)| Device {
            index: None,
            path: ContainerPath::new(path),
            kind: DeviceKind::Character,
            major,
            minor,
            mode: 0o666,
            uid: 0,
            gid: 0,
            bind,
        })
        .collect();
    all.extend(own);
    Ok(all)
}

fn plan_one(index: usize, given: &crate::bundle::linux::Device, bind: bool) -> Result<Device> {
    let kind = match given.kind.as_deref() {
        Some("c" | "u") => DeviceKind::Character,
        Some("b") => DeviceKind::Block,
        Some("p") => DeviceKind::Fifo,
        _ => {
            return Err(Error::invalid(format!(
                "linux.devices[{index}].type: must be c, b, u or p"
            ))
            .with_pointer(format!("/linux/devices/{index}/type")));
        }
    };
    Ok(Device {
        index: Some(index),
        path: ContainerPath::new(given.path.as_deref().unwrap_or_default()),
        kind,
        major: number(given.major),
        minor: number(given.minor),
        mode: given.file_mode.unwrap_or(0o666) & 0o7777,
        uid: given.uid.unwrap_or(0),
        gid: given.gid.unwrap_or(0),
        // A fifo is nobody's device: mknod(2) makes one with no right at all.
        bind: bind && kind != DeviceKind::Fifo,
    })
}

/// The checks let only numbers through that fit.
fn number(given: Option<i64>) -> u32 {
    given.and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
}

pub fn links(host: &Host) -> Vec<(ContainerPath, CString)> {
    LINKS
        .iter()
        .filter(|(path, _)| *path != "/dev/core" || host.has_kcore)
        .filter_map(|(path, target)| Some((ContainerPath::new(path), CString::new(*target).ok()?)))
        .collect()
}
