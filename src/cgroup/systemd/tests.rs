//! The conversation with a systemd that a thread of the test plays.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::JoinHandle;

use super::address::Address;
use super::manager::Manager;
use super::message::bus::{answer, error, heard, signal};
use super::message::{START, length};
use crate::error::Result;
use crate::plan::scope::value::Value;
use crate::plan::scope::{Bus, Property};

/// What is said to a call: whole messages, in their order.
type Script = fn(serial: u32, member: &str, arguments: &[Value]) -> Vec<Vec<u8>>;

const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";

/// Runs `test` against a bus that lets everybody in and plays `script`; answers with the names
/// of the calls that it heard after the greeting.
fn with_systemd(name: &str, script: Script, test: impl FnOnce(&mut Manager)) -> Vec<String> {
    let (address, thread) = listen(name, move |mut socket| {
        greet(&mut socket, b"DATA\r\nOK 0123\r\n");
        converse(socket, script)
    });
    test(&mut Manager::connect_to(&[address], Bus::System).unwrap());
    thread.join().unwrap()
}

fn listen<T: Send + 'static>(
    name: &str,
    serve: impl FnOnce(UnixStream) -> T + Send + 'static,
) -> (Address, JoinHandle<T>) {
    let path = std::env::temp_dir().join(format!("rt-bus-{}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let socket = path.clone();
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        std::fs::remove_file(socket).unwrap();
        serve(stream)
    });
    (Address::Path(path), thread)
}

fn greet(socket: &mut UnixStream, words: &[u8]) {
    let mut hello = [0; b"\0AUTH EXTERNAL\r\nDATA\r\n".len()];
    socket.read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"\0AUTH EXTERNAL\r\nDATA\r\n");
    socket.write_all(words).unwrap();
}

fn converse(mut socket: UnixStream, script: Script) -> Vec<String> {
    let mut begin = [0; 7];
    socket.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"BEGIN\r\n");
    let mut calls = Vec::new();
    loop {
        let mut start = [0; START];
        if socket.read_exact(&mut start).is_err() {
            return calls;
        }
        let mut bytes = start.to_vec();
        bytes.resize(length(&start).unwrap(), 0);
        socket.read_exact(&mut bytes[START..]).unwrap();
        let (serial, member, arguments) = heard(&bytes);
        let said = match member.as_str() {
            "Hello" | "AddMatch" => vec![answer(serial, &[])],
            _ => script(serial, &member, &arguments),
        };
        if !matches!(member.as_str(), "Hello" | "AddMatch") {
            calls.push(member);
        }
        for message in said {
            // In two parts, as a stream may be cut anywhere.
            let (first, second) = message.split_at(message.len() / 2);
            socket.write_all(first).unwrap();
            socket.write_all(second).unwrap();
        }
    }
}

fn job(path: &str) -> Value {
    Value::ObjectPath(format!("/org/freedesktop/systemd1/job/{path}"))
}

fn removed(path: &str, result: &str) -> Vec<u8> {
    let arguments = [
        Value::Uint32(1),
        job(path),
        Value::string("a.scope"),
        Value::string(result),
    ];
    signal("JobRemoved", &arguments)
}

fn properties() -> Vec<Property> {
    vec![Property::new("TasksMax", Value::Uint64(5))]
}

#[test]
fn a_start_waits_for_its_own_job() {
    let script: Script = |serial, member, arguments| match member {
        "StartTransientUnit" => {
            assert_eq!(arguments[0], Value::string("a.scope"));
            assert_eq!(arguments[2].signature(), "a(sv)");
            vec![
                removed("8", "failed"),
                // What a bus may send at any time.
                signal("NameAcquired", &[Value::string(":1.5")]),
                answer(serial, &[job("9")]),
                removed("10", "failed"),
                removed("9", "done"),
            ]
        }
        other => panic!("{other}"),
    };
    let calls = with_systemd("own-job", script, |systemd| {
        systemd.start("a.scope", &properties()).unwrap();
    });
    assert_eq!(calls, ["StartTransientUnit"]);
}

#[test]
fn a_signal_that_overtakes_its_answer_is_not_lost() {
    let script: Script = |serial, _, _| vec![removed("9", "done"), answer(serial, &[job("9")])];
    with_systemd("overtaken", script, |systemd| {
        systemd.start("a.scope", &properties()).unwrap();
    });
}

#[test]
fn a_failed_unit_of_the_name_is_forgotten_and_the_start_repeated() {
    let script: Script = |serial, member, _| match member {
        "StartTransientUnit" => vec![error(
            serial,
            UNIT_EXISTS,
            "Unit a.scope was already loaded.",
        )],
        _ => vec![answer(serial, &[])],
    };
    let calls = with_systemd("exists", script, |systemd| {
        let e = systemd.start("a.scope", &properties()).unwrap_err();
        assert_eq!(
            e.to_string(),
            "systemd: StartTransientUnit(\"a.scope\"): Unit a.scope was already loaded. (org.freedesktop.systemd1.UnitExists)"
        );
        assert!(e.hint().unwrap().contains("linux.cgroupsPath"));
    });
    assert_eq!(
        calls,
        [
            "StartTransientUnit",
            "ResetFailedUnit",
            "StartTransientUnit"
        ]
    );
}

#[test]
fn a_job_that_fails_is_an_error_that_says_where_to_look() {
    let script: Script = |serial, _, _| vec![answer(serial, &[job("9")]), removed("9", "failed")];
    with_systemd("job-failed", script, |systemd| {
        let e = systemd.start("a.scope", &properties()).unwrap_err();
        assert!(
            e.to_string().ends_with("the job has ended as \"failed\""),
            "{e}"
        );
        assert_eq!(e.hint(), Some("journalctl --unit=a.scope may say why"));
    });
}

#[test]
fn the_end_of_a_unit_that_is_gone_is_no_error() {
    let script: Script = |serial, _, _| {
        vec![error(
            serial,
            "org.freedesktop.systemd1.NoSuchUnit",
            "not loaded",
        )]
    };
    let calls = with_systemd("gone", script, |systemd| {
        systemd.end("a.scope").unwrap();
        assert_eq!(systemd.control_group("a.scope").unwrap(), None);
    });
    assert_eq!(calls, ["StopUnit", "ResetFailedUnit", "GetUnit"]);
}

#[test]
fn what_fails_after_a_change_brings_the_former_values_back() {
    let script: Script = |serial, member, arguments| match member {
        "GetUnit" => vec![answer(serial, &[Value::ObjectPath("/unit".into())])],
        "Get" => vec![answer(serial, &[Value::variant(Value::Uint64(7))])],
        "SetUnitProperties" => {
            let text = format!("{:?}", arguments[2]);
            assert!(
                text.contains("Uint64(5)") || text.contains("Uint64(7)"),
                "{text}"
            );
            vec![answer(serial, &[])]
        }
        other => panic!("{other}"),
    };
    let calls = with_systemd("former", script, |systemd| {
        let last = || Result::<()>::Err(crate::error::Error::system("refused"));
        let e = systemd.replace("a.scope", &properties(), last).unwrap_err();
        assert_eq!((e.to_string().as_str(), e.hint()), ("refused", None));
    });
    let sets = calls.iter().filter(|call| *call == "SetUnitProperties");
    assert_eq!(sets.count(), 2);
}

#[test]
fn a_property_that_is_too_new_for_systemd_is_left_out() {
    let script: Script = |serial, member, arguments| match member {
        "Get" => vec![answer(serial, &[Value::variant(Value::string("249.11"))])],
        "StartTransientUnit" => {
            assert!(!format!("{:?}", arguments[2]).contains("CPUWeight"));
            vec![answer(serial, &[job("9")]), removed("9", "done")]
        }
        other => panic!("{other}"),
    };
    let mut given = properties();
    given.push(Property {
        since: 252,
        ..Property::new("CPUWeight", Value::Uint64(0))
    });
    with_systemd("old", script, |systemd| {
        systemd.start("a.scope", &given).unwrap();
    });
}

#[test]
fn a_bus_that_talks_nonsense_or_hangs_up_is_an_error() {
    for (name, said, expected) in [
        (
            "rejected",
            &b"REJECTED EXTERNAL\r\n"[..],
            "does not let this user in",
        ),
        ("closed", b"", "has closed the connection"),
        ("endless", &[b'x'; 10_000][..], "a line without an end"),
        (
            "garbage",
            b"OK\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            "cannot be read",
        ),
    ] {
        let (address, thread) = listen(name, move |mut socket| {
            greet(&mut socket, said);
            // What has come is read to its end, so that the other side sees no reset.
            let _ = socket.shutdown(std::net::Shutdown::Write);
            let _ = socket.read_to_end(&mut Vec::new());
        });
        let e = Manager::connect_to(&[address], Bus::System).err().unwrap();
        assert!(e.to_string().contains(expected), "{name}: {e}");
        thread.join().unwrap();
    }
}
