//! The relay between two real sockets.

use std::os::unix::net::UnixDatagram;

use super::*;

struct Stage {
    directory: std::path::PathBuf,
    manager: UnixDatagram,
    relay: Relay,
}

impl Stage {
    fn new(name: &str, main: Main) -> Stage {
        let directory = std::env::temp_dir().join(format!("rt-relay-{name}-{}", Pid::this()));
        std::fs::create_dir(&directory).unwrap();
        let address = directory.join("manager");
        let manager = UnixDatagram::bind(&address).unwrap();
        manager
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        let fd = std::fs::File::open(&directory).unwrap();
        let relay = Relay::listen(fd.as_fd(), address.as_os_str(), main)
            .unwrap()
            .unwrap();
        Stage {
            directory,
            manager,
            relay,
        }
    }

    fn payload(&self) -> UnixDatagram {
        let socket = UnixDatagram::unbound().unwrap();
        socket.connect(self.directory.join(SOCKET)).unwrap();
        socket
    }

    /// What the manager gets next; empty where it gets nothing.
    fn heard(&self) -> String {
        let mut buffer = [0; 8192];
        let length = self.manager.recv(&mut buffer).unwrap_or(0);
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

const INIT: Main = Main::Payload {
    init: Pid::from_raw(4321),
    named: None,
};

#[test]
fn ready_goes_on_with_the_number_of_the_process_to_watch() {
    let mut stage = Stage::new("ready", INIT);
    stage.payload().send(b"STATUS=up\nREADY=1").unwrap();
    stage.relay.pass_on();
    assert_eq!(stage.heard(), "STATUS=up\nREADY=1\nMAINPID=4321\n");
    let mut stage = Stage::new("ready-here", Main::ThisProcess);
    stage.payload().send(b"READY=1\n").unwrap();
    stage.relay.pass_on();
    assert_eq!(stage.heard(), format!("READY=1\nMAINPID={}\n", Pid::this()));
}

#[test]
fn what_would_reach_into_the_manager_stays_out() {
    let mut stage = Stage::new("harmless", INIT);
    let payload = stage.payload();
    payload
        .send(b"FDSTORE=1\nFDNAME=x\nNOTIFYACCESS=all\nMAINPID=1\nX")
        .unwrap();
    payload.send(&[b'A'; 2 * LONGEST]).unwrap();
    payload.send(b"").unwrap();
    payload.send(b"\xff").unwrap();
    payload.send(b"WATCHDOG=1").unwrap();
    stage.relay.pass_on();
    assert_eq!(stage.heard(), "WATCHDOG=1\n");
    assert_eq!(stage.heard(), "");
    assert!(!stage.relay.is_ready);
}

#[test]
fn a_barrier_goes_through_with_its_descriptor() {
    let mut stage = Stage::new("barrier", INIT);
    let (read, write) = nix::unistd::pipe().unwrap();
    let payload = OwnedFd::from(stage.payload());
    socket::send(payload.as_fd(), BARRIER, Some(write.as_fd())).unwrap();
    drop(write);
    stage.relay.pass_on();
    assert!(!is_readable(read.as_fd(), Duration::ZERO));
    let mut buffer = [0; 64];
    let (length, fd) = socket::receive(stage.manager.as_fd(), &mut buffer).unwrap();
    assert_eq!((&buffer[..length], fd.is_some()), (BARRIER, true));
    drop(fd);
    assert!(is_readable(read.as_fd(), Duration::from_secs(5)));
}

#[test]
fn a_number_of_the_container_becomes_one_of_the_host() {
    let this = Pid::this();
    let inside = number_inside(this.as_raw()).unwrap();
    assert_eq!(on_host(this, inside), Some(this));
    assert_eq!(on_host(this, i32::MAX), None);
    let main = Main::Payload {
        init: this,
        named: None,
    };
    let mut stage = Stage::new("number", main);
    let named = format!("MAINPID={inside}\nREADY=1");
    stage.payload().send(named.as_bytes()).unwrap();
    stage.relay.pass_on();
    assert_eq!(stage.heard(), format!("READY=1\nMAINPID={this}\n"));
}

#[test]
fn an_address_without_a_listener_is_no_error() {
    let directory = std::fs::File::open("/tmp").unwrap();
    let relay = Relay::listen(directory.as_fd(), OsStr::new("/nonexistent/notify"), INIT);
    assert!(relay.unwrap().is_none());
}
