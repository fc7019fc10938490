//! A seccomp profile as config.json gives it: words made into values, nothing decided.
//!
//! Owns the names of the specification (config-linux.md#seccomp): actions, operators and
//! flags. Architectures are in [`super::arch`].
//!
//! Runs in: parent, before anything is created.

use serde::Deserialize;

use super::arch::Arch;
use crate::error::{Error, Result};

/// `linux.seccomp`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// None where config.json has none, or an empty word.
    #[serde(default, deserialize_with = "empty_as_none")]
    pub default_action: Option<Action>,
    #[serde(default, rename = "defaultErrnoRet")]
    pub default_errno: Option<u32>,
    #[serde(default, deserialize_with = "null_as_empty")]
    pub architectures: Vec<Arch>,
    /// None where config.json has no list: that means `SPEC_ALLOW`, an empty list no flag.
    #[serde(default)]
    pub flags: Option<Vec<Flag>>,
    #[serde(default)]
    pub listener_path: Option<String>,
    #[serde(default)]
    pub listener_metadata: Option<String>,
    #[serde(default, rename = "syscalls", deserialize_with = "null_as_empty")]
    pub rules: Vec<Rule>,
}

/// One entry of `linux.seccomp.syscalls`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    #[serde(deserialize_with = "null_as_empty")]
    pub names: Vec<String>,
    pub action: Action,
    #[serde(default, rename = "errnoRet")]
    pub errno: Option<u32>,
    #[serde(default, deserialize_with = "null_as_empty")]
    pub args: Vec<Condition>,
}

/// One entry of `linux.seccomp.syscalls[].args`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    pub index: u32,
    /// What the argument is compared with; for `MaskedEq` the mask.
    pub value: u64,
    /// For `MaskedEq` what the masked argument is compared with.
    #[serde(default)]
    pub value_two: u64,
    #[serde(rename = "op")]
    pub operator: Operator,
}

impl Profile {
    /// Whether it says nothing: what a caller in Go writes of a profile that it never filled.
    ///
    /// SPEC: config-linux.md#seccomp has `defaultAction` required; runc, whose callers such a
    /// profile comes from, runs the container without a filter.
    pub fn is_empty(&self) -> bool {
        self.default_action.is_none() && self.rules.is_empty()
    }
}

/// Callers in Go write `""` for an action that they never set.
fn empty_as_none<'de, D>(from: D) -> std::result::Result<Option<Action>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    struct Word;

    impl<'de> serde::de::Visitor<'de> for Word {
        type Value = Option<Action>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a seccomp action")
        }

        fn visit_none<E>(self) -> std::result::Result<Option<Action>, E> {
            Ok(None)
        }

        fn visit_some<D: serde::Deserializer<'de>>(
            self,
            from: D,
        ) -> std::result::Result<Option<Action>, D::Error> {
            from.deserialize_str(self)
        }

        fn visit_str<E: serde::de::Error>(
            self,
            name: &str,
        ) -> std::result::Result<Option<Action>, E> {
            match name {
                "" => Ok(None),
                name => Action::try_from(name).map(Some).map_err(E::custom),
            }
        }
    }

    from.deserialize_option(Word)
}

/// Engines write `null` for an empty list, `args` for one.
fn null_as_empty<'de, D, T>(from: D) -> std::result::Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Defines an enum whose values have names in config.json.
macro_rules! named {
    ($(#[$meta:meta])* $Name:ident, $what:literal, { $($Variant:ident = $name:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $Name { $($Variant,)* }

        impl $Name {
            /// In the order in which `rt features` lists them.
            pub const ALL: &[$Name] = &[$($Name::$Variant,)*];

            pub fn name(self) -> &'static str {
                match self { $($Name::$Variant => $name,)* }
            }
        }

        impl TryFrom<&str> for $Name {
            type Error = Error;

            fn try_from(name: &str) -> Result<$Name> {
                match name {
                    $($name => Ok($Name::$Variant),)*
                    _ => Err(Error::invalid(format!(concat!("unknown seccomp ", $what, " {:?}"), name))),
                }
            }
        }

        // By a visitor, so that the parser is still at the word when it is refused, and an
        // error names its place.
        impl<'de> Deserialize<'de> for $Name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<$Name, D::Error> {
                struct Word;

                impl serde::de::Visitor<'_> for Word {
                    type Value = $Name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("a seccomp ", $what))
                    }

                    fn visit_str<E: serde::de::Error>(self, name: &str) -> std::result::Result<$Name, E> {
                        $Name::try_from(name).map_err(E::custom)
                    }
                }

                from.deserialize_str(Word)
            }
        }
    };
}
pub(super) use named;

named!(
    /// What happens to a call. The variants are in the kernel's order of precedence among
    /// several filters, the strictest first (seccomp(2)); [`Kill`](Action::Kill) is the old
    /// name of [`KillThread`](Action::KillThread).
    #[derive(PartialOrd, Ord)]
    Action, "action", {
        KillProcess = "SCMP_ACT_KILL_PROCESS",
        Kill = "SCMP_ACT_KILL",
        KillThread = "SCMP_ACT_KILL_THREAD",
        Trap = "SCMP_ACT_TRAP",
        Errno = "SCMP_ACT_ERRNO",
        Notify = "SCMP_ACT_NOTIFY",
        Trace = "SCMP_ACT_TRACE",
        Log = "SCMP_ACT_LOG",
        Allow = "SCMP_ACT_ALLOW",
    }
);

named!(
    /// How an argument is compared.
    Operator, "operator", {
        Ne = "SCMP_CMP_NE",
        Lt = "SCMP_CMP_LT",
        Le = "SCMP_CMP_LE",
        Eq = "SCMP_CMP_EQ",
        Ge = "SCMP_CMP_GE",
        Gt = "SCMP_CMP_GT",
        MaskedEq = "SCMP_CMP_MASKED_EQ",
    }
);

named!(
    /// How the program is loaded, seccomp(2).
    Flag, "flag", {
        Tsync = "SECCOMP_FILTER_FLAG_TSYNC",
        Log = "SECCOMP_FILTER_FLAG_LOG",
        SpecAllow = "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        WaitKillableRecv = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    }
);

impl Action {
    /// The value that the program returns to the kernel, with `errno` as its data.
    ///
    /// `ERRNO` and `TRACE` carry EPERM where the profile says nothing. The specification has
    /// every other action with an errno refused, and the kernel would cut an errno above
    /// 4095 to that number.
    pub fn return_value(self, errno: Option<u32>) -> Result<u32> {
        let data = || errno.unwrap_or(libc::EPERM as u32);
        let limit = match self {
            Action::Errno => 4095,
            Action::Trace => 0xffff,
            _ if errno.is_some() => {
                return Err(Error::invalid(format!("{} takes no errno", self.name())));
            }
            _ => 0,
        };
        if limit > 0 && data() > limit {
            return Err(Error::invalid(format!(
                "{} is not an errno: the largest is {limit}",
                data()
            )));
        }
        Ok(match self {
            Action::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
            Action::Kill | Action::KillThread => libc::SECCOMP_RET_KILL_THREAD,
            Action::Trap => libc::SECCOMP_RET_TRAP,
            Action::Errno => libc::SECCOMP_RET_ERRNO | data(),
            Action::Notify => libc::SECCOMP_RET_USER_NOTIF,
            Action::Trace => libc::SECCOMP_RET_TRACE | data(),
            Action::Log => libc::SECCOMP_RET_LOG,
            Action::Allow => libc::SECCOMP_RET_ALLOW,
        })
    }

    /// Whether a call that the profile does not know may pass: then new calls need no ENOSYS.
    /// `TRACE` counts, since a tracer decides about them.
    pub fn is_permissive(self) -> bool {
        matches!(self, Action::Allow | Action::Log | Action::Trace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back() {
        for action in Action::ALL {
            assert_eq!(Action::try_from(action.name()).unwrap(), *action);
        }
        for operator in Operator::ALL {
            assert_eq!(Operator::try_from(operator.name()).unwrap(), *operator);
        }
        for flag in Flag::ALL {
            assert_eq!(Flag::try_from(flag.name()).unwrap(), *flag);
        }
        let e = Action::try_from("SCMP_ACT_NOP").unwrap_err();
        assert_eq!(e.to_string(), r#"unknown seccomp action "SCMP_ACT_NOP""#);
    }

    #[test]
    fn return_values_are_the_kernels() {
        for (action, errno, value) in [
            (Action::Errno, None, 0x0005_0001),
            (Action::Errno, Some(38), 0x0005_0026),
            (Action::Errno, Some(0), 0x0005_0000),
            (Action::Trace, None, 0x7ff0_0001),
            (Action::Trace, Some(0xffff), 0x7ff0_ffff),
            (Action::Trap, None, 0x0003_0000),
            (Action::Kill, None, 0),
            (Action::KillProcess, None, 0x8000_0000),
            (Action::Notify, None, 0x7fc0_0000),
            (Action::Log, None, 0x7ffc_0000),
            (Action::Allow, None, 0x7fff_0000),
        ] {
            assert_eq!(action.return_value(errno).unwrap(), value, "{action:?}");
        }
    }

    #[test]
    fn an_errno_that_cannot_be_returned_is_refused() {
        assert!(Action::Allow.return_value(Some(1)).is_err());
        assert!(Action::Errno.return_value(Some(4096)).is_err());
        assert!(Action::Trace.return_value(Some(0x1_0000)).is_err());
    }

    #[test]
    fn a_bad_word_is_found_by_its_path() {
        let json = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [
                {"index": 0, "value": 1, "op": "SCMP_CMP_XX"}]}]}"#;
        let mut from = serde_json::Deserializer::from_str(json);
        let e = serde_path_to_error::deserialize::<_, Profile>(&mut from).unwrap_err();
        assert_eq!(e.path().to_string(), "syscalls[0].args[0].op");
        assert!(e.to_string().contains("SCMP_CMP_XX"));
    }
}
