//! What the suite asks the probe inside a container, and what the probe answers.
//!
//! Runs in: the host side builds [`Ask`], the container side builds [`Answer`]; both are one line of JSON.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One thing for the probe to look at or to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Everything about the probe's own process.
    Process,
    /// /proc/self/mountinfo, in order.
    Mounts,
    /// What lstat(2) says.
    Stat(PathBuf),
    /// The whole file as text.
    Read(PathBuf),
    /// The names in a directory, sorted.
    List(PathBuf),
    ReadLink(PathBuf),
    /// Opens an existing file for writing and writes.
    Write {
        path: PathBuf,
        text: String,
    },
    /// Makes a new file.
    Create(PathBuf),
    Mkdir(PathBuf),
    Symlink {
        target: PathBuf,
        link: PathBuf,
    },
    /// A device node of mode 0666; `kind` is `c` or `b`.
    Mknod {
        path: PathBuf,
        kind: char,
        major: u64,
        minor: u64,
    },
    /// Opens for reading and closes.
    Open(PathBuf),
    Mount {
        source: PathBuf,
        target: PathBuf,
        kind: String,
        flags: u64,
    },
    Unmount(PathBuf),
    SetHostname(String),
    /// Terminal size of descriptor 0 as "ROWSxCOLUMNS".
    WindowSize,
    /// Blocks these signals, so that [`Ask::NextSignal`] can fetch them.
    Block(Vec<i32>),
    /// The number of the next blocked signal, or ETIMEDOUT.
    NextSignal {
        within_ms: u64,
    },
    /// Descriptor `fd`, read once.
    ReadFd(i32),
    WriteFd {
        fd: i32,
        text: String,
    },
    /// Makes a child that sleeps until it is killed; answers its pid.
    SpawnSleeper,
    /// Runs a program and answers its exit status, 128 + signal if one ended it.
    Spawn(Vec<String>),
    Kill {
        pid: i32,
        signal: i32,
    },
    /// Makes a stream socket of this address family.
    Socket(i32),
    /// Any system call whose arguments are plain numbers; answers what it returns.
    Call {
        number: i64,
        args: [u64; 6],
    },
    /// Makes a session keyring of this name that everybody may find, and answers its number.
    PublicKeyring(String),
    /// Takes a new session keyring and executes the probe anew, which answers this and serves:
    /// what a program was executed with is kept for as long as it runs. Alone in its line.
    ServeAnew(Box<Ask>),
    /// Sends a datagram to the socket that $NOTIFY_SOCKET names.
    Notify(String),
    /// The same again and again for ever, without an answer.
    KeepNotifying(String),
    /// Listens for TCP at this port of every address, and closes it.
    Listen(u16),
    /// Whether a TCP listener on 127.0.0.1 can be connected to.
    Loopback,
    /// Nanoseconds of the clock with this number.
    Clock(i32),
    /// How often this was asked.
    Count,
    /// Opens a TCP connection to itself, or uses the one that it has: sends a byte, receives it.
    TcpOpen,
    TcpUse,
    /// Takes an exclusive flock(2) on this file and keeps it.
    HoldLock(PathBuf),
    /// Sleeps.
    SleepMs(u64),
    /// For so long, writes to every program that other processes run; answers how often it worked.
    HijackPrograms {
        within_ms: u64,
    },
    /// For so long, reads a file of the host through the descriptors, root and cwd of other processes; answers its text.
    ReachHostFile {
        path: PathBuf,
        within_ms: u64,
    },
    /// Makes sleeping children until fork is refused; answers how many it made.
    Fork {
        most: u32,
    },
    /// A child writes to so much memory; answers its exit status, 128 + signal if one ended it.
    Allocate {
        bytes: u64,
    },
    /// Keeps one processor busy for ever, without an answer.
    Spin,
    /// Writes a new file past the page cache; answers how many milliseconds it took.
    WriteToDisk {
        path: PathBuf,
        bytes: u64,
    },
    /// Writes a file past the page cache again and again for ever, without an answer.
    KeepWriting(PathBuf),
    /// Maps so many pages of 2 MiB, writes to each, and lets them go.
    MapHugePages {
        count: usize,
    },
    /// Opens contexts of an RDMA device, and keeps them, until one is refused; answers how many.
    OpenVerbs {
        path: PathBuf,
        most: u32,
    },
    /// Ends the probe without an answer.
    Exit(i32),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    Process(Box<Process>),
    Mounts(Vec<Mount>),
    Stat(Stat),
    Text(String),
    Names(Vec<String>),
    Number(i64),
    Done,
    /// The call that answers failed with this errno.
    Error {
        errno: i32,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub pid: i32,
    pub ppid: i32,
    pub sid: i32,
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    pub umask: u32,
    pub args: Vec<String>,
    pub env: Vec<String>,
    pub cwd: String,
    pub hostname: String,
    pub domainname: String,
    /// /proc/self/status, empty without /proc.
    pub status: BTreeMap<String, String>,
    /// Open descriptors and what /proc/self/fd says of them.
    pub fds: BTreeMap<i32, String>,
    /// /proc/self/ns, name to target.
    pub namespaces: BTreeMap<String, String>,
    /// Soft and hard limit by kernel name, e.g. RLIMIT_NOFILE.
    pub rlimits: BTreeMap<String, (u64, u64)>,
    pub oom_score_adj: Option<i32>,
    pub personality: i32,
    pub no_new_privs: bool,
    pub io_priority: i32,
    /// Policy number and nice value.
    pub scheduler: (u32, i32),
    /// Whether descriptors 0, 1, 2 are terminals.
    pub terminals: [bool; 3],
}

impl Process {
    /// A hexadecimal field of /proc/self/status such as `CapEff` or `SigIgn`.
    pub fn bits(&self, field: &str) -> Option<u64> {
        u64::from_str_radix(self.status.get(field)?, 16).ok()
    }

    pub fn env_of(&self, name: &str) -> Vec<&str> {
        self.env
            .iter()
            .filter_map(|entry| entry.split_once('='))
            .filter(|(key, _)| *key == name)
            .map(|(_, value)| value)
            .collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    pub root: String,
    pub target: String,
    /// Of this mount alone: ro, nosuid, …
    pub flags: Vec<String>,
    /// shared:N, master:N, unbindable
    pub propagation: Vec<String>,
    pub kind: String,
    pub source: String,
    /// Of the file system.
    pub data: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stat {
    /// file, dir, link, char, block, fifo or socket
    pub kind: String,
    /// Permission bits with set-id and sticky.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub inode: u64,
    pub device: u64,
    pub major: u32,
    pub minor: u32,
}
