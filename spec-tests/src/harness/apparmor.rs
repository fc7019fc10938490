//! Profiles of AppArmor that tests load.
//!
//! Runs in: the worker, as root.

use std::fs;
use std::process::{Command, Stdio};

use super::case::Case;
use super::verdict::{Verdict, skip};

/// Whether this kernel enforces profiles.
pub fn is_enforced() -> bool {
    fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"))
}

/// A profile that forbids /etc/secret and leaves CRIU its sockets, loaded as long as it lives.
pub struct Profile {
    pub name: String,
    text: String,
}

impl Profile {
    pub fn load(case: &Case, name: &str) -> Verdict<Self> {
        case.need_root()?;
        if !is_enforced() {
            return skip("this kernel enforces no AppArmor profiles");
        }
        let text = format!(
            "profile {name} flags=(attach_disconnected,mediate_deleted) {{\n  file,\n  capability,\n  signal,\n  network,\n  unix,\n  ptrace,\n  deny /etc/secret rwl,\n}}\n"
        );
        let profile = Self {
            name: name.to_owned(),
            text,
        };
        match profile.parser("--add") {
            Ok(true) => Ok(profile),
            Ok(false) => skip("apparmor_parser does not load a profile here"),
            Err(error) => skip(format!("apparmor_parser: {error}")),
        }
    }

    fn parser(&self, action: &str) -> std::io::Result<bool> {
        let mut child = Command::new("apparmor_parser")
            .args([action, "--skip-cache"])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            std::io::Write::write_all(&mut input, self.text.as_bytes())?;
        }
        Ok(child.wait()?.success())
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        let _ = self.parser("--remove");
    }
}
