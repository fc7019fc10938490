//! libseccomp as the judge: a small C program beside this file, built when the tests run.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use seccompiler::sock_filter;

use super::super::{Arch, Operator, Profile};

/// The architectures that libseccomp 2.5.4 and our tables both have.
pub const ARCHES: [Arch; 14] = [
    Arch::X86,
    Arch::X86_64,
    Arch::X32,
    Arch::Arm,
    Arch::Aarch64,
    Arch::Mips,
    Arch::Mipsel,
    Arch::Mips64,
    Arch::Mipsel64,
    Arch::Ppc,
    Arch::Ppc64,
    Arch::Ppc64le,
    Arch::Riscv64,
    Arch::S390x,
];

pub struct Oracle {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Oracle {
    /// None, said aloud, where libseccomp or a C compiler is missing; with `RT_SECCOMP_ORACLE`
    /// that is a failure, so that CI does not pass without the comparison.
    pub fn start() -> Option<Oracle> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("rt-seccomp-oracle-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir(&dir).unwrap();
        let child = build(&dir).map(|program| {
            Command::new(program)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        });
        std::fs::remove_dir_all(&dir).unwrap();
        let is_wanted = std::env::var_os("RT_SECCOMP_ORACLE").is_some();
        assert!(
            child.is_some() || !is_wanted,
            "there is no libseccomp to compare with"
        );
        let mut child = child?;
        Some(Oracle {
            requests: child.stdin.take(),
            answers: BufReader::new(child.stdout.take().unwrap()),
            child,
        })
    }

    fn say(&mut self, request: &str) {
        self.requests
            .as_mut()
            .unwrap()
            .write_all(request.as_bytes())
            .unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(
            self.answers.read_line(&mut line).unwrap(),
            0,
            "the oracle has died"
        );
        line.trim_end().to_owned()
    }

    /// The number of the call `name`. None where libseccomp knows none, or where it is
    /// negative: calls that 32-bit ABIs bundle have only such a number there.
    pub fn number(&mut self, arch: Arch, name: &str) -> Option<u32> {
        self.say(&format!("number {} {name}\n", token(arch)));
        let number: i32 = self.line().parse().unwrap();
        u32::try_from(number).ok()
    }

    /// Whether libseccomp can put rules for `name` on an architecture other than its own: some
    /// names share one made-up number.
    pub fn playable(&mut self, name: &str) -> bool {
        self.say(&format!("playable {name}\n"));
        self.line() == "1"
    }

    /// libseccomp's program for `profile` on a machine of the architecture `native`.
    pub fn compile(&mut self, profile: &Profile, native: Arch) -> Result<Vec<sock_filter>, i32> {
        let default = profile
            .default_action
            .unwrap()
            .return_value(profile.default_errno)
            .unwrap();
        let mut request = format!("profile {default}\n");
        if native != Arch::X86_64 {
            request += &format!("without {}\n", token(Arch::X86_64));
        }
        for arch in [native].iter().chain(&profile.architectures) {
            request += &format!("arch {}\n", token(*arch));
        }
        for rule in &profile.rules {
            let action = rule.action.return_value(rule.errno).unwrap();
            for name in &rule.names {
                request += &format!("rule {action} {name} {}", rule.args.len());
                for c in &rule.args {
                    request += &format!(
                        " {} {} {} {}",
                        c.index,
                        operator(c.operator),
                        c.value,
                        c.value_two
                    );
                }
                request.push('\n');
            }
        }
        self.say(&request);
        self.say("end\n");
        let length: i32 = self.line().parse().unwrap();
        let length = usize::try_from(length).map_err(|_| length)?;
        let mut bytes = vec![0; 8 * length];
        self.answers.read_exact(&mut bytes).unwrap();
        // Written for the machine that the program is for.
        let swap = big_endian(native);
        Ok(bytes
            .chunks_exact(8)
            .map(|b| {
                let code = u16::from_ne_bytes([b[0], b[1]]);
                let k = u32::from_ne_bytes([b[4], b[5], b[6], b[7]]);
                sock_filter {
                    code: if swap { code.swap_bytes() } else { code },
                    jt: b[2],
                    jf: b[3],
                    k: if swap { k.swap_bytes() } else { k },
                }
            })
            .collect())
    }
}

/// `__AUDIT_ARCH_LE` is missing.
pub fn big_endian(arch: Arch) -> bool {
    arch.audit() & 0x4000_0000 == 0
}

impl Drop for Oracle {
    fn drop(&mut self) {
        self.requests.take();
        let _ = self.child.wait();
    }
}

fn build(dir: &Path) -> Option<PathBuf> {
    let (source, program) = (dir.join("oracle.c"), dir.join("oracle"));
    std::fs::write(&source, include_str!("oracle.c")).unwrap();
    let built = Command::new("gcc")
        .arg("-O2")
        .arg("-o")
        .args([&program, &source])
        .arg("-lseccomp")
        .output();
    match built {
        Ok(output) if output.status.success() => Some(program),
        Ok(output) => {
            eprintln!(
                "skipped: no libseccomp-dev: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            None
        }
        Err(e) => {
            eprintln!("skipped: gcc: {e}");
            None
        }
    }
}

/// The smallest number of a call.
pub fn first(arch: Arch) -> u32 {
    match arch {
        Arch::Mips | Arch::Mipsel => 4000,
        Arch::Mips64 | Arch::Mipsel64 => 5000,
        Arch::X32 => 0x4000_0000,
        _ => 0,
    }
}

/// `SCMP_ARCH_*`: the audit name, but for x32, which needs one of its own.
fn token(arch: Arch) -> u32 {
    match arch {
        Arch::X32 => 0x4000_003e,
        other => other.audit(),
    }
}

/// `enum scmp_compare`.
fn operator(operator: Operator) -> u32 {
    match operator {
        Operator::Ne => 1,
        Operator::Lt => 2,
        Operator::Le => 3,
        Operator::Eq => 4,
        Operator::Ge => 5,
        Operator::Gt => 6,
        Operator::MaskedEq => 7,
    }
}
