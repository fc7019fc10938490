//! What the probe does on request; each act's error is an answer, not a failure of the probe.
//!
//! Runs in: the container.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::Pid;

use super::ask::{Answer, Ask};
use crate::sys;

pub fn act(ask: &Ask) -> io::Result<Answer> {
    match ask {
        Ask::Write { path, text } => OpenOptions::new()
            .write(true)
            .open(path)?
            .write_all(text.as_bytes())?,
        Ask::Create(path) => drop(OpenOptions::new().write(true).create_new(true).open(path)?),
        Ask::Mkdir(path) => fs::create_dir(path)?,
        Ask::Symlink { target, link } => std::os::unix::fs::symlink(target, link)?,
        Ask::Mknod {
            path,
            kind,
            major,
            minor,
        } => {
            let kind = if *kind == 'b' {
                SFlag::S_IFBLK
            } else {
                SFlag::S_IFCHR
            };
            mknod(
                path,
                kind,
                Mode::from_bits_truncate(0o666),
                makedev(*major, *minor),
            )?;
        }
        Ask::Open(path) => drop(File::open(path)?),
        Ask::Mount {
            source,
            target,
            kind,
            flags,
        } => {
            mount(
                Some(source),
                target,
                Some(kind.as_str()),
                MsFlags::from_bits_retain(*flags),
                None::<&str>,
            )?;
        }
        Ask::Unmount(path) => umount2(path, MntFlags::MNT_DETACH)?,
        other => return act_as_process(other),
    }
    Ok(Answer::Done)
}

/// What does not touch a file.
fn act_as_process(ask: &Ask) -> io::Result<Answer> {
    match ask {
        Ask::SetHostname(name) => nix::unistd::sethostname(name)?,
        Ask::Block(signals) => sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set_of(signals)?), None)?,
        Ask::NextSignal { within_ms } => {
            let mut blocked = SigSet::empty();
            sigprocmask(SigmaskHow::SIG_BLOCK, None, Some(&mut blocked))?;
            return Ok(Answer::Number(
                sys::next_signal(&blocked, Duration::from_millis(*within_ms))?.into(),
            ));
        }
        Ask::ReadFd(fd) => {
            return sys::read_fd(*fd)
                .map(|bytes| Answer::Text(String::from_utf8_lossy(&bytes).into_owned()));
        }
        Ask::WriteFd { fd, text } => sys::write_fd(*fd, text.as_bytes())?,
        Ask::SpawnSleeper => {
            let child = Command::new("/proc/self/exe")
                .arg0_probe()
                .arg("hang")
                .spawn()?;
            return Ok(Answer::Number(child.id().into()));
        }
        Ask::Spawn(args) => {
            let Some((program, rest)) = args.split_first() else {
                return Err(io::Error::from_raw_os_error(libc::EINVAL));
            };
            let status = Command::new(program).args(rest).status()?;
            let status = status
                .code()
                .or_else(|| status.signal().map(|signal| 128 + signal))
                .unwrap_or(-1);
            return Ok(Answer::Number(status.into()));
        }
        Ask::Kill { pid, signal } => {
            nix::sys::signal::kill(Pid::from_raw(*pid), Signal::try_from(*signal)?)?
        }
        Ask::Notify(text) => {
            let path = std::env::var_os("NOTIFY_SOCKET").unwrap_or_default();
            UnixDatagram::unbound()?.send_to(text.as_bytes(), path)?;
        }
        Ask::ServeAnew(first) => {
            let join = i64::from(libc::KEYCTL_JOIN_SESSION_KEYRING) as u64;
            sys::call(libc::SYS_keyctl, [join, 0, 0, 0, 0, 0])?;
            let mut probe = Command::new("/proc/self/exe");
            let first = serde_json::to_string(&[first])?;
            return Err(probe.arg0_probe().args(["serve", &first]).exec());
        }
        Ask::PublicKeyring(name) => return sys::public_keyring(name).map(Answer::Number),
        Ask::Socket(family) => sys::socket(*family)?,
        Ask::SleepMs(ms) => std::thread::sleep(Duration::from_millis(*ms)),
        Ask::Exit(status) => std::process::exit(*status),
        _ => return Err(io::Error::from_raw_os_error(libc::EINVAL)),
    }
    Ok(Answer::Done)
}

trait NamedProbe {
    /// The binary tells by `argv[0]` which of its two parts is meant.
    fn arg0_probe(&mut self) -> &mut Self;
}

impl NamedProbe for Command {
    fn arg0_probe(&mut self) -> &mut Self {
        std::os::unix::process::CommandExt::arg0(self, "probe")
    }
}

fn set_of(signals: &[i32]) -> io::Result<SigSet> {
    let mut set = SigSet::empty();
    for signal in signals {
        set.add(Signal::try_from(*signal)?);
    }
    Ok(set)
}

pub fn listen(port: u16) -> io::Result<Answer> {
    TcpListener::bind(("0.0.0.0", port)).map(|_| Answer::Done)
}

pub fn loopback() -> io::Result<Answer> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    TcpStream::connect(listener.local_addr()?)?;
    Ok(Answer::Done)
}
