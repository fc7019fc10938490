//! The beginning of a program's file: for which machine, by which interpreter. elf(5), execve(2).
//!
//! Runs in: parent.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// How much of a file is looked at; the interpreter's name lies near the beginning.
pub const HEAD_BYTES: usize = 4096;

/// What execve(2) would take a file for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// For this machine, with the dynamic loader that it asks for.
    Binary { interpreter: Option<PathBuf> },
    /// An ELF file for another machine.
    Foreign,
    /// `#!`
    Script { interpreter: PathBuf },
    /// Neither.
    Unknown,
}

/// What the first [`HEAD_BYTES`] of a file say, on a machine that runs programs of these
/// numbers (`EM_*`).
pub fn form(head: &[u8], machines: &[u16]) -> Form {
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|b| *b == b'\n').next().unwrap_or_default();
        let mut words = line
            .split(|b| matches!(b, b' ' | b'\t'))
            .filter(|word| !word.is_empty());
        return match words.next() {
            Some(word) => Form::Script {
                interpreter: path(word),
            },
            None => Form::Unknown,
        };
    }
    if !head.starts_with(b"\x7fELF") {
        return Form::Unknown;
    }
    let elf = Elf {
        head,
        wide: head.get(4) == Some(&2),
        // The other order is another machine's in any case.
        little: head.get(5) == Some(&1),
    };
    match elf.number(18, 2).and_then(|n| u16::try_from(n).ok()) {
        Some(machine) if elf.little && machines.contains(&machine) => Form::Binary {
            interpreter: elf.interpreter(),
        },
        _ => Form::Foreign,
    }
}

/// `EM_*` of what runs here.
pub fn machines_here() -> &'static [u16] {
    const EM_386: u16 = 3;
    const EM_ARM: u16 = 40;
    const EM_X86_64: u16 = 62;
    const EM_AARCH64: u16 = 183;
    match std::env::consts::ARCH {
        "x86_64" => &[EM_X86_64, EM_386],
        "aarch64" => &[EM_AARCH64, EM_ARM],
        _ => &[],
    }
}

struct Elf<'a> {
    head: &'a [u8],
    wide: bool,
    little: bool,
}

impl Elf<'_> {
    fn number(&self, at: usize, size: usize) -> Option<usize> {
        let bytes = self.head.get(at..at.checked_add(size)?)?;
        let number = bytes
            .iter()
            .rev()
            .fold(0_u64, |n, b| n << 8 | u64::from(*b));
        usize::try_from(number).ok()
    }

    /// The name in the segment of type `PT_INTERP`.
    fn interpreter(&self) -> Option<PathBuf> {
        const PT_INTERP: usize = 3;
        let (table, size, count) = match self.wide {
            true => (
                self.number(32, 8)?,
                self.number(54, 2)?,
                self.number(56, 2)?,
            ),
            false => (
                self.number(28, 4)?,
                self.number(42, 2)?,
                self.number(44, 2)?,
            ),
        };
        let entry = (0..count)
            .filter_map(|n| table.checked_add(n.checked_mul(size)?))
            .find(|at| self.number(*at, 4) == Some(PT_INTERP))?;
        let (offset, length) = match self.wide {
            true => (self.number(entry + 8, 8)?, self.number(entry + 32, 8)?),
            false => (self.number(entry + 4, 4)?, self.number(entry + 16, 4)?),
        };
        let name = self.head.get(offset..offset.checked_add(length)?)?;
        let name = name
            .split(|b| *b == 0)
            .next()
            .filter(|name| !name.is_empty());
        name.map(path)
    }
}

fn path(bytes: &[u8]) -> PathBuf {
    OsString::from_vec(bytes.to_vec()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF header of 64 bits with one program header and the interpreter's name behind it.
    fn elf(machine: u16, interpreter: &str) -> Vec<u8> {
        let mut head = vec![0; 120];
        head[..6].copy_from_slice(b"\x7fELF\x02\x01");
        head[18..20].copy_from_slice(&machine.to_le_bytes());
        head[32] = 64;
        head[54] = 56;
        head[56] = 1;
        head[64] = 3;
        head[72] = 120;
        head[96] = interpreter.len() as u8 + 1;
        head.extend_from_slice(interpreter.as_bytes());
        head.push(0);
        head
    }

    #[test]
    fn a_program_names_its_machine_and_its_loader() {
        let loader = "/lib64/ld-linux-x86-64.so.2";
        assert_eq!(
            form(&elf(62, loader), &[62, 3]),
            Form::Binary {
                interpreter: Some(loader.into())
            }
        );
        assert_eq!(form(&elf(183, loader), &[62, 3]), Form::Foreign);
        let mut big = elf(62, loader);
        big[5] = 2;
        assert_eq!(form(&big, &[62]), Form::Foreign);
    }

    #[test]
    fn a_script_names_its_interpreter() {
        let script = |text: &str| form(text.as_bytes(), &[62]);
        let interpreter = |name: &str| Form::Script {
            interpreter: name.into(),
        };
        assert_eq!(script("#! /bin/sh -e\necho"), interpreter("/bin/sh"));
        assert_eq!(
            script("#!/usr/bin/env python3"),
            interpreter("/usr/bin/env")
        );
        assert_eq!(script("#!\n"), Form::Unknown);
        assert_eq!(script("echo\n"), Form::Unknown);
        assert_eq!(script(""), Form::Unknown);
    }

    #[test]
    fn no_header_is_strange_enough_for_a_panic() {
        let whole = elf(62, "/lib/ld.so");
        for end in 0..whole.len() {
            form(&whole[..end], &[62]);
            let mut strange = whole.clone();
            strange[end] = 0xff;
            form(&strange, &[62]);
        }
    }

    #[test]
    fn this_very_program_is_one_for_here() {
        let mut head = std::fs::read("/proc/self/exe").unwrap();
        head.truncate(HEAD_BYTES);
        assert!(matches!(form(&head, machines_here()), Form::Binary { .. }));
    }
}
