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
    let (uids, gids) = match (ranges(&linux.uid_mappings), ranges(&linux.gid_mappings)) {
        (uids, gids) if uids.is_empty() && gids.is_empty() => default_maps(host, warnings)?,
        maps => maps,
    };
    check_outer_ids("uid", &uids, &host.user_namespace.uid_map)?;
    check_outer_ids("gid", &gids, &host.user_namespace.gid_map)?;
    let writer = choose_writer(&uids, &gids, host)?;
    Ok(IdMaps { uids, gids, writer })
}

/// The maps of config.json where they are refused, for what follows from them.
pub fn as_given(linux: &Linux) -> Option<IdMaps> {
    let (uids, gids) = (ranges(&linux.uid_mappings), ranges(&linux.gid_mappings));
    let given = !uids.is_empty() && !gids.is_empty();
    given.then_some(IdMaps {
        uids,
        gids,
        writer: IdMapWriter::Newidmap,
    })
}

/// Lines of config.json.
pub fn ranges(maps: &[IdMapping]) -> Vec<IdRange> {
    let ranges = maps.iter().map(|map| IdRange {
        inside: map.container_id,
        outside: map.host_id,
        count: map.size,
    });
    ranges.collect()
}

/// Refuses host ids that mean nothing to the caller, who may live in a user namespace: the
/// kernel would say only "Operation not permitted".
fn check_outer_ids(what: &str, maps: &[IdRange], own: &[IdRange]) -> Result<()> {
    match first_unmapped(maps, own) {
        Some((n, id)) => Err(Error::invalid(format!(
            "linux.{what}Mappings[{n}].hostID: {id} is not mapped in the caller's own user namespace"
        ))
        .with_pointer(format!("/linux/{what}Mappings/{n}/hostID"))),
        None => Ok(()),
    }
}

/// The first id of the host in `maps` that the caller's own map does not know, with its line.
pub fn first_unmapped(maps: &[IdRange], own: &[IdRange]) -> Option<(usize, u64)> {
    for (n, map) in maps.iter().enumerate() {
        // A range may lie across lines of the outer map: each line takes what it covers.
        let mut next = u64::from(map.outside);
        let end = next + u64::from(map.count);
        while next < end {
            let line = own
                .iter()
                .find(|line| u32::try_from(next).is_ok_and(|id| line.contains_inside(id)));
            let Some(line) = line else {
                return Some((n, next));
            };
            next = u64::from(line.inside) + u64::from(line.count);
        }
    }
    None
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
fn choose_writer(uids: &[IdRange], gids: &[IdRange], host: &Host) -> Result<IdMapWriter> {
    if host.may_map_ids() {
        return Ok(IdMapWriter::Parent);
    }
    let only =
        |ranges: &[IdRange], id| matches!(ranges, [one] if one.outside == id && one.count == 1);
    if only(uids, host.euid) && only(gids, host.egid) {
        return Ok(IdMapWriter::Itself);
    }
    let Some(subordinate) = &host.subordinate else {
        return Ok(IdMapWriter::Newidmap);
    };
    if !subordinate.tools {
        return Err(Error::unsupported(
            "linux.uidMappings: mapping other ids than one's own takes newuidmap and newgidmap",
        )
        .with_pointer("/linux/uidMappings")
        .with_hint("install newuidmap and newgidmap (package uidmap or shadow-utils), or map only your own uid and gid"));
    }
    check_subordinate(
        &SUBUID,
        uids,
        host.euid,
        &subordinate.uids,
        &subordinate.user,
    )?;
    check_subordinate(
        &SUBGID,
        gids,
        host.egid,
        &subordinate.gids,
        &subordinate.user,
    )?;
    Ok(IdMapWriter::Newidmap)
}

/// A kind of subordinate ids, as messages name it.
struct Subids {
    what: &'static str,
    file: &'static str,
    option: &'static str,
}

const SUBUID: Subids = Subids {
    what: "uid",
    file: "/etc/subuid",
    option: "--add-subuids",
};

const SUBGID: Subids = Subids {
    what: "gid",
    file: "/etc/subgid",
    option: "--add-subgids",
};

/// Refuses what newuidmap(1) would: ids that are neither the user's own nor subordinate.
fn check_subordinate(
    kind: &Subids,
    maps: &[IdRange],
    own: u32,
    ranges: &[(u32, u32)],
    user: &str,
) -> Result<()> {
    for (n, map) in maps.iter().enumerate() {
        let mut next = u64::from(map.outside);
        let end = next + u64::from(map.count);
        while next < end {
            let covers = |&&(first, count): &&(u32, u32)| {
                (u64::from(first)..u64::from(first) + u64::from(count)).contains(&next)
            };
            next = match ranges.iter().find(covers) {
                Some(&(first, count)) => u64::from(first) + u64::from(count),
                None if next == u64::from(own) => next + 1,
                None => return Err(not_subordinate(kind, n, next, ranges, user)),
            };
        }
    }
    Ok(())
}

fn not_subordinate(kind: &Subids, n: usize, id: u64, ranges: &[(u32, u32)], user: &str) -> Error {
    let Subids { what, file, option } = kind;
    let has: Vec<String> = ranges
        .iter()
        .map(|(first, count)| format!("{first}:{count}"))
        .collect();
    let has = match has.is_empty() {
        true => "no range".to_owned(),
        false => has.join(", "),
    };
    // Which numbers are free only root can know; to name some could hand out another's ids.
    Error::unsupported(format!(
        "linux.{what}Mappings[{n}]: host {what} {id} is not {user}'s to map: {file} gives {has}"
    ))
    .with_pointer(format!("/linux/{what}Mappings/{n}"))
    .with_hint(format!(
        "map your own {what} and what {file} gives; root adds a range by usermod {option} FIRST-LAST {user}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::example_for;
    use crate::plan::golden::{self, range};

    fn linux(maps: &[(u32, u32, u32)]) -> Linux {
        let map = |&(container_id, host_id, size): &(u32, u32, u32)| IdMapping {
            container_id,
            host_id,
            size,
        };
        let maps: Vec<IdMapping> = maps.iter().map(map).collect();
        Linux {
            uid_mappings: maps.clone().into(),
            gid_mappings: maps.into(),
            ..Linux::default()
        }
    }

    fn plan_of(maps: &[(u32, u32, u32)], host: &Host) -> Result<IdMaps> {
        plan(&linux(maps), host, &mut Vec::new())
    }

    #[test]
    fn who_writes_the_maps_depends_on_rights_and_ranges() {
        let cases = [
            (golden::root(), vec![(0, 2000, 1000)], IdMapWriter::Parent),
            (golden::user(), vec![(0, 1000, 1)], IdMapWriter::Itself),
            (golden::user(), vec![(7, 1000, 1)], IdMapWriter::Itself),
            (golden::user(), vec![(0, 100_000, 1)], IdMapWriter::Newidmap),
            (
                golden::user(),
                vec![(0, 1000, 1), (1, 100_000, 9)],
                IdMapWriter::Newidmap,
            ),
            (golden::podman(), vec![(0, 1, 65_536)], IdMapWriter::Parent),
        ];
        for (host, maps, writer) in cases {
            let plan = plan_of(&maps, &host).unwrap();
            assert_eq!(plan.writer, writer, "{maps:?}");
        }
    }

    #[test]
    fn a_range_may_lie_across_the_lines_of_the_outer_map() {
        // podman() maps 0 and, by a second line, 1 to 65536.
        assert!(plan_of(&[(0, 0, 65_537)], &golden::podman()).is_ok());
        let error = plan_of(&[(0, 0, 65_538)], &golden::podman()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "linux.uidMappings[0].hostID: 65537 is not mapped in the caller's own user namespace"
        );
    }

    #[test]
    fn without_the_tools_only_the_own_id_is_mapped() {
        let mut host = golden::user();
        host.subordinate.as_mut().unwrap().tools = false;
        let mut warnings = Vec::new();
        let maps = plan(&Linux::default(), &host, &mut warnings).unwrap();
        assert_eq!(maps.uids, [range(0, 1000, 1)]);
        assert_eq!(maps.writer, IdMapWriter::Itself);
        assert_eq!(warnings.len(), 1);
        assert!(
            plan_of(&[(0, 100_000, 5)], &host)
                .unwrap_err()
                .hint()
                .is_some()
        );
    }

    #[test]
    fn ids_that_are_not_mapped_are_refused_with_their_place() {
        let config = example_for(1000, 1000).replace("\"mode=0620\"", "\"mode=0620\", \"gid=5\"");
        let plan = |config: String| {
            let bundle = crate::bundle::Bundle::from_config(config.into_bytes(), "/b".into());
            let options = crate::plan::CreateOptions::default();
            crate::plan::Plan::for_create(&bundle.unwrap(), &options, &golden::user())
        };
        assert_eq!(
            plan(config).unwrap_err().to_string(),
            "config.json: mounts[2].options[5]: gid=5 is not mapped in the container's user namespace"
        );
        let config = example_for(1000, 1000).replace("\"uid\": 0", "\"uid\": 5");
        assert_eq!(
            plan(config).unwrap_err().to_string(),
            "config.json: process.user.uid: 5 is not mapped in the container's user namespace"
        );
    }
    #[test]
    fn ids_beyond_the_subordinate_ones_are_refused_with_the_file_and_the_command() {
        let error = plan_of(&[(0, 1000, 1), (1, 100_000, 65_537)], &golden::user()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "linux.uidMappings[1]: host uid 165536 is not ann's to map: /etc/subuid gives 100000:65536"
        );
        let hint = error.hint().unwrap();
        assert!(
            hint.contains("usermod --add-subuids FIRST-LAST ann"),
            "{hint}"
        );
        let mut host = golden::user();
        host.subordinate.as_mut().unwrap().uids.clear();
        let error = plan_of(&[(0, 5, 1)], &host).unwrap_err();
        assert!(
            error.to_string().ends_with("/etc/subuid gives no range"),
            "{error}"
        );
    }
}
