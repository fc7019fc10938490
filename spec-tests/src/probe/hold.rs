//! What the probe keeps from one question to the next.
//!
//! Runs in: the container.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};

use super::ask::Answer;

static COUNT: AtomicI64 = AtomicI64::new(0);
static CONNECTION: Mutex<Option<(TcpStream, TcpStream)>> = Mutex::new(None);
static LOCK: Mutex<Option<Flock<File>>> = Mutex::new(None);

pub fn count() -> i64 {
    COUNT.fetch_add(1, Ordering::SeqCst) + 1
}

pub fn tcp_open() -> io::Result<Answer> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let one = TcpStream::connect(listener.local_addr()?)?;
    let (other, _) = listener.accept()?;
    *CONNECTION.lock().map_err(|_| poisoned())? = Some((one, other));
    tcp_use()
}

pub fn tcp_use() -> io::Result<Answer> {
    let mut connection = CONNECTION.lock().map_err(|_| poisoned())?;
    let Some((one, other)) = connection.as_mut() else {
        return Err(io::Error::from_raw_os_error(libc::ENOTCONN));
    };
    other.set_read_timeout(Some(Duration::from_secs(10)))?;
    one.write_all(b"x")?;
    other.read_exact(&mut [0; 1])?;
    Ok(Answer::Done)
}

pub fn lock(path: &Path) -> io::Result<Answer> {
    let file = File::options().read(true).write(true).open(path)?;
    let held = Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|(_, errno)| io::Error::from(errno))?;
    *LOCK.lock().map_err(|_| poisoned())? = Some(held);
    Ok(Answer::Done)
}

fn poisoned() -> io::Error {
    io::Error::from_raw_os_error(libc::EDEADLK)
}
