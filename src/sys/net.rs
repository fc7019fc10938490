//! The one thing of networking that a runtime does itself: the loopback device.

use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType};

use crate::error::{Error, Result};
use crate::sys::check;

/// Sets `IFF_UP` on `lo` in the present network namespace, netdevice(7).
pub fn loopback_up() -> Result<()> {
    let socket = check(
        nix::sys::socket::socket(
            AddressFamily::Inet,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            None,
        ),
        "socket",
        "AF_INET, SOCK_DGRAM",
    )?;
    // SAFETY: all bytes zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which is alive and whole.
    let result = unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS as libc::Ioctl,
            &raw const request,
        )
    };
    Errno::result(result)
        .map(drop)
        .map_err(|errno| Error::syscall("ioctl", "SIOCSIFFLAGS, \"lo\", IFF_UP", errno as i32))
}
