//! Where the memory goes, and where it comes from.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::Command;

use nix::unistd::Pid;

use super::{checkpoint, images, need_criu, restore, started};
use crate::harness::case::Case;
use crate::harness::verdict::{Doing, Verdict, equal, fail, holds, skip};
use crate::probe::ask::Ask;
use crate::{sys, tests};

tests! {
    "runc-checkpoint(8)" Compat memory_goes_to_a_page_server;
    "runc-checkpoint(8)" Compat a_page_server_that_is_not_there_is_an_error_and_the_payload_goes_on;
    "runc-restore(8)" Compat memory_may_come_later_from_the_dump_itself;
}

/// `criu` at work beside the test. The case waits for it as for any child.
struct Server(Pid);

impl Server {
    fn start(command: &mut Command) -> Verdict<Self> {
        let child = command.spawn().doing("criu")?;
        Ok(Self(Pid::from_raw(i32::try_from(child.id()).unwrap_or(0))))
    }

    fn ended_well(&self, case: &Case) -> Verdict {
        equal("criu's exit status", case.exit_status(self.0)?, 0)
    }
}

/// An address that no other test has: all of 127.0.0.0/8 is this host.
fn own_address() -> String {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    format!("127.{}.{middle}.{low}", high.wrapping_add(100))
}

const PORT: &str = "27027";

/// Waits for the word of whoever writes to the other end.
fn wait_for_word(case: &Case, from: &OwnedFd) -> Verdict {
    if !sys::readable_before(from.as_fd(), case.deadline)? {
        return fail("nothing came to --status-fd");
    }
    equal("what came", nix::unistd::read(from, &mut [0; 8])?, 1)
}

fn has_pages(folder: &Path) -> Verdict<bool> {
    for entry in std::fs::read_dir(folder)? {
        if entry?.file_name().to_string_lossy().starts_with("pages-") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// As a migration does: memory goes to the other host by the network, the rest as files.
fn memory_goes_to_a_page_server(case: &Case) -> Verdict {
    need_criu(case)?;
    let there = case.folder("there")?;
    let mut bundle = case.bundle()?;
    let mut container = started(case, &mut bundle)?;
    equal("the count", container.ask_one(Ask::Count)?.number()?, 1)?;
    let address = own_address();
    let (ready, said) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    let mut command = Command::new("criu");
    command.args(["page-server", "--address", &address, "--port", PORT]);
    command
        .args(["--status-fd", "7", "--images-dir"])
        .arg(&there);
    sys::give_fd(&mut command, said, 7);
    let server = Server::start(&mut command)?;
    drop(command);
    wait_for_word(case, &ready)?;
    let flags = ["--page-server", &format!("{address}:{PORT}")];
    checkpoint(case, &case.id, &flags).run()?.succeeded()?;
    drop(container);
    server.ended_well(case)?;
    holds(!has_pages(&images(case))?, "there are pages in the images")?;
    holds(has_pages(&there)?, "the server has no pages")?;
    for entry in std::fs::read_dir(&there)? {
        let entry = entry?;
        std::fs::copy(entry.path(), images(case).join(entry.file_name()))?;
    }
    let mut restored = case.create_with(restore(case, &bundle, &["--detach"]), &case.id)?;
    equal("the count", restored.ask_one(Ask::Count)?.number()?, 2)
}

fn a_page_server_that_is_not_there_is_an_error_and_the_payload_goes_on(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    let mut container = started(case, &mut bundle)?;
    let server = format!("{}:{PORT}", own_address());
    for server in [server.as_str(), "27027", "127.0.0.1:", "127.0.0.1:70000"] {
        checkpoint(case, &case.id, &["--page-server", server])
            .run()?
            .refused()?;
        equal("status", container.status()?, "running")?;
    }
    container.ask_one(Ask::Count)?.number().map(drop)
}

/// A dump that serves its pages asks for a pipe of 819 pages, which become 4 MiB, goes on without it
/// when that fails, and loses its way then: page-pipe.c of CRIU 4.1.
fn need_large_pipes() -> Verdict {
    const CAP_SYS_RESOURCE: u32 = 24;
    const NEEDED: u64 = 4 << 20;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    let largest = std::fs::read_to_string("/proc/sys/fs/pipe-max-size")?;
    let largest: u64 = largest.trim().parse().unwrap_or_default();
    if effective.is_some_and(|set| set >> CAP_SYS_RESOURCE & 1 == 1) || largest >= NEEDED {
        return Ok(());
    }
    skip(
        "criu serves pages by a pipe of 4 MiB: that takes CAP_SYS_RESOURCE or fs.pipe-max-size=4194304",
    )
}

/// Skips where CRIU itself gave up serving: no runtime can do more than it.
fn server_works(case: &Case) -> Verdict {
    let log = std::fs::read_to_string(images(case).join("dump.log")).unwrap_or_default();
    match log.lines().find(|line| line.contains("Error (criu/page-")) {
        Some(line) => skip(format!("criu fails to serve its pages: {line}")),
        None => Ok(()),
    }
}

/// The dump serves its pages until they have been fetched, as a migration between two hosts does.
fn memory_may_come_later_from_the_dump_itself(case: &Case) -> Verdict {
    need_criu(case)?;
    let asked = ["check", "--feature", "uffd-noncoop"];
    if !Command::new("criu").args(asked).output()?.status.success() {
        return skip("this kernel has no userfaultfd for CRIU");
    }
    need_large_pipes()?;
    let mut bundle = case.bundle()?;
    let mut container = started(case, &mut bundle)?;
    equal("the count", container.ask_one(Ask::Count)?.number()?, 1)?;
    let address = own_address();
    let server = format!("{address}:{PORT}");
    let (ready, said) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    let flags = ["--lazy-pages", "--page-server", &server, "--status-fd", "7"];
    let saving = checkpoint(case, &case.id, &flags).fd(said, 7).start()?;
    wait_for_word(case, &ready)?;
    let work = case.folder("pages")?;
    let mut command = Command::new("criu");
    command.args(["lazy-pages", "--page-server", "--address", &address]);
    command
        .args(["--port", PORT, "--images-dir"])
        .arg(images(case));
    let pages = Server::start(command.arg("--work-dir").arg(&work))?;
    let socket = work.join("lazy-pages.socket");
    case.wait_for("the pages' socket", || Ok(socket.exists().then_some(())))?;
    // While the dump serves, the id is still its.
    let id = format!("{}-there", case.id);
    let call = case.runtime(["restore", "--detach", "--lazy-pages", "--image-path"]);
    let call = call.arg(images(case)).arg("--work-path").arg(&work);
    let call = call.arg("--bundle").arg(&bundle.dir).arg(&id);
    let restored = case.create_with(call, &id);
    let counted = restored.and_then(|mut restored| restored.ask_one(Ask::Count)?.number());
    if counted.is_err() {
        server_works(case)?;
    }
    equal("the count", counted?, 2)?;
    pages.ended_well(case)?;
    saving.wait()?.succeeded().map(drop)
}
