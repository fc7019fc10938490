//! The id maps of a new user namespace: which ids, and who may write them.
//!
//! Runs in: parent.

use super::namespaces::{IdMapWriter, IdMaps, IdRange};
use crate::bundle::linux::{IdMapping, Linux};
use crate::error::{Error, Result};
use crate::host::{Host, Subordinate};

/// The maps of config.json, or for an ordinary user without any their own id as root
/// followed by their subordinate ids.
pub fn plan(linux: &Linux, host: &Host, warnings: &mut Vec<String>) -> Result<IdMaps> {
    let given = |maps: &[IdMapping]| -> Vec<IdRange> {
        let ranges = maps.iter().map(|map| IdRange {
            inside: map.container_id,
            outside: map.host_id,
            count: map.size,
        });
        ranges.collect()
    };
    let (uids, gids) = match (given(&linux.uid_mappings), given(&linux.gid_mappings)) {
        (uids, gids) if uids.is_empty() && gids.is_empty() => default_maps(host, warnings)?,
        maps => maps,
    };
    choose_writer(uids, gids, host)
}

fn default_maps(host: &Host, warnings: &mut Vec<String>) -> Result<(Vec<IdRange>, Vec<IdRange>)> {
    if host.may_map_ids() {
        return Err(Error::invalid(
            "linux.uidMappings: a new user namespace needs uidMappings and gidMappings",
        )
        .with_pointer("/linux/uidMappings"));
    }
    let none = Subordinate::default();
    let subordinate = host.subordinate.as_ref().unwrap_or(&none);
    if !subordinate.tools || subordinate.uids.is_empty() || subordinate.gids.is_empty() {
        let lack = if subordinate.tools {
            "/etc/subuid and /etc/subgid give no range to the user"
        } else {
            "newuidmap and newgidmap are not installed"
        };
        warnings.push(format!(
            "linux.uidMappings: none given and {lack}: only the user's own id is mapped"
        ));
        return Ok((map_from_zero(host.euid, &[]), map_from_zero(host.egid, &[])));
    }
    Ok((
        map_from_zero(host.euid, &subordinate.uids),
        map_from_zero(host.egid, &subordinate.gids),
    ))
}

/// Root is `own`; from 1 on come the ranges, as far as the numbers reach.
fn map_from_zero(own: u32, ranges: &[(u32, u32)]) -> Vec<IdRange> {
    let mut maps = vec![IdRange {
        inside: 0,
        outside: own,
        count: 1,
    }];
    let mut inside = 1_u32;
    for &(outside, count) in ranges {
        let count = count.min(u32::MAX - inside);
        if count > 0 {
            maps.push(IdRange {
                inside,
                outside,
                count,
            });
            inside += count;
        }
    }
    maps
}

/// SPEC: user_namespaces(7), "Defining user and group ID mappings".
fn choose_writer(uids: Vec<IdRange>, gids: Vec<IdRange>, host: &Host) -> Result<IdMaps> {
    let maps = |writer, deny_setgroups| IdMaps {
        uids: uids.clone(),
        gids: gids.clone(),
        writer,
        deny_setgroups,
    };
    if host.may_map_ids() {
        return Ok(maps(IdMapWriter::Direct, false));
    }
    let only =
        |ranges: &[IdRange], id| matches!(ranges, [one] if one.outside == id && one.count == 1);
    if only(&uids, host.euid) && only(&gids, host.egid) {
        return Ok(maps(IdMapWriter::Direct, true));
    }
    if host.subordinate.as_ref().is_some_and(|found| !found.tools) {
        return Err(Error::unsupported(
            "linux.uidMappings: mapping other ids than one's own takes newuidmap and newgidmap",
        )
        .with_pointer("/linux/uidMappings")
        .with_hint("install newuidmap and newgidmap (package uidmap or shadow-utils), or map only your own uid and gid"));
    }
    Ok(maps(IdMapWriter::Newidmap, false))
}
