//! The options that `checkpoint` and `restore` share.
//!
//! Runs in: parent.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::Global;
use crate::criu::{self, options};
use crate::error::{Error, Result};
use crate::plan::namespaces::Kind;
use crate::process::checkpoint::Places;

#[derive(Args, Debug)]
pub struct CriuOptions {
    /// Directory of the image files; `checkpoint` in the present directory if not given
    #[arg(long, value_name = "DIR")]
    image_path: Option<PathBuf>,
    /// Directory of CRIU's log and other work files; that of the images if not given
    #[arg(long, value_name = "DIR")]
    work_path: Option<PathBuf>,
    /// Allow open TCP connections
    #[arg(long)]
    tcp_established: bool,
    /// Leave out TCP connections that are still being established
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
    /// Copy memory only when it is first used
    #[arg(long)]
    lazy_pages: bool,
    /// Allow file locks
    #[arg(long)]
    file_locks: bool,
    /// How cgroups are handled: soft (the default) makes what is missing, full sets all, strict
    /// wants none there, ignore leaves them alone
    #[arg(long, value_name = "MODE")]
    manage_cgroups_mode: Option<CgroupsMode>,
    /// Make this namespace and leave it empty: network
    #[arg(long, value_name = "NAMESPACE")]
    empty_ns: Vec<String>,
    /// Drop pages of parent images that newer ones have
    #[arg(long)]
    auto_dedup: bool,
    /// How the network is locked meanwhile
    #[arg(long, value_name = "HOW")]
    network_lock: Option<NetworkLock>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CgroupsMode {
    Soft,
    Full,
    Strict,
    Ignore,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum NetworkLock {
    Iptables,
    Nftables,
    Skip,
}

impl CriuOptions {
    /// Finds CRIU, and makes paths absolute.
    pub fn places(&self, global: &Global) -> Result<Places> {
        let absolute =
            |path: &Path| std::path::absolute(path).map_err(|e| Error::io("getcwd", path, &e));
        Ok(Places {
            criu: criu::find(global.criu())?,
            images: absolute(
                self.image_path
                    .as_deref()
                    .unwrap_or(Path::new("checkpoint")),
            )?,
            work: self.work_path.as_deref().map(absolute).transpose()?,
        })
    }

    pub fn switches(&self) -> options::Switches {
        options::Switches {
            external_unix_sockets: self.ext_unix_sk,
            tcp_established: self.tcp_established,
            tcp_skip_in_flight: self.tcp_skip_in_flight,
            tcp_close: self.tcp_close,
            shell_job: self.shell_job,
            file_locks: self.file_locks,
            link_remap: self.link_remap,
            auto_dedup: self.auto_dedup,
            lazy_pages: self.lazy_pages,
            ..options::Switches::default()
        }
    }

    pub fn cgroups_mode(&self) -> options::CgroupsMode {
        match self.manage_cgroups_mode {
            None | Some(CgroupsMode::Soft) => options::CgroupsMode::Soft,
            Some(CgroupsMode::Full) => options::CgroupsMode::Full,
            Some(CgroupsMode::Strict) => options::CgroupsMode::Strict,
            Some(CgroupsMode::Ignore) => options::CgroupsMode::Ignore,
        }
    }

    pub fn network_lock(&self) -> Option<options::NetworkLock> {
        self.network_lock.map(|how| match how {
            NetworkLock::Iptables => options::NetworkLock::Iptables,
            NetworkLock::Nftables => options::NetworkLock::Nftables,
            NetworkLock::Skip => options::NetworkLock::Skip,
        })
    }

    /// `CLONE_NEW*` of `--empty-ns`. CRIU has it for networks alone.
    pub fn empty_namespaces(&self) -> Result<u32> {
        let mut flags = 0;
        for name in &self.empty_ns {
            if name != Kind::Network.name() {
                return Err(Error::invalid(format!(
                    "--empty-ns: namespace {name:?} is not supported, only network"
                )));
            }
            flags |= Kind::Network.flag() as u32;
        }
        Ok(flags)
    }
}
