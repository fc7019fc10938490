//! `linux.netDevices`: moves devices of the caller's network namespace into the container's.
//!
//! A device keeps what belongs to it (its hardware address, its MTU), and the kernel forgets its
//! addresses. Those that config-linux.md#network-devices names are given to it again. What
//! becomes of a device when the container's network namespace ends is the kernel's business: a
//! physical one goes to the first network namespace, a virtual one is gone.
//!
//! Runs in: parent, with CAP_NET_ADMIN over both namespaces.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::Pid;

use crate::error::{Context, Error, Result};
use crate::log;
use crate::plan::namespaces::Kind;
use crate::plan::net_devices::NetDevice;
use crate::sys::netlink::{Address, Link, Route};
use crate::sys::{check, process};

/// Devices that are in the container. Dropped, they come back with their names, addresses and
/// state, unless they were [kept](Moved::keep): the container's namespace lives as long as this
/// does. Routes that went with them do not come back.
pub struct Moved {
    own: OwnedFd,
    here: Route,
    there: Route,
    list: Vec<Device>,
}

struct Device {
    name: String,
    inside: String,
    before: Link,
    /// All that the device had.
    addresses: Vec<Address>,
}

/// Moves `devices` into the network namespace of `init`, gives them their addresses there and
/// sets them up.
pub fn move_in(devices: &[NetDevice], init: Pid) -> Result<Moved> {
    let own = open("/proc/self/ns/net")?;
    let target = open(&format!("/proc/{init}/ns/net"))?;
    let mut moved = Moved {
        here: Route::open()?,
        there: open_there(&own, &target)?,
        own,
        list: Vec::new(),
    };
    for device in devices {
        moved
            .move_one(device, &target)
            .map_err(|e| at_device(e, device))?;
    }
    Ok(moved)
}

/// What [`move_in`] will say of devices that are not there.
pub fn foresee(devices: &[NetDevice]) -> Result<Vec<Error>> {
    if devices.is_empty() {
        return Ok(Vec::new());
    }
    let mut here = Route::open()?;
    let mut errors = Vec::new();
    for device in devices {
        if here.link(&device.name)?.is_none() {
            errors.push(at_device(absent(), device));
        }
    }
    Ok(errors)
}

fn absent() -> Error {
    Error::invalid("there is no such device")
        .with_hint("`ip link` in the network namespace of the caller shows what there is")
}

fn at_device(error: Error, device: &NetDevice) -> Error {
    error
        .with_pointer(device.pointer())
        .within(format!("linux.netDevices ({})", device.name))
}

impl Moved {
    /// Leaves the devices to the container.
    pub fn keep(mut self) {
        self.list.clear();
    }

    fn move_one(&mut self, device: &NetDevice, target: &OwnedFd) -> Result<()> {
        let before = self.here.link(&device.name)?.ok_or_else(absent)?;
        // Before it moves: an IPv6 address goes as soon as the device is down.
        let addresses = self.here.addresses(before.index)?;
        let inside = self.free_name(&device.inside)?;
        self.here
            .move_link(before.index, target.as_fd(), &inside)
            .map_err(|e| explain(e, &device.name))?;
        self.list.push(Device {
            name: device.name.clone(),
            inside: inside.clone(),
            before,
            addresses: addresses.clone(),
        });
        let link = self
            .there
            .link(&inside)?
            .ok_or_else(|| Error::system(format!("it did not become {inside} inside")))?;
        for address in addresses
            .iter()
            .filter(|a| a.is_permanent() && a.is_global())
        {
            self.there.add_address(link.index, address)?;
        }
        self.there.set_up(link.index)
    }

    /// The name that a device gets inside, with the first number that is free for `%d`.
    ///
    /// The kernel could find one itself, and would not tell which.
    fn free_name(&mut self, wanted: &str) -> Result<String> {
        if !wanted.contains("%d") {
            return match self.there.link(wanted)? {
                None => Ok(wanted.to_owned()),
                Some(_) => Err(taken(wanted)),
            };
        }
        for number in 0..=u16::MAX {
            let name = wanted.replacen("%d", &number.to_string(), 1);
            if self.there.link(&name)?.is_none() {
                return Ok(name);
            }
        }
        Err(taken(wanted))
    }

    fn bring_back(&mut self, device: &Device) -> Result<()> {
        let Some(inside) = self.there.link(&device.inside)? else {
            return Ok(());
        };
        self.there
            .move_link(inside.index, self.own.as_fd(), &device.name)?;
        let Some(link) = self.here.link(&device.name)? else {
            return Ok(());
        };
        for address in device.addresses.iter().filter(|a| a.is_permanent()) {
            // Those that the kernel gives by itself are there already.
            match self.here.add_address(link.index, address) {
                Err(e) if !e.is(Errno::EEXIST) => return Err(e),
                _ => {}
            }
        }
        match device.before.up {
            true => self.here.set_up(link.index),
            false => Ok(()),
        }
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        for device in std::mem::take(&mut self.list).iter().rev() {
            if let Err(error) = self.bring_back(device) {
                log::warning(|| {
                    format!("linux.netDevices ({}): coming back: {error}", device.name)
                });
            }
        }
    }
}

fn taken(name: &str) -> Error {
    Error::invalid(format!(
        "the container's network namespace has a device {name} already"
    ))
    .with_hint("choose another `name`; one with %d takes the first number that is free")
}

fn explain(error: Error, name: &str) -> Error {
    match error.errno().map(Errno::from_raw) {
        Some(Errno::EINVAL) => error.with_hint(format!(
            "{name} belongs to its network namespace for good, as a loopback device or one that others are built on does"
        )),
        Some(Errno::EPERM) => error.with_hint(
            "the kernel wants CAP_NET_ADMIN over the network namespace that the device comes from and over the container's",
        ),
        _ => error,
    }
}

fn open(path: &str) -> Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    check(
        nix::fcntl::open(path, flags, Mode::empty()),
        "open",
        format_args!("{path:?}"),
    )
}

/// A socket in the namespace `target`: this process goes there for a moment.
fn open_there(own: &OwnedFd, target: &OwnedFd) -> Result<Route> {
    let enter = |namespace: &OwnedFd, what: &str| {
        check(
            process::setns(namespace.as_fd(), Kind::Network.flag()),
            "setns",
            format_args!("{what}, CLONE_NEWNET"),
        )
        .at("/linux/netDevices", || "linux.netDevices")
    };
    enter(target, "the container's network namespace")?;
    let route = Route::open();
    enter(own, "the caller's network namespace")?;
    route
}
