//! config-linux.md#rdma, with a device of the kernel's own: RDMA over a dummy network device (rdma_rxe). Debian's cloud
//! kernel, and so the lab, is without that driver; its ordinary kernel has it.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::case::Case;
use crate::harness::verdict::{Doing, Stop, Verdict, equal, holds, skip};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "config-linux.md#rdma" Must an_rdma_limit_is_written_updated_and_holds;
}

/// A soft RDMA device, removed with the network device below it.
struct Device {
    name: String,
    /// Its character device, `/dev/infiniband/NAME`.
    node: String,
}

impl Device {
    fn make(case: &Case) -> Verdict<Self> {
        case.need_root()?;
        let name = case.id.clone();
        let mut device = Self {
            name,
            node: String::new(),
        };
        let name = &device.name;
        for command in [
            format!("ip link add {name} type dummy"),
            format!("ip addr add 192.0.2.1/32 dev {name}"),
            format!("ip link set {name} up"),
            format!("rdma link add {name} type rxe netdev {name}"),
        ] {
            if let Err(why) = run(&command) {
                return skip(format!("{command}: {why}"));
            }
        }
        let class = Path::new("/sys/class/infiniband_verbs");
        for entry in fs::read_dir(class).doing(class.display())? {
            let entry = entry?;
            let of = fs::read_to_string(entry.path().join("ibdev")).unwrap_or_default();
            if of.trim() == device.name {
                device.node = entry.file_name().to_string_lossy().into_owned();
            }
        }
        match device.node.is_empty() {
            true => skip("the device has no node (ib_uverbs)"),
            false => Ok(device),
        }
    }

    fn numbers(&self) -> Verdict<(u64, u64)> {
        let file = format!("/sys/class/infiniband_verbs/{}/dev", self.node);
        let text = fs::read_to_string(&file).doing(&file)?;
        let numbers = text.trim().split_once(':');
        let numbers =
            numbers.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        numbers.ok_or_else(|| Stop::Fail(format!("{file}: {text:?}")))
    }

    fn limits(&self, handles: u64) -> Value {
        json!({"rdma": {&self.name: {"hcaHandles": handles, "hcaObjects": 100}}})
    }

    fn line(&self, handles: u64) -> String {
        format!("{} hca_handle={handles} hca_object=100", self.name)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = run(&format!("rdma link delete {}", self.name));
        let _ = run(&format!("ip link delete {}", self.name));
    }
}

fn run(command: &str) -> Result<(), String> {
    let mut words = command.split(' ');
    let mut program = Command::new(words.next().unwrap_or_default());
    let output = program.args(words).output().map_err(|e| e.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

fn an_rdma_limit_is_written_updated_and_holds(case: &Case) -> Verdict {
    let place = case.need_controller("rdma")?;
    let device = Device::make(case)?;
    let mut bundle = case.limited(&place, "rdma", &device.limits(2))?;
    let path = format!("/dev/infiniband/{}", device.node);
    let (major, minor) = device.numbers()?;
    bundle.linux()["devices"] = json!([
        {"path": path, "type": "c", "major": major, "minor": minor, "fileMode": 0o666},
    ]);
    bundle.linux()["resources"]["devices"] = json!([
        {"allow": true, "type": "c", "major": major, "minor": minor, "access": "rwm"},
    ]);
    let mut container = case.started(&mut bundle)?;
    let cgroup = container.cgroup()?;
    let has_line = |line: String| -> Verdict {
        let text = cgroup.read("rdma.max")?;
        holds(
            text.lines().any(|l| l.trim() == line),
            format!("no {line:?} in {text:?}"),
        )
    };
    has_line(device.line(2))?;
    let opened = |most| Ask::OpenVerbs {
        path: path.clone().into(),
        most,
    };
    let first = container.ask_one(opened(10))?.number()?;
    equal("contexts of the device", first, 2)?;

    let file = case.file("resources.json", &device.limits(5).to_string())?;
    let update = case.runtime(["update", "--resources"]).arg(file);
    update.arg(&container.id).run()?.succeeded()?;
    has_line(device.line(5))?;
    let second = container.ask_one(opened(10))?.number()?;
    equal("contexts more after the update", second, 3)?;
    container.stop()?;
    container.delete()
}
