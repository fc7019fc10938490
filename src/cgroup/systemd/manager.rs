//! The calls of systemd's manager, org.freedesktop.systemd1(5).
//!
//! Runs in: parent.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::address::{Address, Surroundings};
use super::connection::{Connection, Refusal};
use super::message::Method;
use crate::error::{Context, Error, Result};
use crate::plan::scope::value::Value;
use crate::plan::scope::{Bus, Property};

/// How long systemd may take for an answer, or for a job.
const PATIENCE: Duration = Duration::from_secs(30);

const SYSTEMD: &str = "org.freedesktop.systemd1";
const OBJECT: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";

/// The systemd that answers on one bus.
pub struct Manager {
    connection: Connection,
    bus: Bus,
    /// Asked for at most once.
    version: Option<u32>,
}

impl Manager {
    pub fn connect(bus: Bus) -> Result<Manager> {
        let addresses = Surroundings::look().addresses(bus);
        Manager::connect_to(&addresses, bus).context(|| "systemd")
    }

    pub(super) fn connect_to(addresses: &[Address], bus: Bus) -> Result<Manager> {
        let deadline = Instant::now() + PATIENCE;
        let mut manager = Manager {
            connection: Connection::open_first(addresses, whose(bus), deadline)
                .map_err(|e| e.with_hint(remedy(bus)))?,
            bus,
            version: None,
        };
        manager.introduce()?;
        Ok(manager)
    }

    /// Gets a name on the bus, and asks for the one signal, before a job can be at its end.
    fn introduce(&mut self) -> Result<()> {
        const BUS: &str = "org.freedesktop.DBus";
        let method = |member| Method {
            destination: BUS,
            path: "/org/freedesktop/DBus",
            interface: BUS,
            member,
        };
        let rule = format!(
            "type='signal',sender='{SYSTEMD}',path='{OBJECT}',interface='{MANAGER}',member='JobRemoved'"
        );
        for (method, arguments) in [
            (method("Hello"), vec![]),
            (method("AddMatch"), vec![Value::String(rule)]),
        ] {
            let answer = self.connection.call(&method, &arguments)?;
            answer.map_err(|refusal| refused(&refusal, method.member))?;
        }
        Ok(())
    }

    /// Starts a transient unit and waits until its job is done. A failed unit of that name
    /// that somebody left behind is forgotten first.
    pub fn start(&mut self, unit: &str, properties: &[Property]) -> Result<()> {
        let properties = self.known(properties)?;
        let arguments = [
            Value::string(unit),
            // No other unit has to go for this one.
            Value::string("fail"),
            to_value(&properties),
            // No units beside it.
            Value::Array("(sa(sv))".into(), Vec::new()),
        ];
        let mut answer = self.ask("StartTransientUnit", &arguments)?;
        if answer
            .as_ref()
            .is_err_and(|refusal| refusal.name == UNIT_EXISTS)
        {
            self.reset_failed(unit)?;
            answer = self.ask("StartTransientUnit", &arguments)?;
        }
        let job = answer.map_err(|refusal| self.explain(&refusal, "StartTransientUnit", unit))?;
        self.await_job(&job, "StartTransientUnit", unit)
    }

    /// Ends a unit whatever state it is in, with every process in it, and waits until it is
    /// gone. One that is not there is no error.
    pub fn end(&mut self, unit: &str) -> Result<()> {
        self.stop(unit)?;
        self.reset_failed(unit)
    }

    fn stop(&mut self, unit: &str) -> Result<()> {
        let arguments = [Value::string(unit), Value::string("replace")];
        match self.ask("StopUnit", &arguments)? {
            Ok(job) => self.await_job(&job, "StopUnit", unit),
            Err(refusal) if refusal.name == NO_SUCH_UNIT => Ok(()),
            Err(refusal) => Err(self.explain(&refusal, "StopUnit", unit)),
        }
    }

    /// Makes systemd forget a unit that has failed. One that is not there is no error.
    pub fn reset_failed(&mut self, unit: &str) -> Result<()> {
        match self.ask("ResetFailedUnit", &[Value::string(unit)])? {
            Err(refusal) if refusal.name != NO_SUCH_UNIT => {
                Err(self.explain(&refusal, "ResetFailedUnit", unit))
            }
            _ => Ok(()),
        }
    }

    /// Changes a unit until the machine's next start: all of the properties, or none.
    fn set(&mut self, unit: &str, properties: &[Property]) -> Result<()> {
        let properties = self.known(properties)?;
        if properties.is_empty() {
            return Ok(());
        }
        let arguments = [
            Value::string(unit),
            Value::Boolean(true),
            to_value(&properties),
        ];
        self.ask("SetUnitProperties", &arguments)?
            .map_err(|refusal| self.explain(&refusal, "SetUnitProperties", unit))?;
        // systemd answers first and writes to the cgroup then, before the next call is heard.
        self.object(unit).map(drop)
    }

    /// Changes a unit, waits until that is in its cgroup, and does `last`; where that fails, the
    /// unit is changed back.
    pub fn replace(
        &mut self,
        unit: &str,
        properties: &[Property],
        last: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let former = self.former(unit, properties)?;
        self.set(unit, properties)?;
        last().map_err(|error| match self.set(unit, &former) {
            Ok(()) => error,
            Err(e) => error.with_hint(format!("systemd has not its former values back: {e}")),
        })
    }

    /// What has to be set to undo a change of these properties. A list is emptied first, as
    /// what is set is added to it.
    fn former(&mut self, unit: &str, properties: &[Property]) -> Result<Vec<Property>> {
        let object = self
            .object(unit)?
            .ok_or_else(|| Error::system(format!("systemd: {unit:?} is not there any more")))?;
        let mut former: Vec<Property> = Vec::new();
        for property in self.known(properties)? {
            if former.iter().any(|known| known.name == property.name) {
                continue;
            }
            let value = self.property(&object, interface(unit), &property.name)?;
            if let Value::Array(item, _) = &value
                && item.starts_with('(')
            {
                let empty = Value::Array(item.clone(), Vec::new());
                former.push(Property::new(&property.name, empty));
            }
            former.push(Property::new(property.name, value));
        }
        Ok(former)
    }

    /// The cgroup of a unit, beneath the mount. None where there is no such unit, or it has
    /// none.
    pub fn control_group(&mut self, unit: &str) -> Result<Option<PathBuf>> {
        let Some(object) = self.object(unit)? else {
            return Ok(None);
        };
        let group = self.property(&object, interface(unit), "ControlGroup")?;
        let path = group.as_str().unwrap_or_default().trim_start_matches('/');
        Ok((!path.is_empty()).then(|| path.into()))
    }

    fn object(&mut self, unit: &str) -> Result<Option<String>> {
        match self.ask("GetUnit", &[Value::string(unit)])? {
            Ok(answer) => Ok(answer.first().and_then(Value::as_str).map(str::to_owned)),
            Err(refusal) if refusal.name == NO_SUCH_UNIT => Ok(None),
            Err(refusal) => Err(self.explain(&refusal, "GetUnit", unit)),
        }
    }

    fn property(&mut self, object: &str, interface: &str, name: &str) -> Result<Value> {
        let method = Method {
            destination: SYSTEMD,
            path: object,
            interface: PROPERTIES,
            member: "Get",
        };
        let arguments = [Value::string(interface), Value::string(name)];
        self.connection.deadline = Instant::now() + PATIENCE;
        let answer = self.connection.call(&method, &arguments)?;
        match answer.map_err(|refusal| refused(&refusal, name))?.pop() {
            Some(Value::Variant(value)) => Ok(*value),
            _ => Err(Error::system(format!("systemd: {name} has no value"))),
        }
    }

    /// Without those that this version of systemd does not know yet: what they say is written
    /// into the cgroup all the same.
    fn known(&mut self, properties: &[Property]) -> Result<Vec<Property>> {
        let newest = properties.iter().map(|property| property.since).max();
        let version = match newest {
            None | Some(0) => 0,
            Some(_) => self.version()?,
        };
        let known = properties.iter().filter(|p| p.since <= version);
        Ok(known.cloned().collect())
    }

    /// `252 (252.33-1~deb12u1)`, `v257.4`: the number.
    fn version(&mut self) -> Result<u32> {
        if let Some(version) = self.version {
            return Ok(version);
        }
        let text = self.property(OBJECT, MANAGER, "Version")?;
        let version = number_of(text.as_str().unwrap_or_default());
        self.version = Some(version);
        Ok(version)
    }

    fn ask(
        &mut self,
        member: &str,
        arguments: &[Value],
    ) -> Result<std::result::Result<Vec<Value>, Refusal>> {
        let method = Method {
            destination: SYSTEMD,
            path: OBJECT,
            interface: MANAGER,
            member,
        };
        self.connection.deadline = Instant::now() + PATIENCE;
        self.connection
            .call(&method, arguments)
            .context(|| format!("systemd: {member}"))
    }

    /// `answer` is that of a call that has put a job into the queue.
    fn await_job(&mut self, answer: &[Value], member: &str, unit: &str) -> Result<()> {
        let place = || format!("systemd: {member}({unit:?})");
        let job = answer
            .first()
            .and_then(Value::as_str)
            .ok_or_else(|| Error::system(format!("{}: systemd names no job", place())))?;
        self.connection.deadline = Instant::now() + PATIENCE;
        loop {
            let (name, arguments) = self.connection.signal().context(place)?;
            let [_, path, _, result] = &arguments[..] else {
                continue;
            };
            if name != "JobRemoved" || path.as_str() != Some(job) {
                continue;
            }
            return match result.as_str() {
                Some("done") => Ok(()),
                // A stop that somebody else's stop has taken the place of.
                Some("canceled") if member == "StopUnit" => Ok(()),
                other => Err(Error::system(format!(
                    "{}: the job has ended as {:?}",
                    place(),
                    other.unwrap_or_default()
                ))
                .with_hint(self.look_into_the_journal(unit))),
            };
        }
    }

    fn explain(&self, refusal: &Refusal, member: &str, unit: &str) -> Error {
        let error = refused(refusal, &format!("systemd: {member}({unit:?})"));
        match refusal.name.as_str() {
            UNIT_EXISTS => error.with_hint(format!(
                "another container or service has this unit: give the container a linux.cgroupsPath of its own, or stop it by systemctl{} stop",
                self.option()
            )),
            "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"
            | "org.freedesktop.DBus.Error.AccessDenied" => error.with_hint(
                "this user may not ask this systemd for units: an ordinary user asks the one of their session, on the user's bus",
            ),
            "org.freedesktop.DBus.Error.PropertyReadOnly" => error.with_hint(
                "this version of systemd does not take that property; those of annotations org.systemd.property.* are handed on as they are",
            ),
            _ => error.with_hint(self.look_into_the_journal(unit)),
        }
    }

    fn look_into_the_journal(&self, unit: &str) -> String {
        let option = self.option();
        format!("journalctl{option} --unit={unit} may say why")
    }

    fn option(&self) -> &'static str {
        match self.bus {
            Bus::System => "",
            Bus::User => " --user",
        }
    }
}

fn whose(bus: Bus) -> &'static str {
    match bus {
        Bus::System => "the system bus",
        Bus::User => "the user's bus",
    }
}

fn remedy(bus: Bus) -> &'static str {
    match bus {
        Bus::System => {
            "the systemd driver needs systemd as process 1 and D-Bus (package dbus or dbus-broker); the other driver needs neither: cgroupfs (podman --cgroup-manager=cgroupfs)"
        }
        Bus::User => {
            "make systemd run for this user (a login by ssh, or loginctl enable-linger USER), set XDG_RUNTIME_DIR to /run/user/UID, or take the cgroupfs driver (podman --cgroup-manager=cgroupfs)"
        }
    }
}

/// Where a unit has its properties of cgroups.
fn interface(unit: &str) -> &'static str {
    match unit.ends_with(".slice") {
        true => "org.freedesktop.systemd1.Slice",
        false => "org.freedesktop.systemd1.Scope",
    }
}

fn refused(refusal: &Refusal, what: &str) -> Error {
    Error::system(format!("{what}: {} ({})", refusal.text, refusal.name))
}

/// `a(sv)`.
fn to_value(properties: &[Property]) -> Value {
    let pair = |property: &Property| {
        let name = Value::string(&property.name);
        Value::Struct(vec![name, Value::variant(property.value.clone())])
    };
    Value::Array("(sv)".into(), properties.iter().map(pair).collect())
}

fn number_of(version: &str) -> u32 {
    let digits = version.trim_start_matches('v');
    let end = digits.find(|c: char| !c.is_ascii_digit());
    digits[..end.unwrap_or(digits.len())].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_the_number_at_its_beginning() {
        assert_eq!(number_of("252 (252.33-1~deb12u1)"), 252);
        assert_eq!(number_of("v257.4-1"), 257);
        assert_eq!(number_of(""), 0);
    }
}
