//! The working directory and the program of process.args: whether they are in the root file
//! system, or can be there, and the program can be executed.
//!
//! It is looked for as the payload will do it, in the same words. What a mount or a hook may put
//! there is not to be seen beforehand: then nothing is said.
//!
//! Runs in: parent.

use std::cell::Cell;
use std::ffi::CStr;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;

use super::Finding;
use super::access::{Identity, Owner, SEARCH};
use super::executable::{Form, HEAD_BYTES, form, machines_here};
use crate::diagnose::hints::Situation;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::plan::rootfs::Source;
use crate::plan::{ContainerPath, Plan};
use crate::process::{payload, refusals};
use crate::rootfs::Root;
use crate::sys;

pub fn findings(plan: &Plan, host: &Host, situation: &Situation) -> Option<Finding> {
    let hooks = &plan.hooks;
    let of_create = [
        &hooks.prestart,
        &hooks.create_runtime,
        &hooks.create_container,
        &hooks.start_container,
    ];
    if of_create.into_iter().any(|list| !list.is_empty()) {
        return None;
    }
    let image = Image {
        root: Root::open_host(&plan.rootfs.root).ok()?,
        plan,
        payload: Identity::of_payload(plan, host),
        is_certain: Cell::new(true),
    };
    let judge = |check, found: Result<()>| {
        let error = found.err().filter(|_| image.is_certain.get())?;
        Some(Finding::error(check, &error, situation))
    };
    let cwd = judge("cwd", image.working_directory());
    image.is_certain.set(true);
    cwd.or_else(|| judge("program", image.look()))
}

/// The root file system before anything is mounted in it.
struct Image<'a> {
    root: Root,
    plan: &'a Plan,
    /// None where its ids are not known yet.
    payload: Option<Identity>,
    /// Not where something lies out of sight.
    is_certain: Cell<bool>,
}

impl Image<'_> {
    fn look(&self) -> Result<()> {
        let process = &self.plan.process;
        let Some(name) = process.args.first() else {
            return Ok(());
        };
        let program = payload::find_program(name, &process.env, |path| self.executable(path))?;
        if self.is_certain.get() {
            self.form_of(&program)?;
        }
        Ok(())
    }

    /// What is missing of it is made; what is there has to be a directory.
    fn working_directory(&self) -> Result<()> {
        let cwd = &self.plan.process.cwd;
        let Some(place) = self.in_sight(&cwd.to_string_lossy()) else {
            return Ok(());
        };
        let is_directory = match self.root.open(&place) {
            Ok(file) => sys::file::kind(&sys::file::stat(file.as_fd())?) == SFlag::S_IFDIR,
            Err(e) => !e.is(Errno::ENOTDIR) || self.leads_away(&place),
        };
        match is_directory {
            true => Ok(()),
            false => Err(refusals::no_working_directory(cwd, Errno::ENOTDIR)),
        }
    }

    /// Stands in for stat(2) and access(2) of the payload.
    fn executable(&self, path: &CStr) -> Result<()> {
        let shown = path.to_string_lossy();
        let Some(place) = self.in_sight(&shown) else {
            return Ok(());
        };
        let file = match self.root.open(&place) {
            Ok(file) => file,
            Err(e) if e.is(Errno::ENOENT) || e.is(Errno::ENOTDIR) => {
                let errno = Errno::from_raw(e.errno().unwrap_or(libc::ENOENT));
                return match self.leads_away(&place) {
                    true => self.out_of_sight(),
                    false => Err(refusals::no_program(&shown, errno)),
                };
            }
            // The caller may look at less than the payload.
            Err(_) => return self.out_of_sight(),
        };
        let stat = sys::file::stat(file.as_fd())?;
        if sys::file::kind(&stat) != SFlag::S_IFREG {
            return Err(refusals::no_regular_file(&shown));
        }
        let owner = Owner {
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: stat.st_mode,
        };
        // With CAP_DAC_OVERRIDE one execute bit is enough, whosesoever.
        let has_bit = stat.st_mode & 0o111 != 0;
        let may = self.payload.as_ref().is_none_or(|p| p.may(SEARCH, owner));
        let noexec = sys::file::file_system_flags(file.as_fd())? & libc::ST_NOEXEC != 0;
        match has_bit && may && !noexec {
            true => Ok(()),
            false => Err(refusals::no_execution(&shown, Errno::EACCES)),
        }
    }

    /// The path beneath the root. None where a mount lies on the way to it.
    fn in_sight(&self, path: &str) -> Option<ContainerPath> {
        let cwd = self.plan.process.cwd.to_string_lossy();
        let place = ContainerPath::new(&match path.starts_with('/') {
            true => path.to_owned(),
            false => format!("{cwd}/{path}"),
        });
        let covers = |destination: &ContainerPath| {
            Path::new(place.as_str()).starts_with(destination.as_str())
        };
        let mounts = &self.plan.rootfs.mounts;
        let covered = mounts
            .iter()
            .any(|mount| !matches!(mount.source, Source::Remount(_)) && covers(&mount.destination));
        if covered {
            self.is_certain.set(false);
        }
        (!covered).then_some(place)
    }

    /// Whether a symbolic link on the way leads to where a mount may be.
    fn leads_away(&self, place: &ContainerPath) -> bool {
        let mut on_the_way = Path::new(place.as_str()).ancestors();
        on_the_way.any(|part| {
            let part = ContainerPath::new(&part.to_string_lossy());
            self.root.open_nofollow(&part).is_ok_and(|file| {
                sys::file::stat(file.as_fd())
                    .is_ok_and(|stat| sys::file::kind(&stat) == SFlag::S_IFLNK)
                    && self.root.open(&part).is_err()
            })
        })
    }

    fn out_of_sight(&self) -> Result<()> {
        self.is_certain.set(false);
        Ok(())
    }

    /// Whether execve(2) will take it, and what it asks for in its turn.
    fn form_of(&self, program: &CStr) -> Result<()> {
        let Some(place) = self.in_sight(&program.to_string_lossy()) else {
            return Ok(());
        };
        let Some(head) = self.head(&place) else {
            return Ok(());
        };
        let refused = |errno| {
            Err::<(), Error>(refusals::refused(program, errno).with_pointer("/process/args/0"))
        };
        let interpreter = match form(&head, machines_here()) {
            Form::Binary { interpreter } => interpreter,
            Form::Script { interpreter } => Some(interpreter),
            // binfmt_misc(5) may know somebody who runs it.
            Form::Foreign | Form::Unknown if has_other_formats() => None,
            Form::Foreign | Form::Unknown => return refused(libc::ENOEXEC),
        };
        let Some(place) = interpreter.and_then(|path| self.in_sight(&path.to_string_lossy()))
        else {
            return Ok(());
        };
        match self.root.open(&place) {
            Err(e) if e.is(Errno::ENOENT) && !self.leads_away(&place) => refused(libc::ENOENT),
            _ => Ok(()),
        }
    }

    fn head(&self, place: &ContainerPath) -> Option<Vec<u8>> {
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = self.root.open_with(place, flags).ok()?;
        let mut head = Vec::new();
        let most = u64::try_from(HEAD_BYTES).ok()?;
        std::fs::File::from(file)
            .take(most)
            .read_to_end(&mut head)
            .ok()?;
        Some(head)
    }
}

fn has_other_formats() -> bool {
    let formats = std::fs::read_dir("/proc/sys/fs/binfmt_misc");
    formats.is_ok_and(|formats| {
        formats
            .filter_map(std::result::Result::ok)
            .any(|entry| entry.file_name() != "register" && entry.file_name() != "status")
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;
    use crate::bundle::example;
    use crate::plan::{CreateOptions, HostPath, golden};

    /// A root file system that is gone with the test.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Tree {
            let path = std::env::temp_dir().join(format!("rt-{name}-{}", std::process::id()));
            std::fs::create_dir_all(path.join("bin")).unwrap();
            Tree(path)
        }

        fn file(&self, path: &str, content: &[u8], mode: u32) {
            let path = self.0.join(path);
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        }

        /// What is found where the payload is this program.
        fn found(&self, program: &str, change: impl FnOnce(&mut Plan)) -> Option<Finding> {
            let config = example(false).replace("\"sh\"", &format!("{program:?}"));
            let mut plan = golden::plan(config, CreateOptions::default(), &golden::root());
            plan.rootfs.root = HostPath::new(&self.0);
            change(&mut plan);
            findings(&plan, &golden::root(), &Situation::default())
        }

        fn message(&self, program: &str) -> String {
            self.found(program, |_| ())
                .map(|f| f.message)
                .unwrap_or_default()
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_program_is_looked_for_as_the_payload_will() {
        let tree = Tree::new("program");
        let binary = std::fs::read("/proc/self/exe").unwrap();
        tree.file("bin/static", &binary[..64], 0o755);
        tree.file("bin/plain", b"#!/bin/static\n", 0o644);
        tree.file("bin/script", b"#!/bin/static -x\n", 0o755);
        tree.file("bin/orphan", b"#!/bin/nowhere\n", 0o755);
        tree.file("bin/text", b"echo\n", 0o755);
        for fine in ["static", "/bin/static", "script"] {
            assert_eq!(tree.message(fine), "", "{fine}");
        }
        for (program, words) in [
            (
                "nowhere",
                "exec: \"nowhere\": executable file not found in $PATH",
            ),
            ("/nowhere", "stat(\"/nowhere\"): No such file"),
            ("/bin", "the path `/bin` is not a regular file"),
            ("plain", "permission denied"),
            ("orphan", "execve(\"/bin/orphan\"): No such file"),
        ] {
            let message = tree.message(program);
            assert!(message.contains(words), "{program}: {message}");
        }
        if !has_other_formats() {
            assert!(tree.message("text").contains("Exec format error"));
        }
    }

    #[test]
    fn what_a_mount_or_a_hook_may_bring_is_no_finding() {
        let tree = Tree::new("program-mounts");
        std::os::unix::fs::symlink("/mnt/tools", tree.0.join("tools")).unwrap();
        for program in ["/dev/x", "/tools/x"] {
            assert_eq!(tree.found(program, |_| ()), None, "{program}");
        }
        let hook = crate::plan::hooks::Hook {
            pointer: String::new(),
            path: HostPath::new("/bin/true"),
            args: Vec::new(),
            env: crate::plan::hooks::Environment::Given(Vec::new()),
            timeout: None,
        };
        let with_hook = |plan: &mut Plan| plan.hooks.create_container.push(hook);
        assert_eq!(tree.found("nowhere", with_hook), None);
        assert!(tree.found("nowhere", |_| ()).is_some());
    }
}
