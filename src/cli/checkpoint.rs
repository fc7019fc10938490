//! `rt checkpoint`: a container's state in files, by CRIU. Not built yet.
//!
//! Runs in: parent.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Global, Verb, not_yet};
use crate::error::Result;

// What `checkpoint` and `restore` both take.
#[derive(Args, Debug)]
pub struct CriuOptions {
    /// Directory of the image files
    #[arg(long, value_name = "DIR")]
    image_path: Option<PathBuf>,
    /// Directory of the log and of other work files
    #[arg(long, value_name = "DIR")]
    work_path: Option<PathBuf>,
    /// Directory of an earlier image that this one builds on
    #[arg(long, value_name = "DIR")]
    parent_path: Option<PathBuf>,
    /// Allow open TCP connections
    #[arg(long)]
    tcp_established: bool,
    /// Leave out connections that are being made
    #[arg(long)]
    tcp_skip_in_flight: bool,
    /// Close TCP connections
    #[arg(long)]
    tcp_close: bool,
    /// Link deleted files back while they are in use
    #[arg(long)]
    link_remap: bool,
    /// Allow Unix sockets that lead outside
    #[arg(long)]
    ext_unix_sk: bool,
    /// Allow a terminal of the caller's
    #[arg(long)]
    shell_job: bool,
    /// Copy memory when it is first used
    #[arg(long)]
    lazy_pages: bool,
    /// Descriptor that gets a byte when the lazy pages are served
    #[arg(long, value_name = "FD", allow_hyphen_values = true)]
    status_fd: Option<i32>,
    /// Send the pages there
    #[arg(long, value_name = "ADDRESS:PORT")]
    page_server: Option<String>,
    /// Keep file locks
    #[arg(long)]
    file_locks: bool,
    /// How cgroups are handled
    #[arg(long, value_name = "MODE")]
    manage_cgroups_mode: Option<CgroupsMode>,
    /// Make this namespace and leave it empty
    #[arg(long, value_name = "NAMESPACE")]
    empty_ns: Vec<String>,
    /// Save each page once
    #[arg(long)]
    auto_dedup: bool,
    /// How the network is locked meanwhile: iptables, nftables or skip
    #[arg(long, value_name = "HOW")]
    network_lock: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CgroupsMode {
    Soft,
    Full,
    Strict,
    Ignore,
}

#[derive(Args, Debug)]
pub struct Checkpoint {
    #[command(flatten)]
    criu: CriuOptions,

    /// Let the container run on
    #[arg(long)]
    leave_running: bool,
    /// Save memory alone, and let the container run on
    #[arg(long)]
    pre_dump: bool,

    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

impl Verb for Checkpoint {
    const NAME: &'static str = "checkpoint";
    const ABOUT: &'static str = "Save a running container to files";
    const WORKS: bool = false;

    fn run(self, _global: &Global) -> Result<u8> {
        Err(not_yet(Self::NAME))
    }
}
