//! Network devices and their addresses by rtnetlink(7).
//!
//! A [`Route`] belongs to the network namespace that it was opened in, for good, and keeps that
//! namespace alive. Each function sends one request and reads its whole answer.

use std::mem::size_of_val;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use super::check;
use crate::error::{Error, Result};

const HEADER: usize = 16;
/// The kernel's own buffer for a part of a dump, NLMSG_GOODSIZE and above.
const LONGEST: usize = 64 << 10;

/// A device, by `RTM_GETLINK`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    pub index: i32,
    /// Whether `IFF_UP` is set.
    pub up: bool,
}

/// An address of a device, as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    family: u8,
    prefix: u8,
    scope: u8,
    flags: u32,
    /// Those that describe the address itself.
    attributes: Vec<(u16, Vec<u8>)>,
}

impl Address {
    /// Whether it was given by a user, with no end.
    pub fn is_permanent(&self) -> bool {
        self.flags & libc::IFA_F_PERMANENT != 0
    }

    /// Whether it means something beyond the host and the link.
    pub fn is_global(&self) -> bool {
        self.scope == libc::RT_SCOPE_UNIVERSE
    }
}

/// A socket of NETLINK_ROUTE.
pub struct Route {
    socket: OwnedFd,
    sequence: u32,
}

impl Route {
    /// Opens one in the network namespace of this process.
    pub fn open() -> Result<Route> {
        let socket = check(
            socket(
                AddressFamily::Netlink,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC,
                SockProtocol::NetlinkRoute,
            ),
            "socket",
            "AF_NETLINK, SOCK_RAW, NETLINK_ROUTE",
        )?;
        tell_why(socket.as_fd());
        Ok(Route {
            socket,
            sequence: 0,
        })
    }

    /// The device of that name, if there is one.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>> {
        let mut request = Message::new(libc::RTM_GETLINK, 0, &link_header(0, 0, 0));
        request.text(libc::IFLA_IFNAME, name);
        let parts = match self.ask(request) {
            Err((Errno::ENODEV, _)) => return Ok(None),
            other => other.map_err(|e| explain(e, format_args!("RTM_GETLINK, {name:?}")))?,
        };
        // struct ifinfomsg: family, pad, type (2), index (4), flags (4), change (4).
        let found = parts.iter().find(|part| part.len() >= 16);
        Ok(found.map(|part| Link {
            index: number(part, 4) as i32,
            up: number(part, 8) & libc::IFF_UP as u32 != 0,
        }))
    }

    /// All addresses of a device.
    pub fn addresses(&mut self, index: i32) -> Result<Vec<Address>> {
        let request = Message::new(libc::RTM_GETADDR, libc::NLM_F_DUMP, &[0; 8]);
        let parts = self
            .ask(request)
            .map_err(|e| explain(e, format_args!("RTM_GETADDR")))?;
        // struct ifaddrmsg: family, prefixlen, flags, scope, index (4).
        let of_device = parts
            .iter()
            .filter(|part| part.len() >= 8 && number(part, 4) as i32 == index);
        Ok(of_device.map(|part| read_address(part)).collect())
    }

    /// Moves a device into another network namespace and names it `name` there, in one step.
    ///
    /// EEXIST: the name is taken there. EINVAL: the device cannot leave its namespace (`lo`).
    pub fn move_link(&mut self, index: i32, to: BorrowedFd<'_>, name: &str) -> Result<()> {
        let mut request = Message::new(
            libc::RTM_NEWLINK,
            libc::NLM_F_ACK,
            &link_header(index, 0, 0),
        );
        request.attribute(libc::IFLA_NET_NS_FD, &to.as_raw_fd().to_ne_bytes());
        request.text(libc::IFLA_IFNAME, name);
        self.ask(request).map(drop).map_err(|e| {
            let fd = to.as_raw_fd();
            explain(
                e,
                format_args!("RTM_NEWLINK, {index}, IFLA_NET_NS_FD={fd}, IFLA_IFNAME={name:?}"),
            )
        })
    }

    /// Gives the device an address as it was read elsewhere.
    pub fn add_address(&mut self, index: i32, address: &Address) -> Result<()> {
        // The rest of the flags tells what has become of the address, not what was asked for.
        let flags = address.flags
            & (libc::IFA_F_NODAD
                | libc::IFA_F_HOMEADDRESS
                | libc::IFA_F_MANAGETEMPADDR
                | libc::IFA_F_NOPREFIXROUTE
                | libc::IFA_F_MCAUTOJOIN);
        let mut header = vec![address.family, address.prefix, 0, address.scope];
        header.extend(index.to_ne_bytes());
        let how = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        let mut request = Message::new(libc::RTM_NEWADDR, how, &header);
        request.attribute(libc::IFA_FLAGS, &flags.to_ne_bytes());
        for (kind, value) in &address.attributes {
            request.attribute(*kind, value);
        }
        self.ask(request)
            .map(drop)
            .map_err(|e| explain(e, format_args!("RTM_NEWADDR, {index}, {address:?}")))
    }

    /// Sets `IFF_UP`.
    pub fn set_up(&mut self, index: i32) -> Result<()> {
        let up = libc::IFF_UP as u32;
        let request = Message::new(
            libc::RTM_NEWLINK,
            libc::NLM_F_ACK,
            &link_header(index, up, up),
        );
        self.ask(request)
            .map(drop)
            .map_err(|e| explain(e, format_args!("RTM_NEWLINK, {index}, IFF_UP")))
    }

    /// Sends the request and returns the payloads of the answer; or why not, with the kernel's
    /// own words where it has some.
    fn ask(&mut self, request: Message) -> std::result::Result<Vec<Vec<u8>>, (Errno, String)> {
        let plain = |errno| (errno, String::new());
        self.sequence += 1;
        let bytes = request.finish(self.sequence);
        nix::unistd::write(&self.socket, &bytes).map_err(plain)?;
        let mut parts = Vec::new();
        let mut buffer = vec![0; LONGEST];
        loop {
            let length = match nix::unistd::read(&self.socket, &mut buffer) {
                Err(Errno::EINTR) => continue,
                other => other.map_err(plain)?,
            };
            let mut rest = &buffer[..length];
            while rest.len() >= HEADER {
                let whole = (number(rest, 0) as usize).clamp(HEADER, rest.len());
                let (kind, flags) = (short(rest, 4), short(rest, 6));
                let payload = &rest[HEADER..whole];
                if number(rest, 8) == self.sequence {
                    match i32::from(kind) {
                        libc::NLMSG_DONE => return Ok(parts),
                        libc::NLMSG_ERROR => return verdict(payload, flags).map(|()| parts),
                        _ => parts.push(payload.to_vec()),
                    }
                    if flags & libc::NLM_F_MULTI as u16 == 0 {
                        return Ok(parts);
                    }
                }
                rest = &rest[aligned(whole).min(rest.len())..];
            }
        }
    }
}

/// Lets the kernel say in words what it does not like, where it can (Linux 4.12).
fn tell_why(socket: BorrowedFd<'_>) {
    let on: libc::c_int = 1;
    // SAFETY: the option is a C int, which is alive and of the size given.
    let _ = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            libc::NETLINK_EXT_ACK,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
}

/// struct nlmsgerr: the errno, negative or zero, and the header of the request or all of it;
/// then attributes, of which NLMSGERR_ATTR_MSG holds words.
fn verdict(payload: &[u8], flags: u16) -> std::result::Result<(), (Errno, String)> {
    const CAPPED: u16 = 0x100;
    const HAS_ATTRIBUTES: u16 = 0x200;
    const WORDS: u16 = 1;
    let code = number(payload, 0) as i32;
    if code == 0 {
        return Ok(());
    }
    let request = if flags & CAPPED != 0 {
        HEADER
    } else {
        number(payload, 4) as usize
    };
    let start = (4 + aligned(request)).min(payload.len());
    let words = (flags & HAS_ATTRIBUTES != 0)
        .then(|| attributes(&payload[start..]))
        .into_iter()
        .flatten()
        .find(|(kind, _)| *kind == WORDS);
    let words = words.map_or(String::new(), |(_, text)| {
        String::from_utf8_lossy(&text)
            .trim_end_matches('\0')
            .to_owned()
    });
    Err((Errno::from_raw(-code), words))
}

fn explain((errno, words): (Errno, String), request: std::fmt::Arguments<'_>) -> Error {
    let error = Error::syscall("netlink", request, errno as i32);
    match words.is_empty() {
        true => error,
        false => error.within(words),
    }
}

fn read_address(part: &[u8]) -> Address {
    let mut address = Address {
        family: part[0],
        prefix: part[1],
        flags: u32::from(part[2]),
        scope: part[3],
        attributes: Vec::new(),
    };
    for (kind, value) in attributes(&part[8..]) {
        match kind {
            libc::IFA_FLAGS => address.flags = number(&value, 0),
            libc::IFA_ADDRESS | libc::IFA_LOCAL | libc::IFA_BROADCAST | IFA_RT_PRIORITY => {
                address.attributes.push((kind, value));
            }
            _ => {}
        }
    }
    address
}

/// The metric of the address's route, Linux 4.18.
const IFA_RT_PRIORITY: u16 = 9;

/// struct ifinfomsg.
fn link_header(index: i32, flags: u32, change: u32) -> Vec<u8> {
    let mut header = vec![0; 4];
    header.extend(index.to_ne_bytes());
    header.extend(flags.to_ne_bytes());
    header.extend(change.to_ne_bytes());
    header
}

fn attributes(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut found = Vec::new();
    while bytes.len() >= 4 {
        let length = usize::from(short(bytes, 0)).clamp(4, bytes.len());
        found.push((short(bytes, 2), bytes[4..length].to_vec()));
        bytes = &bytes[aligned(length).min(bytes.len())..];
    }
    found
}

/// Netlink's parts begin at multiples of four.
fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// The number at `at`; zero where the bytes end before it.
fn number(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..at + 4).and_then(|b| b.try_into().ok());
    four.map_or(0, u32::from_ne_bytes)
}

fn short(bytes: &[u8], at: usize) -> u16 {
    let two = bytes.get(at..at + 2).and_then(|b| b.try_into().ok());
    two.map_or(0, u16::from_ne_bytes)
}

/// A request in the making.
struct Message(Vec<u8>);

impl Message {
    /// `flags` beside `NLM_F_REQUEST`.
    fn new(kind: u16, flags: libc::c_int, header: &[u8]) -> Message {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&((flags | libc::NLM_F_REQUEST) as u16).to_ne_bytes());
        bytes.extend_from_slice(header);
        Message(bytes)
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = (value.len() + 4) as u16;
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(aligned(self.0.len()), 0);
    }

    fn text(&mut self, kind: u16, text: &str) {
        self.attribute(kind, &[text.as_bytes(), b"\0"].concat());
    }

    fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = self.0.len() as u32;
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_there_with_its_address() {
        let mut route = Route::open().unwrap();
        let lo = route.link("lo").unwrap().unwrap();
        assert_eq!(route.link("no-such-device").unwrap(), None);
        let addresses = route.addresses(lo.index).unwrap();
        // Where it is up it has one, of the host's scope.
        assert_eq!(lo.up, addresses.iter().any(|a| a.family == 2));
        assert!(addresses.iter().all(|a| !a.is_global()));
    }

    #[test]
    fn a_refusal_has_the_kernels_errno() {
        let mut route = Route::open().unwrap();
        let error = route.set_up(i32::MAX).unwrap_err();
        assert!(error.is(Errno::ENODEV) || error.is(Errno::EPERM), "{error}");
    }

    #[test]
    fn an_address_is_read_as_it_is_written() {
        let mut message = Message::new(0, 0, &[2, 24, 0x80, 0, 7, 0, 0, 0]);
        message.attribute(libc::IFA_LOCAL, &[10, 9, 0, 1]);
        message.text(libc::IFA_LABEL, "eth0:1");
        message.attribute(libc::IFA_FLAGS, &0x280u32.to_ne_bytes());
        let address = read_address(&message.finish(1)[HEADER..]);
        assert_eq!((address.prefix, address.flags), (24, 0x280));
        assert!(address.is_permanent() && address.is_global());
        assert_eq!(address.attributes, [(libc::IFA_LOCAL, vec![10, 9, 0, 1])]);
    }
}
