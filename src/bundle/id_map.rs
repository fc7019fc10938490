//! crun's form of a mount's id map: `idmap=uids=0-1000-1#1-2000-10;gids=@0-0-1` (crun(1),
//! "idmap mount options").
//!
//! Owns how it is read. Each triplet is the first id on disk, the first id that it becomes on
//! the host, and how many there are. With `@` the second one is an id of the container: it
//! is looked up in linux.uidMappings or linux.gidMappings.
//!
//! Runs in: parent.

use super::linux::{IdMapping, Linux};

/// The maps of one mount: `containerID` is the id on disk, as in `mounts[].uidMappings`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMaps {
    pub uids: Vec<IdMapping>,
    pub gids: Vec<IdMapping>,
}

/// The maps that the option carries; none for the word `idmap` or `ridmap` alone. The error
/// says what is wrong with it.
pub fn read(option: &str, linux: &Linux) -> Result<Option<IdMaps>, String> {
    let Some((_, text)) = option.split_once('=') else {
        return Ok(None);
    };
    let mut maps = IdMaps::default();
    for part in text.split(';').filter(|part| !part.is_empty()) {
        let (to, triplets, inside) = match part.split_once('=') {
            Some(("uids", triplets)) => (&mut maps.uids, triplets, &linux.uid_mappings),
            Some(("gids", triplets)) => (&mut maps.gids, triplets, &linux.gid_mappings),
            _ => return Err(format!("{part:?} is neither uids=… nor gids=…")),
        };
        if !to.is_empty() {
            return Err(format!("{part:?} is a second list of the same kind"));
        }
        for triplet in triplets.split('#').filter(|triplet| !triplet.is_empty()) {
            to.extend(read_triplet(triplet, inside)?);
        }
    }
    match (maps.uids.is_empty(), maps.gids.is_empty()) {
        (false, false) => Ok(Some(maps)),
        (true, true) => Err("maps no ids: idmap=uids=0-1000-1;gids=0-1000-1".to_owned()),
        (true, false) => Err("uids=… is missing: one comes with the other".to_owned()),
        (false, true) => Err("gids=… is missing: one comes with the other".to_owned()),
    }
}

/// One line of the map, or as many as the container's own map cuts it into.
fn read_triplet(text: &str, inside: &[IdMapping]) -> Result<Vec<IdMapping>, String> {
    let (relative, numbers) = match text.strip_prefix('@') {
        Some(numbers) => (true, numbers),
        None => (false, text),
    };
    let numbers: Option<Vec<u32>> = numbers.split('-').map(|n| n.parse().ok()).collect();
    let Some([on_disk, to, size]) = numbers.as_deref() else {
        return Err(format!(
            "{text:?} is not of the form ONDISK-HOST-SIZE or @ONDISK-CONTAINER-SIZE"
        ));
    };
    let line = IdMapping {
        container_id: *on_disk,
        host_id: *to,
        size: *size,
    };
    if relative {
        through(line, inside).map_err(|id| {
            format!("{text:?}: the container's user namespace does not map its id {id}")
        })
    } else {
        Ok(vec![line])
    }
}

/// `line` with its container's ids replaced by the host's. The error is the first id that has
/// none.
fn through(line: IdMapping, inside: &[IdMapping]) -> Result<Vec<IdMapping>, u64> {
    let mut lines = Vec::new();
    let mut done = 0;
    while done < line.size {
        let next = u64::from(line.host_id) + u64::from(done);
        let covers = |own: &&IdMapping| {
            let first = u64::from(own.container_id);
            (first..first + u64::from(own.size)).contains(&next)
        };
        let own = inside.iter().find(covers).ok_or(next)?;
        // Both fit: the line covers `next`, which lies less than its size above its start.
        let offset = u32::try_from(next - u64::from(own.container_id)).map_err(|_| next)?;
        let size = (own.size - offset).min(line.size - done);
        lines.push(IdMapping {
            container_id: line.container_id.saturating_add(done),
            host_id: own.host_id.saturating_add(offset),
            size,
        });
        done += size;
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(container_id: u32, host_id: u32, size: u32) -> IdMapping {
        IdMapping {
            container_id,
            host_id,
            size,
        }
    }

    fn linux() -> Linux {
        let map = vec![line(0, 0, 1), line(1, 2, 1000)];
        Linux {
            uid_mappings: map.clone().into(),
            gid_mappings: map.into(),
            ..Linux::default()
        }
    }

    #[test]
    fn absolute_triplets_are_taken_as_they_are() {
        let maps = read("idmap=uids=0-1-10#10-11-10;gids=0-100-10", &linux());
        let maps = maps.unwrap().unwrap();
        assert_eq!(maps.uids, [line(0, 1, 10), line(10, 11, 10)]);
        assert_eq!(maps.gids, [line(0, 100, 10)]);
        assert_eq!(read("ridmap", &linux()), Ok(None));
    }

    #[test]
    fn relative_triplets_go_through_the_containers_map() {
        // The manual's own example.
        let maps = read("idmap=uids=@1-3-10;gids=0-0-1", &linux()).unwrap();
        assert_eq!(maps.unwrap().uids, [line(1, 4, 10)]);
        let maps = read("idmap=uids=@5-0-3;gids=@0-0-1", &linux()).unwrap();
        assert_eq!(maps.unwrap().uids, [line(5, 0, 1), line(6, 2, 2)]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (option, words) in [
            ("idmap=", "maps no ids"),
            ("idmap=uids=0-1-1", "gids=… is missing"),
            ("idmap=gids=0-1-1", "uids=… is missing"),
            ("idmap=users=0-1-1", "neither"),
            ("idmap=uids=0-1;gids=0-1-1", "form"),
            ("idmap=uids=0-1-1-1;gids=0-1-1", "form"),
            ("idmap=uids=0--1-1;gids=0-1-1", "form"),
            ("idmap=uids=0-1-1;uids=1-2-1", "second"),
            ("idmap=uids=@0-1000-2;gids=0-1-1", "its id 1001"),
            ("idmap=uids=@0-4294967295-1;gids=0-1-1", "its id 4294967295"),
        ] {
            let error = read(option, &linux()).unwrap_err();
            assert!(error.contains(words), "{option}: {error}");
        }
    }
}
