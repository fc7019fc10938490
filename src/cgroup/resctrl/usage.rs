//! What a container has of caches and memory bandwidth, and what it uses, in the JSON of runc's
//! `events`.
//!
//! Runs in: parent.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::state::ResctrlRecord;

/// All of it. What the processor does not have, or does not count, is left out.
pub fn read(record: &ResctrlRecord) -> Value {
    // The class, and the group that counts for the container alone if there is one.
    let (Some(class), Some(monitor)) = (record.enter.first(), record.enter.last()) else {
        return json!({});
    };
    let mut all = Map::new();
    if let Some(root) = class.ancestors().find(|path| path.join("info").is_dir()) {
        let numbers = ["min_cbm_bits", "num_closids"];
        let mut cache = info(&root.join("info/L3"), &numbers);
        if let Some(mask) = text(&root.join("info/L3/cbm_mask")) {
            cache.insert("cbm_mask".into(), mask.into());
        }
        put(&mut all, "l3_cache_info", cache.into());
        put(&mut all, "l3_cache_schema_root", schema(root, "L3"));
        let numbers = [
            "bandwidth_gran",
            "delay_linear",
            "min_bandwidth",
            "num_closids",
        ];
        let bandwidth = info(&root.join("info/MB"), &numbers);
        put(&mut all, "mem_bw_info", bandwidth.into());
        put(&mut all, "mem_bw_schema_root", schema(root, "MB"));
    }
    put(&mut all, "l3_cache_schema", schema(class, "L3"));
    put(&mut all, "mem_bw_schema", schema(class, "MB"));
    let counts = monitor.join("mon_data");
    let bandwidth = ["mbm_total_bytes", "mbm_local_bytes"];
    put(&mut all, "mbm_stats", domains(&counts, &bandwidth));
    put(&mut all, "cmt_stats", domains(&counts, &["llc_occupancy"]));
    all.into()
}

fn put(all: &mut Map<String, Value>, key: &str, value: Value) {
    let is_empty = match &value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    };
    if !is_empty {
        all.insert(key.to_owned(), value);
    }
}

fn text(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    Some(text.trim().to_owned())
}

/// The files of `folder` that hold a number, by their names.
fn info(folder: &Path, names: &[&str]) -> Map<String, Value> {
    let number = |name: &&str| {
        let number: u64 = text(&folder.join(name))?.parse().ok()?;
        Some(((*name).to_owned(), number.into()))
    };
    names.iter().filter_map(number).collect()
}

/// The line of a group's schemata about one resource, `L3:0=fff`.
fn schema(group: &Path, resource: &str) -> Value {
    let text = text(&group.join("schemata")).unwrap_or_default();
    let line = text.lines().map(str::trim).find(|line| {
        let name = line.split(':').next().unwrap_or_default();
        // L3CODE and L3DATA where the cache keeps the two apart.
        name.starts_with(resource)
    });
    line.map_or(Value::Null, Value::from)
}

/// What is counted in each domain, `mon_L3_00` and so on, in their order.
fn domains(folder: &Path, names: &[&str]) -> Value {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    let counted = paths.iter().map(|path| info(path, names));
    let counted = counted.filter(|counts| !counts.is_empty());
    counted.map(Value::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_processor_has_is_told_by_runcs_names() {
        let root = std::env::temp_dir().join(format!("rt-resctrl-usage-{}", std::process::id()));
        for (file, content) in [
            ("info/L3/cbm_mask", "7ff\n"),
            ("info/L3/min_cbm_bits", "1\n"),
            ("info/L3/num_closids", "16\n"),
            ("schemata", "    L3:0=7ff\n"),
            ("gold/schemata", "    L3:0=00f\n"),
            (
                "gold/mon_groups/web/mon_data/mon_L3_01/llc_occupancy",
                "8\n",
            ),
            (
                "gold/mon_groups/web/mon_data/mon_L3_00/llc_occupancy",
                "7\n",
            ),
            (
                "gold/mon_groups/web/mon_data/mon_L3_00/mbm_total_bytes",
                "Unavailable\n",
            ),
        ] {
            let file = root.join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, content).unwrap();
        }
        let record = ResctrlRecord {
            enter: vec![root.join("gold"), root.join("gold/mon_groups/web")],
            remove: Vec::new(),
        };
        assert_eq!(
            read(&record),
            json!({
                "l3_cache_info": {"cbm_mask": "7ff", "min_cbm_bits": 1, "num_closids": 16},
                "l3_cache_schema_root": "L3:0=7ff",
                "l3_cache_schema": "L3:0=00f",
                "cmt_stats": [{"llc_occupancy": 7}, {"llc_occupancy": 8}],
            })
        );
        assert_eq!(read(&ResctrlRecord::default()), json!({}));
        std::fs::remove_dir_all(root).unwrap();
    }
}
