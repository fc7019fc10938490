//! Every value of every golden config.json replaced by values that nobody meant: reading and
//! planning end in a plan or in an error with words, never in a panic.

use serde_json::{Value, json};

use super::{config, podman, root, user};
use crate::bundle::{Bundle, example, example_for};
use crate::error::Kind;
use crate::host::Host;
use crate::plan::{CreateOptions, Plan};

fn strange_values() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(-1),
        json!(u64::MAX),
        json!(1.5e300),
        json!(""),
        json!("\0"),
        json!("../../.."),
        json!("0-18446744073709551615"),
        json!("x".repeat(5000)),
        json!([]),
        json!([[], {}, null, "\u{1F4A5}"]),
        json!({}),
        json!({"": {"": null}}),
    ]
}

/// The pointer of every value below `value`.
fn pointers(value: &Value, here: &str, all: &mut Vec<String>) {
    all.push(here.to_owned());
    match value {
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                pointers(item, &format!("{here}/{n}"), all);
            }
        }
        Value::Object(fields) => {
            for (key, field) in fields {
                let key = key.replace('~', "~0").replace('/', "~1");
                pointers(field, &format!("{here}/{key}"), all);
            }
        }
        _ => {}
    }
}

#[test]
fn no_config_is_strange_enough_for_a_panic() {
    let hosts = [root(), user(), podman()];
    let values = strange_values();
    let configs = [
        example(false),
        example_for(1000, 1000),
        config("podman-rootless"),
        config("pod-member"),
        config("containerd"),
    ];
    for text in configs {
        let good: Value = serde_json::from_str(&text).unwrap();
        let mut all = Vec::new();
        pointers(&good, "", &mut all);
        for (n, pointer) in all.iter().enumerate() {
            // Each place gets a few of the values, and neighbours get others: all of them
            // everywhere would take ten seconds.
            for strange in values.iter().skip(n % 4).step_by(4) {
                let mut config = good.clone();
                *config.pointer_mut(pointer).unwrap() = strange.clone();
                plan(&config, &hosts[n % hosts.len()], pointer);
            }
        }
    }
}

fn plan(config: &Value, host: &Host, pointer: &str) {
    let options = CreateOptions {
        id: "web".into(),
        ..CreateOptions::default()
    };
    let plan = Bundle::from_config(config.to_string().into_bytes(), "/bundle".into())
        .and_then(|bundle| Plan::for_create(&bundle, &options, host));
    if let Err(error) = plan {
        assert!(
            matches!(error.kind(), Kind::Invalid | Kind::Unsupported),
            "{error}"
        );
        let text = error.to_string();
        assert!(!text.contains(char::is_control), "{pointer}: {text:?}");
        assert!(text.len() < 8000, "{pointer}: {} bytes", text.len());
    }
}
