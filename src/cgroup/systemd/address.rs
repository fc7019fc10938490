//! Where a bus listens. D-Bus specification, "Server Addresses".
//!
//! Runs in: parent.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::host::{self, UserNamespace};
use crate::plan::scope::Bus;

/// A unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Path(PathBuf),
    /// A name in the abstract namespace, unix(7).
    Abstract(Vec<u8>),
}

/// What of the caller's environment says where a bus is.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// DBUS_SYSTEM_BUS_ADDRESS
    pub system: Option<OsString>,
    /// DBUS_SESSION_BUS_ADDRESS
    pub session: Option<OsString>,
    /// XDG_RUNTIME_DIR
    pub runtime_directory: Option<OsString>,
    /// The caller's uid as the first user namespace has it: podman calls as root of its own.
    pub uid: Option<u32>,
}

impl Surroundings {
    pub fn look() -> Surroundings {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let own = nix::unistd::geteuid().as_raw();
        let outer = |namespace: UserNamespace| host::outside(&namespace.uid_map, own);
        Surroundings {
            system: variable("DBUS_SYSTEM_BUS_ADDRESS"),
            session: variable("DBUS_SESSION_BUS_ADDRESS"),
            runtime_directory: variable("XDG_RUNTIME_DIR"),
            uid: UserNamespace::own().ok().and_then(outer),
        }
    }

    /// The sockets to be tried, in order. For an ordinary user the usual ones stand behind the
    /// one that their environment names: a shell that outlives its session names one that is gone.
    pub fn addresses(&self, bus: Bus) -> Vec<Address> {
        let (given, usual) = match bus {
            Bus::System => {
                let usual = ["/run/dbus/system_bus_socket".into()];
                let usual = usual.into_iter().filter(|_| self.system.is_none());
                (&self.system, usual.collect())
            }
            Bus::User => {
                let uid = self
                    .uid
                    .map(|uid| PathBuf::from(format!("/run/user/{uid}")));
                let directories = self.runtime_directory.clone().map(PathBuf::from);
                let directories = directories.into_iter().chain(uid);
                let sockets = directories.map(|directory| directory.join("bus"));
                (&self.session, sockets.collect::<Vec<PathBuf>>())
            }
        };
        let given = given.as_ref().map(|text| parse(text.as_bytes()));
        let mut all = given.unwrap_or_default();
        for path in usual {
            let address = Address::Path(path);
            if !all.contains(&address) {
                all.push(address);
            }
        }
        all
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Path(path) => write!(f, "{}", path.display()),
            Address::Abstract(name) => write!(f, "@{}", String::from_utf8_lossy(name)),
        }
    }
}

/// The unix sockets of a list such as `unix:path=/run/user/1000/bus,guid=x;tcp:host=y`. What
/// cannot be read is left out.
fn parse(list: &[u8]) -> Vec<Address> {
    list.split(|b| *b == b';')
        .filter_map(|one| one.strip_prefix(b"unix:"))
        .filter_map(|keys| {
            keys.split(|b| *b == b',').find_map(|pair| {
                let end = pair.iter().position(|b| *b == b'=')?;
                let value = unescape(&pair[end + 1..])?;
                match &pair[..end] {
                    b"path" => Some(Address::Path(OsString::from_vec(value).into())),
                    b"abstract" => Some(Address::Abstract(value)),
                    _ => None,
                }
            })
        })
        .collect()
}

/// `%2f` is a slash.
fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        if *first == b'%' {
            let digits = std::str::from_utf8(behind.get(..2)?).ok()?;
            out.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &behind[2..];
        } else {
            out.push(*first);
            rest = behind;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Address {
        Address::Path(text.into())
    }

    #[test]
    fn unix_sockets_are_taken_from_a_list_of_addresses() {
        let list =
            b"tcp:host=x;unix:path=/run/a%20b,guid=7;unix:guid=1,abstract=/tmp/x;unix:dir=/y;";
        assert_eq!(
            parse(list),
            [path("/run/a b"), Address::Abstract(b"/tmp/x".into())]
        );
        for strange in [
            "",
            "unix",
            "unix:",
            "unix:path",
            "unix:path=%4",
            "unix:path=%zz",
        ] {
            assert_eq!(parse(strange.as_bytes()), [], "{strange}");
        }
    }

    #[test]
    fn the_users_bus_is_looked_for_in_three_places() {
        let none = Surroundings {
            uid: Some(1000),
            ..Surroundings::default()
        };
        assert_eq!(none.addresses(Bus::User), [path("/run/user/1000/bus")]);
        let all = Surroundings {
            session: Some("unix:path=/s".into()),
            runtime_directory: Some("/x".into()),
            ..none
        };
        let expected = [path("/s"), path("/x/bus"), path("/run/user/1000/bus")];
        assert_eq!(all.addresses(Bus::User), expected);
        let usual = Surroundings {
            session: Some("unix:path=/run/user/5/bus".into()),
            runtime_directory: Some("/run/user/5".into()),
            uid: Some(5),
            system: None,
        };
        assert_eq!(usual.addresses(Bus::User), [path("/run/user/5/bus")]);
        assert_eq!(
            usual.addresses(Bus::System),
            [path("/run/dbus/system_bus_socket")]
        );
    }
}
