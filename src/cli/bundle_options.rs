//! The options that `create` and `run` share, and the remedy for a forgotten `--bundle`.
//!
//! Runs in: parent.

use std::path::{Path, PathBuf};

use clap::Args;

use super::Global;
use super::passed::{self, PidFile};
use super::pidfd_socket::{PidfdSocket, Sort};
use crate::bundle::Bundle;
use crate::error::{Error, Phase, Result};
use crate::host::Host;
use crate::log::{self, Level};
use crate::plan::{self, CreateOptions, HostPath, Plan, annotations};
use crate::process::foreground::Signals;
use crate::process::parent::{Release, Wishes};
use crate::state;
use crate::sys::process::OwnedProcess;
use crate::trace;

/// The options that the plan depends on; `plan` has no others.
#[derive(Args, Clone, Debug)]
pub struct PlanOptions {
    /// Directory of the bundle, which holds config.json
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,

    /// Read this file in place of config.json
    #[arg(short = 'f', long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Change the root by a mount and chroot(2), where pivot_root(2) cannot (a ramdisk)
    #[arg(long)]
    no_pivot: bool,

    /// Stay in the caller's session keyring
    #[arg(long)]
    no_new_keyring: bool,

    /// Keep N more descriptors open in the payload, behind the three streams and LISTEN_FDS
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    preserve_fds: u32,
}

#[derive(Args, Clone, Debug)]
pub struct BundleOptions {
    #[command(flatten)]
    plan: PlanOptions,

    /// Unix socket that receives the master end of the payload's terminal
    #[arg(long, value_name = "PATH")]
    pub console_socket: Option<PathBuf>,

    /// Unix socket that receives a pidfd of the container's init
    #[arg(long, value_name = "PATH")]
    pub pidfd_socket: Option<PathBuf>,

    /// Write the pid of the container's init to this file
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,

    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    pub id: String,
}

impl PlanOptions {
    /// Reads the bundle and decides everything about the container `id`; changes nothing.
    pub fn plan(&self, id: &str, verb: &str, global: &Global) -> Result<(Bundle, Plan)> {
        let read = || Bundle::open(&self.bundle, self.config.as_deref());
        let bundle = state::validate_id(id)
            .and_then(|()| trace::during("config.json", read))
            .map_err(|e| {
                self.name_the_right_call(e, id, verb)
                    .in_phase(Phase::Config)
            })?;
        let options = CreateOptions {
            id: id.to_owned(),
            no_pivot: self.no_pivot,
            no_new_keyring: self.no_new_keyring,
            descriptors: passed::descriptors(self.preserve_fds)?,
            cgroup_manager: global.cgroup_manager().into(),
            rootless: global.rootless().into(),
            notify_directory: match passed::notify_socket() {
                Some(_) => Some(global.root()?.path().join(id).join(state::NOTIFY)),
                None => None,
            }
            .map(HostPath::new),
            seccomp_receiver: passed::seccomp_receiver(),
        };
        let host = trace::during("facts of the host", || {
            Host::probe(plan::wanted(&bundle, &options))
        })?;
        let plan = trace::during("plan", || Plan::for_create(&bundle, &options, &host))
            .map_err(|e| e.in_phase(Phase::Config))?;
        for warning in &plan.warnings {
            log::warning(|| warning.clone());
        }
        if log::enabled(Level::Debug) {
            plan.summary()
                .into_iter()
                .for_each(|line| log::debug(|| line));
        }
        Ok((bundle, plan))
    }

    /// Where the container's id names the bundle that was meant (`rt create DIR`), the remedy
    /// is the right call rather than any other.
    fn name_the_right_call(&self, error: Error, id: &str, verb: &str) -> Error {
        let meant = Path::new(id);
        let missing = self.config.is_none() && !self.bundle.join("config.json").exists();
        if !missing || !meant.join("config.json").is_file() {
            return error;
        }
        let bundle = shell_word(id);
        error.with_better_hint(format!(
            "{bundle} is a bundle, and a container needs a name too: rt {verb} --bundle {bundle} NAME"
        ))
    }
}

impl BundleOptions {
    /// The plan of the container that these options name.
    pub fn plan(&self, verb: &str, global: &Global) -> Result<(Bundle, Plan)> {
        self.plan.plan(&self.id, verb, global)
    }

    /// A payload in the background with a terminal and nobody at its other end would hang: then a
    /// console socket has to be there. Without a terminal nothing would ever come from one.
    pub fn check_console_socket(&self, plan: &Plan, background: bool) -> Result<()> {
        match (&plan.process.terminal, &self.console_socket) {
            (Some(_), None) if background => Err(Error::invalid(
                "process.terminal: a container in the background needs --console-socket",
            )
            .with_pointer("/process/terminal")
            .with_hint("set process.terminal to false in config.json, or use `rt run` in the foreground")),
            (None, Some(_)) => Err(Error::invalid(
                "--console-socket: process.terminal is false in config.json, so there is nothing to send",
            )
            .with_pointer("/process/terminal")),
            _ => Ok(()),
        }
    }

    /// Connects to those who wait for a pidfd of init.
    pub fn pidfd_sockets(&self, plan: &Plan) -> Result<Vec<PidfdSocket>> {
        let option = passed::absolute(self.pidfd_socket.as_deref())?;
        [
            (option, "--pidfd-socket"),
            (plan.pidfd_receiver.clone(), annotations::PIDFD_RECEIVER),
        ]
        .into_iter()
        .filter_map(|(path, asked_by)| Some(PidfdSocket::connect(path?, asked_by)))
        .collect()
    }

    /// Tells the caller of the new init, in the ways that it asked for.
    pub fn announce(&self, init: &OwnedProcess, pidfd_sockets: &[PidfdSocket]) -> Result<()> {
        if let Some(path) = &self.pid_file {
            PidFile::write(path, init.pid())?.keep();
        }
        pidfd_sockets
            .iter()
            .try_for_each(|socket| socket.send(init, Sort::Init))
    }

    /// What the parent is to do of all this.
    pub fn wishes<'a>(
        &self,
        release: Release,
        bundle: &'a Bundle,
        signals: &'a Signals,
    ) -> Result<Wishes<'a>> {
        Ok(Wishes {
            release,
            config: &bundle.source,
            console_socket: self.console_socket()?,
            signals,
        })
    }

    /// Where the terminal's master goes, absolute.
    pub fn console_socket(&self) -> Result<Option<HostPath>> {
        passed::absolute(self.console_socket.as_deref())
    }
}

/// `text` as it can be pasted into a shell.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%=".contains(c);
    match text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_can_be_pasted_into_a_shell() {
        assert_eq!(shell_word("./my-bundle"), "./my-bundle");
        assert_eq!(shell_word("it's here"), r"'it'\''s here'");
    }
}
