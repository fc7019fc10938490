//! Fields of config.json that are not the specification's.
//!
//! SPEC: config.md#extensibility: they are no error. Where warnings are shown, each gets one.
//!
//! Runs in: parent.

use serde::de::value::Error as Stop;
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use serde_json::Value;

use super::checks::{place_in_words, pointer_part};
use super::{config, linux, resources};
use crate::seccomp::{Condition, Profile, Rule};

/// The names that the type has in JSON.
fn fields<T: for<'a> Deserialize<'a>>() -> &'static [&'static str] {
    let mut found: &'static [&'static str] = &[];
    // Asked for a value, a struct's reader first says which fields it wants.
    let _ = T::deserialize(Fields(&mut found));
    found
}

struct Fields<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Fields<'_> {
    type Error = Stop;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stop> {
        Err(Stop::custom("no value"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Stop> {
        *self.0 = fields;
        Err(Stop::custom("no value"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        option unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier
        ignored_any
    }
}

type Names = fn() -> &'static [&'static str];

/// Every object with fields of its own, by its place; `*` is any index or key.
const OBJECTS: &[(&str, Names)] = &[
    ("", fields::<config::Config>),
    ("/root", fields::<config::Root>),
    ("/mounts/*", fields::<config::Mount>),
    ("/mounts/*/uidMappings/*", fields::<linux::IdMapping>),
    ("/mounts/*/gidMappings/*", fields::<linux::IdMapping>),
    ("/process", fields::<config::Process>),
    ("/process/user", fields::<config::User>),
    ("/process/consoleSize", fields::<config::ConsoleSize>),
    ("/process/capabilities", fields::<config::Capabilities>),
    ("/process/rlimits/*", fields::<config::Rlimit>),
    ("/process/scheduler", fields::<config::Scheduler>),
    ("/process/ioPriority", fields::<config::IoPriority>),
    ("/process/execCPUAffinity", fields::<config::CpuAffinity>),
    ("/hooks", fields::<config::Hooks>),
    ("/hooks/*/*", fields::<config::Hook>),
    ("/linux", fields::<linux::Linux>),
    ("/linux/namespaces/*", fields::<linux::Namespace>),
    ("/linux/uidMappings/*", fields::<linux::IdMapping>),
    ("/linux/gidMappings/*", fields::<linux::IdMapping>),
    ("/linux/timeOffsets/*", fields::<linux::TimeOffset>),
    ("/linux/devices/*", fields::<linux::Device>),
    ("/linux/netDevices/*", fields::<linux::NetDevice>),
    ("/linux/personality", fields::<linux::Personality>),
    ("/linux/intelRdt", fields::<linux::IntelRdt>),
    ("/linux/memoryPolicy", fields::<linux::MemoryPolicy>),
    ("/linux/seccomp", fields::<Profile>),
    ("/linux/seccomp/syscalls/*", fields::<Rule>),
    ("/linux/seccomp/syscalls/*/args/*", fields::<Condition>),
    ("/linux/resources", fields::<resources::Resources>),
    (
        "/linux/resources/devices/*",
        fields::<resources::DeviceRule>,
    ),
    ("/linux/resources/memory", fields::<resources::Memory>),
    ("/linux/resources/cpu", fields::<resources::Cpu>),
    ("/linux/resources/pids", fields::<resources::Pids>),
    ("/linux/resources/blockIO", fields::<resources::BlockIo>),
    (
        "/linux/resources/blockIO/weightDevice/*",
        fields::<resources::WeightDevice>,
    ),
    (
        "/linux/resources/blockIO/throttleReadBpsDevice/*",
        fields::<resources::ThrottleDevice>,
    ),
    (
        "/linux/resources/blockIO/throttleWriteBpsDevice/*",
        fields::<resources::ThrottleDevice>,
    ),
    (
        "/linux/resources/blockIO/throttleReadIOPSDevice/*",
        fields::<resources::ThrottleDevice>,
    ),
    (
        "/linux/resources/blockIO/throttleWriteIOPSDevice/*",
        fields::<resources::ThrottleDevice>,
    ),
    (
        "/linux/resources/hugepageLimits/*",
        fields::<resources::HugepageLimit>,
    ),
    ("/linux/resources/network", fields::<resources::Network>),
    ("/linux/resources/rdma/*", fields::<resources::Rdma>),
];

/// One warning for each unknown field of `source`.
pub fn warnings(source: &[u8]) -> Vec<String> {
    let Ok(config) = serde_json::from_slice(source) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    look_into(&config, "", "", &mut found);
    let warning = |pointer: String| {
        format!(
            "config.json: {}: an unknown field, left alone",
            place_in_words(&pointer)
        )
    };
    found.into_iter().map(warning).collect()
}

/// `pattern` is the pointer with `*` for what is no field.
fn look_into(value: &Value, pointer: &str, pattern: &str, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                look_into(
                    item,
                    &format!("{pointer}/{n}"),
                    &format!("{pattern}/*"),
                    found,
                );
            }
        }
        Value::Object(entries) => {
            let known = OBJECTS.iter().find(|(place, _)| matches(place, pattern));
            for (key, entry) in entries {
                let here = format!("{pointer}/{}", pointer_part(key));
                match known {
                    Some((_, names)) if !names().contains(&key.as_str()) => found.push(here),
                    _ => look_into(
                        entry,
                        &here,
                        &format!("{pattern}/{}", pointer_part(key)),
                        found,
                    ),
                }
            }
        }
        _ => {}
    }
}

/// Whether config.json has an object with fields of its own there.
pub fn is_object(pointer: &str) -> bool {
    OBJECTS.iter().any(|(place, _)| matches(place, pointer))
}

#[cfg(test)]
pub fn places() -> impl Iterator<Item = &'static str> {
    OBJECTS.iter().map(|(place, _)| *place)
}

/// Whether the place fits, `*` standing for any one part.
fn matches(place: &str, pattern: &str) -> bool {
    let (mut place, mut pattern) = (place.split('/'), pattern.split('/'));
    loop {
        match (place.next(), pattern.next()) {
            (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(a), Some(b)) if a == b => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A config with an object, and in it an unknown field, at every place.
    fn with_unknown_fields() -> Value {
        let mut config = json!({"linux": {"seccomp": {
            "defaultAction": "SCMP_ACT_LOG",
            "syscalls": [{
                "names": ["read"],
                "action": "SCMP_ACT_LOG",
                "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}],
            }],
        }}});
        for (place, _) in OBJECTS {
            insert(&mut config, place);
        }
        config
    }

    fn insert(value: &mut Value, place: &str) {
        let Some(rest) = place.strip_prefix('/') else {
            value["unknown"] = json!(1);
            return;
        };
        let (part, rest) = match rest.find('/') {
            Some(at) => (&rest[..at], &rest[at..]),
            None => (rest, ""),
        };
        const TABLES: [&str; 4] = ["timeOffsets", "netDevices", "rdma", "hooks"];
        let is_list = rest.starts_with("/*") && !TABLES.contains(&part);
        let below = match (part, &mut *value) {
            ("*", Value::Array(items)) => {
                if items.is_empty() {
                    items.push(json!({}));
                }
                &mut items[0]
            }
            ("*", table) => match table.get("prestart").is_some() || rest == "/*" {
                true => &mut table["prestart"],
                false => &mut table["key"],
            },
            (field, table) => &mut table[field],
        };
        if below.is_null() {
            *below = if is_list || (part == "*" && rest == "/*") {
                json!([])
            } else {
                json!({})
            };
        }
        insert(below, rest);
    }

    /// `serde_ignored` follows the parser itself; it has to find the same.
    #[test]
    fn an_unknown_field_is_found_wherever_it_is() {
        let source = with_unknown_fields().to_string();
        let mut theirs = 0;
        let mut deserializer = serde_json::Deserializer::from_str(&source);
        serde_ignored::deserialize::<_, _, config::Config>(&mut deserializer, |_| theirs += 1)
            .unwrap();
        let ours = warnings(source.as_bytes());
        assert_eq!(
            (ours.len(), ours.len()),
            (theirs, OBJECTS.len()),
            "{ours:#?}"
        );
        assert!(ours.contains(
            &"config.json: mounts[0].uidMappings[0].unknown: an unknown field, left alone".into()
        ));
    }

    #[test]
    fn what_is_known_or_nobodys_business_gets_no_warning() {
        let source = crate::bundle::example(false);
        assert_eq!(warnings(source.as_bytes()), [""; 0]);
        let foreign = json!({"annotations": {"x": "y"}, "windows": {"a": {"b": 1}},
            "linux": {"sysctl": {"net.x": "1"}, "resources": {"unified": {"memory.high": "1"}}}});
        assert_eq!(warnings(foreign.to_string().as_bytes()), [""; 0]);
    }
}
