//! `rt pause`: every process of a container stops where it is.
//!
//! Runs in: parent.

use clap::Args;

use super::{Global, Verb, processes};
use crate::error::{Context, Error, Kind, Result};
use crate::state::{Container, Status};

#[derive(Args, Debug)]
pub struct Pause {
    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

impl Verb for Pause {
    const NAME: &'static str = "pause";
    const ABOUT: &'static str = "Stop every process of a container where it is";

    fn run(self, global: &Global) -> Result<u8> {
        let mut container = global.root()?.open(&self.id)?;
        pause(&mut container)
            .context(|| format!("pause {:?}", self.id))
            .map(|()| 0)
    }
}

fn pause(container: &mut Container) -> Result<()> {
    let status = container.status()?;
    if !matches!(status, Status::Created | Status::Running) {
        return Err(Error::new(
            Kind::WrongState,
            format!("container not running or created: {}", status.name()),
        ));
    }
    let need = "by which alone processes can be stopped";
    let (cgroup, _) = processes::need_cgroup(&container.record, need)?;
    cgroup.freeze()
}
