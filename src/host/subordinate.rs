//! Subordinate ids: what newuidmap(1) and newgidmap(1) let an ordinary user map.
//!
//! The files are read by hand: the C library's getpwuid loads shared objects, which a static
//! binary cannot do safely. Where the user is not in them, `getsubids` is asked, which knows
//! other sources.
//!
//! Runs in: parent.

use std::path::Path;
use std::process::Command;

/// Each a list of (first id, count).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subordinate {
    /// The caller's name where /etc/passwd knows it, else the uid in digits; for messages.
    pub user: String,
    pub uids: Vec<(u32, u32)>,
    pub gids: Vec<(u32, u32)>,
    /// Whether newuidmap and newgidmap are there.
    pub tools: bool,
}

/// What the files, or else getsubids(1), give to the user `uid`. What cannot be read gives
/// nothing.
pub fn probe(uid: u32) -> Subordinate {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let name = user_name(&read("/etc/passwd"), uid);
    let user = name.clone().unwrap_or_else(|| uid.to_string());
    let ranges = |path, flag: &[&str]| match parse(&read(path), name.as_deref(), uid) {
        found if found.is_empty() => ask_getsubids(&user, flag),
        found => found,
    };
    Subordinate {
        uids: ranges("/etc/subuid", &[]),
        gids: ranges("/etc/subgid", &["-g"]),
        tools: is_in_path("newuidmap") && is_in_path("newgidmap"),
        user,
    }
}

fn user_name(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// The lines `NAME:FIRST:COUNT` that are the user's, by name or by uid; subuid(5).
fn parse(text: &str, name: Option<&str>, uid: u32) -> Vec<(u32, u32)> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let owner = fields.next()?;
            if Some(owner) != name && owner.parse() != Ok(uid) {
                return None;
            }
            let range = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
            (range.1 > 0).then_some(range)
        })
        .collect()
}

/// `0: NAME 100000 65536` for each range; shadow-utils 4.9.
fn ask_getsubids(user: &str, flag: &[&str]) -> Vec<(u32, u32)> {
    let Ok(output) = Command::new("getsubids").args(flag).arg(user).output() else {
        return Vec::new();
    };
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace().skip(2);
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        })
        .collect()
}

fn is_in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    std::env::split_paths(&path).any(|dir| Path::new(&dir).join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_and_by_uid() {
        let text = "other:1:2\nann:100000:65536\n1000:300000:10\nann:5:x\nann:7:0\n";
        assert_eq!(
            parse(text, Some("ann"), 1000),
            [(100_000, 65_536), (300_000, 10)]
        );
        assert_eq!(parse(text, None, 1000), [(300_000, 10)]);
    }

    #[test]
    fn a_name_in_digits_is_no_uid_of_somebody_else() {
        let passwd =
            "root:x:0:0::/root:/bin/sh\n1000:x:7:7::/:/bin/sh\nann:x:1000:1000::/:/bin/sh\n";
        assert_eq!(user_name(passwd, 1000).as_deref(), Some("ann"));
    }
}
