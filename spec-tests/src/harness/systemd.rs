//! systemd of the host, or of the user that runs the test, for containers whose cgroup is a unit.
//!
//! Runs in: the worker.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::bundle::Bundle;
use super::call::{Call, Outcome};
use super::case::Case;
use super::container::Container;
use super::verdict::{Doing, Verdict, fail, skip};
use crate::probe::ask::Ask;

/// The argument before the verb with which every runtime asks systemd.
pub const DRIVER: &str = "--systemd-cgroup";

pub struct Systemd {
    /// Of the user whose systemd it is; none for process 1.
    user: Option<u32>,
}

/// Where a user's bus listens.
pub fn user_bus(uid: u32) -> PathBuf {
    PathBuf::from(format!("/run/user/{uid}/bus"))
}

impl Case {
    /// The systemd that makes cgroups for whoever runs the test.
    pub fn need_systemd(&self) -> Verdict<Systemd> {
        if !Path::new("/run/systemd/system").is_dir() {
            return skip("systemd is not process 1 here");
        }
        let Some(user) = self.user() else {
            return match Path::new("/run/dbus/system_bus_socket").exists() {
                true => Ok(Systemd { user: None }),
                false => skip("there is no system bus"),
            };
        };
        match user_bus(user.uid).exists() {
            true => Ok(Systemd {
                user: Some(user.uid),
            }),
            false => skip("this user has no systemd of his own"),
        }
    }

    /// A created container in a unit. The other verbs are not told of the driver.
    pub fn create_in_unit(&self, bundle: &mut Bundle) -> Verdict<Container<'_>> {
        bundle.serves();
        self.create_with(self.create_call(bundle)?.globals([DRIVER]), &self.id)
    }

    /// The same, started, and its payload has answered.
    pub fn started_in_unit(&self, bundle: &mut Bundle) -> Verdict<Container<'_>> {
        let mut container = self.create_in_unit(bundle)?;
        container.start()?;
        container.ask_one(Ask::Process)?;
        Ok(container)
    }

    /// A foreground `run` of the bundle in a unit, ready to be started.
    pub fn run_in_unit(&self, bundle: &Bundle) -> Verdict<Call<'_>> {
        Ok(self.run_call(bundle)?.globals([DRIVER]))
    }

    /// `create` in a unit must fail with words; answers what it said.
    pub fn refused_in_unit(&self, bundle: &Bundle) -> Verdict<Outcome> {
        self.create_call(bundle)?.globals([DRIVER]).run()?.refused()
    }
}

impl Systemd {
    /// What `systemctl` with these arguments prints; it has to succeed.
    pub fn control(&self, args: &[&str]) -> Verdict<String> {
        let mut command = Command::new("systemctl");
        if let Some(uid) = self.user {
            command
                .arg("--user")
                .env("XDG_RUNTIME_DIR", format!("/run/user/{uid}"))
                .env_remove("DBUS_SESSION_BUS_ADDRESS");
        }
        let output = command.args(args).output().doing("systemctl")?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            return fail(format!("systemctl {}: {words}", args.join(" ")));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// A property of a unit, as text.
    pub fn show(&self, unit: &str, property: &str) -> Verdict<String> {
        self.control(&["show", unit, "--value", "--property", property])
    }

    /// Fails unless each property reads so.
    pub fn holds(&self, unit: &str, properties: &[(&str, &str)]) -> Verdict {
        for (property, wanted) in properties {
            let seen = self.show(unit, property)?;
            if seen != *wanted {
                return fail(format!("{property} of {unit} is {seen:?}, not {wanted:?}"));
            }
        }
        Ok(())
    }

    /// Fails unless systemd soon knows no unit any more whose name has the test's id in it.
    pub fn forgets(&self, case: &Case) -> Verdict {
        let pattern = format!("*{}*", case.id);
        let args = ["list-units", "--all", "--plain", "--no-legend", &pattern];
        // systemd hears of the end of the last process by itself, and in its own time.
        loop {
            let left = self.control(&args)?;
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > case.deadline {
                return fail(format!("units are left: {left}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
