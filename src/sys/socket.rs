//! Unix sockets whose messages keep their borders and carry descriptors.

use std::ffi::OsStr;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType,
    UnixAddr, sockopt,
};
use nix::sys::time::TimeVal;

use crate::error::{Error, Result};
use crate::sys::check;

/// Two connected ends, close-on-exec.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    check(
        nix::sys::socket::socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        ),
        "socketpair",
        "AF_UNIX, SOCK_SEQPACKET|SOCK_CLOEXEC",
    )
}

/// Sends one message, with a descriptor if one is given. Never raises SIGPIPE. EAGAIN: the other
/// end of a stream did not take all of it in time.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> nix::Result<()> {
    let raw: [RawFd; 1] = [fd.map_or(-1, |fd| fd.as_raw_fd())];
    let control = [ControlMessage::ScmRights(&raw)];
    let control = if fd.is_some() { &control[..] } else { &[] };
    retry(|| {
        nix::sys::socket::sendmsg::<UnixAddr>(
            socket.as_raw_fd(),
            &[IoSlice::new(bytes)],
            control,
            MsgFlags::MSG_NOSIGNAL,
            None,
        )
    })
    .and_then(|sent| match sent == bytes.len() {
        true => Ok(()),
        false => Err(Errno::EAGAIN),
    })
}

/// Receives one message into `buffer`: its length (0 when the other end is gone) and the
/// descriptor that came with it. A message that does not fit is EMSGSIZE.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> nix::Result<(usize, Option<OwnedFd>)> {
    let mut control = nix::cmsg_space!([RawFd; 1]);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = loop {
        match nix::sys::socket::recvmsg::<UnixAddr>(
            socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::MSG_CMSG_CLOEXEC,
        ) {
            Err(Errno::EINTR) => {}
            other => break other?,
        }
    };
    let mut received = None;
    for item in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = item {
            for fd in fds {
                // SAFETY: the kernel has just made this descriptor for us.
                received = Some(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
    }
    if message.flags.contains(MsgFlags::MSG_TRUNC) {
        return Err(Errno::EMSGSIZE);
    }
    Ok((message.bytes, received))
}

/// Waits for the next message and gives its length; it stays to be received.
pub fn next_length(socket: BorrowedFd<'_>) -> nix::Result<usize> {
    retry(|| {
        nix::sys::socket::recv(
            socket.as_raw_fd(),
            &mut [],
            MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC,
        )
    })
}

/// Nothing more will be sent: the other end reads its end.
pub fn end_of_words(socket: BorrowedFd<'_>) {
    // ENOTCONN: the other end has gone, and needs no word.
    let _ = nix::sys::socket::shutdown(socket.as_raw_fd(), nix::sys::socket::Shutdown::Write);
}

/// A listening socket at `directory`/`name`, whatever the length of the directory's path.
///
/// sun_path holds 107 bytes, less than the state path of a rootless docker, so the address
/// goes through /proc/self/fd.
pub fn listen(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    let socket = new_socket(SockFlag::empty())?;
    let path = through_proc(directory, name);
    let address = check(UnixAddr::new(path.as_str()), "bind", &path)?;
    check(
        nix::sys::socket::bind(socket.as_raw_fd(), &address),
        "bind",
        format_args!("{path:?}"),
    )?;
    check(
        Backlog::new(8).and_then(|backlog| nix::sys::socket::listen(&socket, backlog)),
        "listen",
        name,
    )?;
    Ok(socket)
}

/// Connects to the socket at `directory`/`name`.
pub fn connect(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    let socket = new_socket(SockFlag::empty())?;
    let path = through_proc(directory, name);
    let address = check(UnixAddr::new(path.as_str()), "connect", &path)?;
    check(
        nix::sys::socket::connect(socket.as_raw_fd(), &address),
        "connect",
        format_args!("{name:?}"),
    )?;
    Ok(socket)
}

/// Whether somebody listens at `directory`/`name`, busy or not. False also where there is no such
/// name. Who listens sees a connection that ends.
pub fn is_listened_to(directory: BorrowedFd<'_>, name: &str) -> Result<bool> {
    let socket = new_socket(SockFlag::SOCK_NONBLOCK)?;
    let path = through_proc(directory, name);
    let address = check(UnixAddr::new(path.as_str()), "connect", &path)?;
    match nix::sys::socket::connect(socket.as_raw_fd(), &address) {
        Ok(()) | Err(Errno::EAGAIN) => Ok(true),
        Err(Errno::ECONNREFUSED | Errno::ENOENT) => Ok(false),
        failed => check(failed, "connect", format_args!("{name:?}")).map(|()| true),
    }
}

/// Connects to the stream socket at `path`, which may be longer than the 107 bytes that
/// sun_path holds. EAGAIN, there and at a later [`send`]: whoever listens takes nothing for 30 s.
pub fn connect_stream(path: &Path) -> Result<OwnedFd> {
    const SUN_PATH_MAX: usize = 107;
    const PATIENCE: Duration = Duration::from_secs(30);
    let socket = check(
        nix::sys::socket::socket(
            AddressFamily::Unix,
            SockType::Stream,
            SockFlag::SOCK_CLOEXEC,
            None,
        ),
        "socket",
        "AF_UNIX, SOCK_STREAM",
    )?;
    set_patience(&socket, PATIENCE)?;
    let connect = |path: &Path| {
        UnixAddr::new(path)
            .and_then(|address| nix::sys::socket::connect(socket.as_raw_fd(), &address))
    };
    let connected = match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if path.as_os_str().len() > SUN_PATH_MAX => {
            let directory = super::file::open_host(parent, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
            let through = format!("/proc/self/fd/{}", directory.as_raw_fd());
            connect(&Path::new(&through).join(name))
        }
        _ => connect(path),
    };
    check(connected, "connect", format_args!("{path:?}"))?;
    Ok(socket)
}

fn set_patience(socket: &OwnedFd, patience: Duration) -> Result<()> {
    let limit = TimeVal::new(patience.as_secs() as i64, 0);
    check(
        nix::sys::socket::setsockopt(socket, sockopt::SendTimeout, &limit),
        "setsockopt",
        "SO_SNDTIMEO",
    )
}

/// A datagram socket at `directory`/`name` that every user may send to. What is there by that
/// name is replaced. Reading it never waits.
pub fn bind_datagram(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    match nix::unistd::unlinkat(directory, name, nix::unistd::UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(errno) => return Err(Error::syscall("unlinkat", name, errno as i32)),
    }
    let socket = new_datagram_socket(SockFlag::SOCK_NONBLOCK)?;
    let path = through_proc(directory, name);
    let address = check(UnixAddr::new(path.as_str()), "bind", &path)?;
    let before = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o111));
    let bound = nix::sys::socket::bind(socket.as_raw_fd(), &address);
    nix::sys::stat::umask(before);
    check(bound, "bind", format_args!("{path:?}"))?;
    Ok(socket)
}

/// A socket whose datagrams go to `address`: a path, or with `@` in front an abstract name.
/// A receiver that does not read is waited for at most for `patience`.
pub fn connect_datagram(address: &OsStr, patience: Duration) -> Result<OwnedFd> {
    let given = match address.as_bytes() {
        [b'@', name @ ..] => UnixAddr::new_abstract(name),
        path => UnixAddr::new(path),
    };
    let target = check(given, "connect", format_args!("{address:?}"))?;
    let socket = new_datagram_socket(SockFlag::empty())?;
    set_patience(&socket, patience)?;
    check(
        nix::sys::socket::connect(socket.as_raw_fd(), &target),
        "connect",
        format_args!("{address:?}"),
    )?;
    Ok(socket)
}

fn new_datagram_socket(flags: SockFlag) -> Result<OwnedFd> {
    check(
        nix::sys::socket::socket(
            AddressFamily::Unix,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC | flags,
            None,
        ),
        "socket",
        "AF_UNIX, SOCK_DGRAM",
    )
}

/// Connects to the stream socket of this name in the abstract namespace, unix(7).
pub fn connect_abstract_stream(name: &[u8]) -> Result<OwnedFd> {
    use std::os::linux::net::SocketAddrExt;
    std::os::unix::net::SocketAddr::from_abstract_name(name)
        .and_then(|address| UnixStream::connect_addr(&address))
        .map(OwnedFd::from)
        .map_err(|e| Error::io("connect", format!("@{}", String::from_utf8_lossy(name)), &e))
}

/// Waits for a connection.
pub fn accept(listener: BorrowedFd<'_>) -> Result<OwnedFd> {
    let fd = check(
        retry(|| nix::sys::socket::accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC)),
        "accept4",
        "gate",
    )?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn new_socket(flags: SockFlag) -> Result<OwnedFd> {
    check(
        nix::sys::socket::socket(
            AddressFamily::Unix,
            SockType::SeqPacket,
            SockFlag::SOCK_CLOEXEC | flags,
            None,
        ),
        "socket",
        "AF_UNIX, SOCK_SEQPACKET",
    )
}

fn through_proc(directory: BorrowedFd<'_>, name: &str) -> String {
    format!("/proc/self/fd/{}/{name}", directory.as_fd().as_raw_fd())
}

fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}
