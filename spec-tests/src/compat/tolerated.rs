//! What stands in the config.json of engines and of people, and means the same to runc and crun

use serde_json::{Value, json};

use crate::harness::case::Case;
use crate::harness::container::mount_at;
use crate::harness::verdict::{Doing, Verdict, equal, holds};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "config.md#mounts" Compat a_tmpfs_where_nothing_was_is_open_to_all_users;
    "config.md#mounts" Compat several_options_in_one_string_count;
    "config.md#mounts" Compat options_for_a_file_system_do_not_matter_to_a_bind_mount;
    "config.md#mounts" Compat a_tmpfs_on_a_file_is_an_error_that_says_so;
    "config.md#posix-process" Compat without_path_the_working_directory_is_not_searched;
    "config.md#posix-platform-user" Compat a_user_of_null_is_root;
    "config.md#posix-platform-user" Compat of_a_umask_the_permission_bits_count;
    "config.md#posix-platform-hooks" Compat a_hooks_environment_may_hold_what_is_no_variable;
    "config-linux.md#rootfs-mount-propagation" Compat the_propagation_of_the_root_is_the_roots_alone;
}

fn tmpfs(destination: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options})
}

fn a_tmpfs_where_nothing_was_is_open_to_all_users(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.mount(tmpfs("/was/not/there", &["nosuid", "size=64k"]));
    let answer = case.run_one(&mut bundle, Ask::Stat("/was/not/there".into()))?;
    equal("its mode", answer.stat()?.mode, 0o1777)
}

fn several_options_in_one_string_count(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.mount(tmpfs("/at", &["nodev", "mode=1750,size=128k"]));
    let answers = case.run(&mut bundle, &[Ask::Stat("/at".into()), Ask::Mounts])?;
    equal("the mode", answers[0].stat()?.mode, 0o1750)?;
    let data = &mount_at(answers[1].mounts()?, "/at")?.data;
    holds(
        data.iter().any(|word| word == "size=128k"),
        format!("size=128k is not in {data:?}"),
    )
}

fn options_for_a_file_system_do_not_matter_to_a_bind_mount(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let source = case.folder("source")?;
    std::fs::write(source.join("name"), "text")?;
    bundle.bind(&source, "/at", &["mode=777", "x-unknown"]);
    let answer = case.run_one(&mut bundle, Ask::Read("/at/name".into()))?;
    equal("/at/name", answer.text()?, "text")
}

/// docker turns these words into status 127 and asks whether a directory was meant.
fn a_tmpfs_on_a_file_is_an_error_that_says_so(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    std::fs::write(bundle.inside("/file"), "")?;
    bundle.mount(tmpfs("/file", &[]));
    let outcome = case.create_refused(&bundle)?;
    let words = outcome.stderr.to_lowercase();
    holds(words.contains("not a directory"), words)
}

fn without_path_the_working_directory_is_not_searched(case: &Case) -> Verdict {
    for env in [json!([]), json!(["PATH="])] {
        let mut bundle = case.bundle()?;
        bundle.process()["env"] = env;
        bundle.process()["cwd"] = json!("/bin");
        bundle.args(&["probe", "exit", "0"]);
        case.create_refused(&bundle)?;
    }
    Ok(())
}

fn a_user_of_null_is_root(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.process()["user"] = Value::Null;
    let process = case.run_process(&mut bundle)?;
    equal("uid and gid", (process.uid, process.gid), (0, 0))
}

fn of_a_umask_the_permission_bits_count(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.process()["user"]["umask"] = json!(0o7027);
    equal("umask", case.run_process(&mut bundle)?.umask, 0o027)
}

fn a_hooks_environment_may_hold_what_is_no_variable(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let mark = case.dir.join("mark");
    let hook = json!({
        "path": "/bin/sh",
        "args": ["sh", "-c", format!("echo $VALUE > {}", mark.display())],
        "env": ["bare", "VALUE=seen"],
    });
    bundle.config["hooks"] = json!({"createRuntime": [hook]});
    case.run_process(&mut bundle)?;
    let text = std::fs::read_to_string(&mark).doing("what the hook wrote")?;
    equal("VALUE", text.trim_end(), "seen")
}

fn the_propagation_of_the_root_is_the_roots_alone(case: &Case) -> Verdict {
    case.need_root()?;
    let mut bundle = case.bundle()?;
    bundle.linux()["rootfsPropagation"] = json!("unbindable");
    let answer = case.run_one(&mut bundle, Ask::Mounts)?;
    let mounts = answer.mounts()?;
    let propagation_of_root = &mount_at(mounts, "/")?.propagation;
    equal("propagation of /", propagation_of_root, &["unbindable"])?;
    equal(
        "propagation of /dev",
        &mount_at(mounts, "/dev")?.propagation,
        &[""; 0],
    )
}
