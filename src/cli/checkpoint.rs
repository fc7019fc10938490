//! `rt checkpoint`: a container's processes as files, by CRIU.
//!
//! Runs in: parent.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::criu_options::CriuOptions;
use super::{Global, Verb, delete};
use crate::bundle::Bundle;
use crate::criu;
use crate::error::{Context, Error, Kind, Result};
use crate::host::{Host, Wanted};
use crate::plan::checkpoint::External;
use crate::process::checkpoint::{self, Dump};
use crate::process::foreground::Signals;
use crate::state::{Container, Status};
use crate::sys::descriptor;

/// How long another command on the same container is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Args, Debug)]
pub struct Checkpoint {
    #[command(flatten)]
    criu: CriuOptions,

    /// Directory of an earlier image that this one builds on, as seen from --image-path
    #[arg(long, value_name = "DIR")]
    parent_path: Option<PathBuf>,
    /// Let the container run on
    #[arg(long)]
    leave_running: bool,
    /// Save memory alone, and let the container run on
    #[arg(long)]
    pre_dump: bool,
    /// Descriptor that gets a zero byte once --lazy-pages are served
    #[arg(long, value_name = "FD", allow_hyphen_values = true)]
    status_fd: Option<i32>,
    /// Send the pages to the page server there
    #[arg(long, value_name = "ADDRESS:PORT")]
    page_server: Option<String>,

    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

impl Verb for Checkpoint {
    const NAME: &'static str = "checkpoint";
    const ABOUT: &'static str = "Save a running container to files";

    /// podman and containerd ask by `--help` whether containers can be saved here.
    fn works() -> Result<()> {
        criu::find(None).map(drop)
    }

    fn run(self, global: &Global) -> Result<u8> {
        self.checkpoint(global)
            .context(|| format!("checkpoint {:?}", self.id))
            .map(|()| 0)
    }
}

impl Checkpoint {
    fn checkpoint(&self, global: &Global) -> Result<()> {
        criu::require_rights(Self::NAME, &Host::probe(Wanted::default())?)?;
        let wishes = self.wishes(global)?;
        let root = global.root()?;
        let mut container = root.open(&self.id)?;
        container.lock(PATIENCE)?;
        refuse_unless_running(&mut container)?;
        let record = &container.record;
        let init = record
            .init
            .ok_or_else(|| Error::system("the container has no process"))?;
        let bundle = Bundle::from_state(container.config()?, record.bundle.clone())?;
        let external = External::plan(&bundle)?;
        let signals = Signals::block()?;
        checkpoint::dump(record, init, &external, &wishes, &signals)?;
        if self.leave_running || self.pre_dump {
            return Ok(());
        }
        delete::remove_dumped(&root, container)
    }

    fn wishes(&self, global: &Global) -> Result<Dump> {
        Ok(Dump {
            places: self.criu.places(global)?,
            parent: self.parent_path.clone(),
            pre_dump: self.pre_dump,
            page_server: self.page_server.as_deref().map(page_server).transpose()?,
            status_fd: self.status_fd()?,
            empty_namespaces: self.criu.empty_namespaces()?,
            cgroups_mode: self.criu.cgroups_mode(),
            network_lock: self.criu.network_lock(),
            switches: crate::criu::options::Switches {
                leave_running: self.leave_running || self.pre_dump,
                ..self.criu.switches()
            },
        })
    }

    /// runc's callers say -1 for none.
    fn status_fd(&self) -> Result<Option<i32>> {
        let Some(fd) = self.status_fd.filter(|fd| *fd != -1) else {
            return Ok(None);
        };
        let refuse = |why| Err(Error::invalid(format!("--status-fd {fd}: {why}")));
        if !descriptor::was_passed(fd) {
            return refuse("it was not passed to rt");
        }
        match descriptor::is_writable(fd) {
            Ok(true) => Ok(Some(fd)),
            Ok(false) => refuse("it cannot be written to"),
            Err(errno) => refuse(errno.desc()),
        }
    }
}

/// `ADDRESS:PORT`; a numeric address of IPv6 may stand in brackets.
fn page_server(text: &str) -> Result<(String, u16)> {
    let parsed = text.rsplit_once(':').and_then(|(address, port)| {
        let address = address.trim_start_matches('[').trim_end_matches(']');
        let port = port.parse().ok().filter(|port| *port > 0)?;
        (!address.is_empty()).then(|| (address.to_owned(), port))
    });
    parsed.ok_or_else(|| Error::invalid(format!("--page-server {text:?}: is not ADDRESS:PORT")))
}

/// The words are runc's.
fn refuse_unless_running(container: &mut Container) -> Result<()> {
    match container.status()? {
        Status::Running | Status::Paused => Ok(()),
        status => Err(Error::new(
            Kind::WrongState,
            format!(
                "container cannot be checkpointed in {} state",
                status.name()
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_server_is_an_address_and_a_port() {
        assert_eq!(page_server("10.0.0.1:27").unwrap(), ("10.0.0.1".into(), 27));
        assert_eq!(page_server("[::1]:27").unwrap(), ("::1".into(), 27));
        for wrong in ["", "10.0.0.1", ":27", "a:0", "a:x", "a:99999"] {
            assert!(page_server(wrong).is_err(), "{wrong}");
        }
    }
}
