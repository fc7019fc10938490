//! A pair of this machine's devpts, if it has one.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use nix::sys::stat::Mode;

/// A folder that goes with the value.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("rt-terminal-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn open_root() -> OwnedFd {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    nix::fcntl::open("/", flags, Mode::empty()).unwrap()
}

/// None, with a word, where /dev/pts is not mounted.
fn pair(size: Option<(u16, u16)>) -> Option<Pty> {
    let own = nix::unistd::getuid().as_raw();
    open_pty(open_root().as_fd(), size, own)
        .inspect_err(|e| eprintln!("skipped: {e}"))
        .ok()
}

#[test]
fn a_pair_has_the_size_and_the_owner_asked_for() {
    let Some(pty) = pair(Some((91, 17))) else {
        return;
    };
    assert_eq!(terminal::size(pty.slave.as_fd()).unwrap(), (91, 17));
    let owner = fstat(&pty.slave).unwrap().st_uid;
    assert_eq!(owner, nix::unistd::getuid().as_raw());
}

#[test]
fn a_root_without_devpts_is_refused_with_a_hint() {
    let dir = Scratch::new();
    std::fs::create_dir_all(dir.path().join("dev/pts")).unwrap();
    std::fs::write(dir.path().join("dev/pts/ptmx"), "").unwrap();
    let root = file::open_host(dir.path(), OFlag::O_PATH | OFlag::O_DIRECTORY).unwrap();
    let error = open_pty(root.as_fd(), None, 0).unwrap_err();
    assert_eq!(error.to_string(), "/dev/pts of the container is not devpts");
    assert_eq!(error.hint(), Some(DEVPTS_HINT));
}

#[test]
fn a_link_at_dev_is_not_followed() {
    let dir = Scratch::new();
    std::os::unix::fs::symlink("/dev", dir.path().join("dev")).unwrap();
    let root = file::open_host(dir.path(), OFlag::O_PATH | OFlag::O_DIRECTORY).unwrap();
    let error = open_pty(root.as_fd(), None, 0).unwrap_err();
    assert!(
        error.is(Errno::ENOTDIR) || error.is(Errno::ELOOP),
        "{error}"
    );
}

#[test]
fn a_console_socket_gets_one_message_with_the_master_however_long_its_path() {
    let Some(pty) = pair(None) else { return };
    let dir = Scratch::new();
    let deep = dir.path().join("d".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    // Bound under a short name: the listener has the same limit.
    let short = dir.path().join("s");
    let listener = UnixListener::bind(&short).unwrap();
    let long = deep.join("console");
    std::fs::rename(&short, &long).unwrap();
    assert!(long.as_os_str().len() > 107);

    send_to_console_socket(&long, pty.master.as_fd()).unwrap();
    let (connection, _) = listener.accept().unwrap();
    let mut buffer = [0; 64];
    let (length, fd) = socket::receive(connection.as_fd(), &mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"/dev/ptmx");
    let received = fd.unwrap();
    assert_eq!(
        terminal::number(received.as_fd()).unwrap(),
        terminal::number(pty.master.as_fd()).unwrap()
    );
    let (length, _) = socket::receive(connection.as_fd(), &mut buffer).unwrap();
    assert_eq!(length, 0, "the connection is closed after the message");
}

#[test]
fn a_socket_that_nobody_listens_on_names_the_option() {
    let Some(pty) = pair(None) else { return };
    let error =
        send_to_console_socket(Path::new("/nonexistent/s"), pty.master.as_fd()).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"--console-socket: connect("/nonexistent/s"): No such file or directory"#
    );
}

#[test]
fn bytes_cross_the_pair_both_ways() {
    let Some(pty) = pair(None) else { return };
    let mut master = std::fs::File::from(pty.master);
    let mut slave = std::fs::File::from(pty.slave);
    slave.write_all(b"out\n").unwrap();
    let mut buffer = [0; 16];
    let length = master.read(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"out\r\n");
    master.write_all(b"in\n").unwrap();
    let length = slave.read(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"in\n");
}
