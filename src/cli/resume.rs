//! `rt resume`: the processes of a paused container go on.
//!
//! Runs in: parent.

use clap::Args;

use super::{Global, Verb, processes};
use crate::error::{Context, Error, Kind, Result};
use crate::state::{Container, Status};

#[derive(Args, Debug)]
pub struct Resume {
    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

impl Verb for Resume {
    const NAME: &'static str = "resume";
    const ABOUT: &'static str = "Let the processes of a paused container continue";

    fn run(self, global: &Global) -> Result<u8> {
        let mut container = global.root()?.open(&self.id)?;
        resume(&mut container)
            .context(|| format!("resume {:?}", self.id))
            .map(|()| 0)
    }
}

fn resume(container: &mut Container) -> Result<()> {
    let status = container.status()?;
    if !matches!(status, Status::Paused) {
        return Err(Error::new(
            Kind::WrongState,
            format!("container not paused: {}", status.name()),
        ));
    }
    let need = "by which alone processes can be stopped";
    let (cgroup, _) = processes::need_cgroup(&container.record, need)?;
    cgroup.thaw()
}
