//! What the suite finds and prepares on the host: the runtime, the user, a private mount namespace, a place for bundles.
//!
//! Runs in: the suite's main process, before any test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigHandler, Signal};
use nix::unistd::{Gid, Uid, chown, getegid, geteuid};

use crate::options::{CgroupView, Options};

/// As whom the runtime runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    Root,
    Rootless(User),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    /// First id and length of the subordinate range, where there is one.
    pub subuids: Option<(u32, u32)>,
    pub subgids: Option<(u32, u32)>,
}

#[derive(Debug)]
pub struct World {
    pub runtime: PathBuf,
    pub globals: Vec<String>,
    pub mode: Mode,
    /// The suite itself is root and can make namespaces, whoever runs the tests.
    pub privileged: bool,
    /// Holds one folder per test.
    pub base: PathBuf,
    /// A copy of this binary under the name `probe`.
    pub probe: PathBuf,
    /// Where the one cgroup2 hierarchy is mounted, if /sys/fs/cgroup is it.
    pub cgroup_root: Option<PathBuf>,
    keep: bool,
}

pub fn ignore_sigpipe() {
    #[allow(unsafe_code, reason = "nix has signal(2) as unsafe, for handlers")]
    // SAFETY: SIG_IGN runs no code of ours.
    let _ = unsafe { nix::sys::signal::signal(Signal::SIGPIPE, SigHandler::SigIgn) };
}

/// Changes the process: a private mount namespace when root. Everything else is a folder in the temporary directory.
pub fn prepare(options: &Options, runtime: &Path) -> Result<World, String> {
    let runtime = find_runtime(runtime)?;
    let privileged = geteuid().is_root();
    let mode = match (&options.user, privileged) {
        (Some(name), true) => Mode::Rootless(
            find_user(|user| user.name == *name).ok_or(format!("no user {name} in /etc/passwd"))?,
        ),
        (Some(_), false) => return Err("--user wants the suite to be started as root".to_owned()),
        (None, true) => Mode::Root,
        (None, false) => Mode::Rootless(current_user()),
    };
    if privileged {
        private_mounts()?;
        show_cgroups(options.cgroup_view)?;
    }
    let base = make_base()?;
    let probe = base.join("probe");
    fs::copy("/proc/self/exe", &probe).map_err(|error| format!("{}: {error}", probe.display()))?;
    fs::set_permissions(&probe, fs::Permissions::from_mode(0o755))
        .map_err(|error| error.to_string())?;
    if let (true, Mode::Rootless(user)) = (privileged, &mode) {
        // protected_hardlinks: only the owner may link it into bundles.
        chown(
            &probe,
            Some(Uid::from_raw(user.uid)),
            Some(Gid::from_raw(user.gid)),
        )
        .map_err(|errno| errno.to_string())?;
    }
    let cgroup = PathBuf::from("/sys/fs/cgroup");
    let cgroup_root = is_cgroup2(&cgroup).then_some(cgroup);
    Ok(World {
        runtime,
        globals: options.globals.clone(),
        mode,
        privileged,
        base,
        probe,
        cgroup_root,
        keep: options.keep,
    })
}

impl World {
    pub fn mode_word(&self) -> &'static str {
        match self.mode {
            Mode::Root => "root",
            Mode::Rootless(_) => "rootless",
        }
    }

    /// Removes the temporary folder, unless it is to be kept.
    pub fn remove(&self) {
        if self.keep {
            println!("# kept: {}", self.base.display());
        } else if let Err(error) = fs::remove_dir_all(&self.base) {
            eprintln!("spec-tests: {} stays: {error}", self.base.display());
        }
    }
}

fn find_runtime(name: &Path) -> Result<PathBuf, String> {
    let found = if name.components().count() > 1 || name.is_absolute() {
        std::path::absolute(name).ok()
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .map(|dir| dir.join(name))
            .find(|candidate| candidate.is_file())
    };
    found
        .filter(|path| path.is_file())
        .ok_or(format!("no runtime at {}", name.display()))
}

fn find_user(wanted: impl Fn(&User) -> bool) -> Option<User> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let (name, uid) = (*fields.first()?, fields.get(2)?.parse().ok()?);
        let user = User {
            name: name.to_owned(),
            uid,
            gid: fields.get(3)?.parse().ok()?,
            subuids: subordinate("/etc/subuid", name, uid),
            subgids: subordinate("/etc/subgid", name, uid),
        };
        wanted(&user).then_some(user)
    })
}

fn current_user() -> User {
    let uid = Uid::effective().as_raw();
    find_user(|user| user.uid == uid).unwrap_or(User {
        name: uid.to_string(),
        uid,
        gid: getegid().as_raw(),
        subuids: None,
        subgids: None,
    })
}

/// The first range of the user in subuid(5) or subgid(5), by name or number.
fn subordinate(file: &str, name: &str, uid: u32) -> Option<(u32, u32)> {
    let uid = uid.to_string();
    fs::read_to_string(file).ok()?.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let owner = *fields.first()?;
        if owner != name && owner != uid {
            return None;
        }
        Some((fields.get(1)?.parse().ok()?, fields.get(2)?.parse().ok()?))
    })
}

fn private_mounts() -> Result<(), String> {
    unshare(CloneFlags::CLONE_NEWNS)
        .map_err(|errno| format!("unshare(CLONE_NEWNS): {}", errno.desc()))?;
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )
    .map_err(|errno| format!("mount / private: {}", errno.desc()))
}

fn show_cgroups(view: CgroupView) -> Result<(), String> {
    if view == CgroupView::Host || is_cgroup2(Path::new("/sys/fs/cgroup")) {
        return Ok(());
    }
    let done = mount(
        Some("cgroup2"),
        "/sys/fs/cgroup",
        Some("cgroup2"),
        MsFlags::empty(),
        None::<&str>,
    );
    match (done, view) {
        (Err(errno), CgroupView::V2) => {
            Err(format!("cgroup2 over /sys/fs/cgroup: {}", errno.desc()))
        }
        // Without cgroup2 the tests that want it are skipped.
        _ => Ok(()),
    }
}

fn is_cgroup2(path: &Path) -> bool {
    nix::sys::statfs::statfs(path)
        .is_ok_and(|stat| stat.filesystem_type() == nix::sys::statfs::CGROUP2_SUPER_MAGIC)
}

fn make_base() -> Result<PathBuf, String> {
    let base = std::env::temp_dir().join(format!("spec-tests.{}", random_name()?));
    // Ids of a container's mapping must be able to pass.
    fs::create_dir(&base).map_err(|error| format!("{}: {error}", base.display()))?;
    fs::set_permissions(&base, fs::Permissions::from_mode(0o755))
        .map_err(|error| error.to_string())?;
    Ok(base)
}

/// Eight random hexadecimal digits.
pub fn random_name() -> Result<String, String> {
    use std::io::Read;
    let mut bytes = [0u8; 4];
    fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| error.to_string())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
