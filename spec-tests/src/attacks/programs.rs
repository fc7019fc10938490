//! Overwriting the host's runtime through /proc/PID/exe

use std::path::Path;
use std::time::Duration;

use crate::harness::bundle::Bundle;
use crate::harness::call::Outcome;
use crate::harness::capability::{NAMES, have};
use crate::harness::case::Case;
use crate::harness::verdict::{Stop, Verdict, equal, fail};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "CVE-2019-5736" Attack exec_of_a_script_that_names_proc_self_exe_does_not_expose_the_runtime;
    "CVE-2019-5736" Attack exec_of_proc_self_exe_does_not_expose_the_runtime;
    "CVE-2019-5736" Attack a_payload_with_ptrace_cannot_write_to_the_runtime;
    "CVE-2019-5736" Attack an_entry_point_of_proc_self_exe_does_not_expose_the_runtime;
}

/// How often the runtime comes into the container in one test.
const ROUNDS: usize = 15;

/// As strong as a container can be made without leaving its namespaces.
fn all_capabilities(bundle: &mut Bundle) {
    let names: Vec<&str> = NAMES.iter().copied().filter(|name| have(name)).collect();
    bundle.capabilities(&names);
}

fn unchanged(binary: &Path, before: &[u8]) -> Verdict {
    if std::fs::read(binary)? == before {
        Ok(())
    } else {
        fail("the runtime's binary on the host was overwritten from inside")
    }
}

/// Runs `call` again where its program could not be executed because somebody is about to write to it. The kernel counts
/// a writer before it asks the mount, which then refuses it, so each attempt in vain may be in the way for a moment.
fn once_not_busy(call: impl Fn() -> Verdict<Outcome>) -> Verdict<Outcome> {
    for _ in 0..100 {
        match call() {
            Err(Stop::Fail(why)) if why.contains("Text file busy") => {}
            ended => return ended,
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    call()
}

/// While the payload tries to write to every program it sees, a copy of the runtime is executed into the container.
fn hijack(case: &Case, bundle: &mut Bundle, program: &str) -> Verdict {
    let copy = case.copy_of_runtime()?;
    let before = std::fs::read(&copy)?;
    bundle.own_probe(case)?;
    let mut container = case.started(bundle)?;
    container.tell(&[Ask::HijackPrograms { within_ms: 2500 }])?;
    for _ in 0..ROUNDS {
        // It fails or says something, and cannot even start when the attack has worked: the binary is what counts.
        let ended = once_not_busy(|| {
            case.runtime(["exec", &container.id, program])
                .program(&copy)
                .run()
        });
        unchanged(&copy, &before)?;
        ended?;
        std::thread::sleep(Duration::from_millis(5));
    }
    let written = crate::harness::container::parse_line(&container.line()?, 1)?[0].number()?;
    unchanged(&copy, &before)?;
    equal("programs that could be written to", written, 0)
}

fn exec_of_a_script_that_names_proc_self_exe_does_not_expose_the_runtime(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    all_capabilities(&mut bundle);
    bundle.file_with_mode("/bin/evil", "#!/proc/self/exe\n", 0o755)?;
    hijack(case, &mut bundle, "/bin/evil")
}

fn exec_of_proc_self_exe_does_not_expose_the_runtime(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    all_capabilities(&mut bundle);
    hijack(case, &mut bundle, "/proc/self/exe")
}

fn a_payload_with_ptrace_cannot_write_to_the_runtime(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    all_capabilities(&mut bundle);
    // An ordinary program: the runtime's own processes on the way to it are the target.
    bundle.symlink("probe", "/bin/ordinary")?;
    hijack(case, &mut bundle, "/bin/ordinary")
}

fn an_entry_point_of_proc_self_exe_does_not_expose_the_runtime(case: &Case) -> Verdict {
    let copy = case.copy_of_runtime()?;
    let before = std::fs::read(&copy)?;
    let mut bundle = case.bundle()?;
    all_capabilities(&mut bundle);
    bundle.own_probe(case)?;
    // The second container shares the first one's pid namespace and starts with /proc/self/exe.
    let mut first = case.create_named(&mut bundle, &format!("{}-1", case.id))?;
    first.start()?;
    first.ask_one(Ask::Process)?;
    let pid = first.pid()?;
    let mut second = case.bundle_named("second")?;
    second.join_namespace("pid", &format!("/proc/{pid}/ns/pid"));
    if !case.is_root() {
        second.join_namespace("user", &format!("/proc/{pid}/ns/user"));
        if let Some(linux) = second.linux().as_object_mut() {
            linux.remove("uidMappings");
            linux.remove("gidMappings");
        }
    }
    second.args(&["/proc/self/exe", "--help"]);
    first.tell(&[Ask::HijackPrograms { within_ms: 2500 }])?;
    for _ in 0..ROUNDS {
        let ended = once_not_busy(|| case.run_call(&second)?.program(&copy).run());
        unchanged(&copy, &before)?;
        ended?;
    }
    let written = crate::harness::container::parse_line(&first.line()?, 1)?[0].number()?;
    unchanged(&copy, &before)?;
    equal("programs that could be written to", written, 0)
}
