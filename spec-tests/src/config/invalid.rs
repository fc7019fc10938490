//! config.md: what is no valid configuration is refused before anything exists

use serde_json::{Value, json};

use crate::harness::case::Case;
use crate::harness::verdict::{Verdict, fail};
use crate::tests;

tests! {
    "bundle.md#container-format" Must a_bundle_without_config_is_an_error;
    "config.md#configuration" Must config_that_is_not_json_is_an_error;
    "config.md#configuration" Must an_empty_config_is_an_error;
    "config.md#specification-version" Must a_missing_version_is_an_error;
    "config.md#root" Must an_empty_root_path_is_an_error;
    "config.md#process" Must missing_args_are_an_error;
    "config.md#process" Must empty_args_are_an_error;
    "config.md#process" Must a_missing_cwd_is_an_error;
    "config.md#valid-values" Must wrong_types_are_errors;
    "config.md#mounts" Must a_mount_without_destination_is_an_error;
    "config.md#posix-platform-hooks" Must a_hook_without_an_absolute_path_is_an_error;
    "config.md#posix-platform-hooks" Must a_hook_without_time_is_an_error;
    "config-linux.md#personality" Must an_unknown_personality_is_an_error;
    "config-linux.md#seccomp" Must metadata_for_no_listener_is_an_error;
    "config-linux.md#masked-paths" Must a_relative_masked_path_is_an_error;
    "config-linux.md#readonly-paths" Must a_relative_readonly_path_is_an_error;
    "config.md#configuration" Must an_unreadable_config_is_an_error;
}

fn a_bundle_without_config_is_an_error(case: &Case) -> Verdict {
    let bundle = case.bundle()?;
    case.runtime(["create", "--bundle"])
        .arg(&bundle.dir)
        .arg(&case.id)
        .run()?
        .refused()
        .map(drop)
}

fn refused_text(case: &Case, text: &str) -> Verdict {
    let bundle = case.bundle()?;
    bundle.write_text(text)?;
    let outcome = case
        .runtime(["create", "--bundle"])
        .arg(&bundle.dir)
        .arg(&case.id)
        .run()?
        .refused()?;
    if case.ids_in_state().is_empty() {
        Ok(())
    } else {
        fail(format!("there is state after: {}", outcome.told()))
    }
}

fn config_that_is_not_json_is_an_error(case: &Case) -> Verdict {
    refused_text(case, "{\"ociVersion\": \"1.0.2\", \"root\": {")
}

fn an_empty_config_is_an_error(case: &Case) -> Verdict {
    refused_text(case, "{}")
}

/// The default configuration with one change must be refused.
fn refused_with(case: &Case, change: impl FnOnce(&mut Value)) -> Verdict {
    let mut bundle = case.bundle()?;
    change(&mut bundle.config);
    case.create_refused(&bundle).map(drop)
}

fn remove(object: &mut Value, key: &str) {
    if let Some(object) = object.as_object_mut() {
        object.remove(key);
    }
}

fn a_missing_version_is_an_error(case: &Case) -> Verdict {
    refused_with(case, |config| remove(config, "ociVersion"))
}

fn an_empty_root_path_is_an_error(case: &Case) -> Verdict {
    refused_with(case, |config| config["root"]["path"] = json!(""))
}

fn missing_args_are_an_error(case: &Case) -> Verdict {
    refused_with(case, |config| remove(&mut config["process"], "args"))
}

fn empty_args_are_an_error(case: &Case) -> Verdict {
    refused_with(case, |config| config["process"]["args"] = json!([]))
}

fn a_missing_cwd_is_an_error(case: &Case) -> Verdict {
    refused_with(case, |config| remove(&mut config["process"], "cwd"))
}

fn wrong_types_are_errors(case: &Case) -> Verdict {
    let changes: [(&str, &str, Value); 6] = [
        ("/process", "args", json!("not a list")),
        ("/process", "env", json!({"A": "b"})),
        ("/process/user", "uid", json!("root")),
        ("/root", "path", json!(7)),
        ("", "mounts", json!({"destination": "/x"})),
        ("/linux", "namespaces", json!("pid")),
    ];
    for (number, (place, key, value)) in changes.into_iter().enumerate() {
        let mut bundle = case.bundle_named(&format!("bundle{number}"))?;
        if let Some(object) = bundle.config.pointer_mut(place) {
            object[key] = value;
        }
        case.create_refused(&bundle)?;
    }
    Ok(())
}

fn a_mount_without_destination_is_an_error(case: &Case) -> Verdict {
    refused_with(case, |config| {
        config["mounts"][1] = json!({"type": "tmpfs", "source": "tmpfs"})
    })
}

fn a_hook_without_an_absolute_path_is_an_error(case: &Case) -> Verdict {
    refused_with(case, |config| {
        config["hooks"] = json!({"createRuntime": [{"path": "bin/true"}]})
    })
}

fn a_hook_without_time_is_an_error(case: &Case) -> Verdict {
    refused_with(case, |config| {
        config["hooks"] = json!({"createRuntime": [{"path": "/bin/true", "timeout": 0}]})
    })
}

fn an_unknown_personality_is_an_error(case: &Case) -> Verdict {
    refused_with(case, |config| {
        config["linux"]["personality"] = json!({"domain": "LINUX64"})
    })
}

fn metadata_for_no_listener_is_an_error(case: &Case) -> Verdict {
    refused_with(
        case,
        |config| {
            config["linux"]["seccomp"] =
                json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "nobody"})
        },
    )
}

fn a_relative_masked_path_is_an_error(case: &Case) -> Verdict {
    refused_with(case, |config| {
        config["linux"]["maskedPaths"] = json!(["proc/kcore"])
    })
}

fn a_relative_readonly_path_is_an_error(case: &Case) -> Verdict {
    refused_with(case, |config| {
        config["linux"]["readonlyPaths"] = json!(["proc/sys"])
    })
}

fn an_unreadable_config_is_an_error(case: &Case) -> Verdict {
    case.need_rootless()?;
    let bundle = case.bundle()?;
    bundle.write()?;
    let path = bundle.dir.join("config.json");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o000))?;
    case.runtime(["create", "--bundle"])
        .arg(&bundle.dir)
        .arg(&case.id)
        .run()?
        .refused()
        .map(drop)
}
