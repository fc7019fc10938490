//! Architectures: what the kernel calls each, how wide its words are, which calls it bundles.
//!
//! Architecture is a value here, never a `cfg`: a profile names several, and the tables of
//! all of them are tested on any machine.
//!
//! Runs in: parent, before anything is created.

use serde::Deserialize;

use super::profile::named;
use crate::error::{Error, Result};

named!(
    /// The architectures of the specification.
    #[derive(PartialOrd, Ord)]
    Arch, "architecture", {
        X86 = "SCMP_ARCH_X86",
        X86_64 = "SCMP_ARCH_X86_64",
        X32 = "SCMP_ARCH_X32",
        Arm = "SCMP_ARCH_ARM",
        Aarch64 = "SCMP_ARCH_AARCH64",
        Loongarch64 = "SCMP_ARCH_LOONGARCH64",
        M68k = "SCMP_ARCH_M68K",
        Mips = "SCMP_ARCH_MIPS",
        Mips64 = "SCMP_ARCH_MIPS64",
        Mips64n32 = "SCMP_ARCH_MIPS64N32",
        Mipsel = "SCMP_ARCH_MIPSEL",
        Mipsel64 = "SCMP_ARCH_MIPSEL64",
        Mipsel64n32 = "SCMP_ARCH_MIPSEL64N32",
        Parisc = "SCMP_ARCH_PARISC",
        Parisc64 = "SCMP_ARCH_PARISC64",
        Ppc = "SCMP_ARCH_PPC",
        Ppc64 = "SCMP_ARCH_PPC64",
        Ppc64le = "SCMP_ARCH_PPC64LE",
        Riscv64 = "SCMP_ARCH_RISCV64",
        S390 = "SCMP_ARCH_S390",
        S390x = "SCMP_ARCH_S390X",
        Sh = "SCMP_ARCH_SH",
        Sheb = "SCMP_ARCH_SHEB",
    }
);

/// The bit that marks a number of the x32 ABI, `__X32_SYSCALL_BIT`.
pub const X32_BIT: u32 = 0x4000_0000;

const LE: u32 = 0x4000_0000;
const WIDE: u32 = 0x8000_0000;
const N32: u32 = 0x2000_0000;

/// Where the two halves of an argument lie in `struct seccomp_data`, and whether there are two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Words {
    /// The ABI passes 32 bits: the upper half is not looked at.
    Narrow { low: u32 },
    /// 64 bits.
    Wide { low: u32, high: u32 },
}

impl Arch {
    /// The architecture that `rt` was built for; None where the specification has no name
    /// for it.
    pub fn native() -> Option<Arch> {
        let little = cfg!(target_endian = "little");
        Some(match std::env::consts::ARCH {
            "x86" => Arch::X86,
            "x86_64" => Arch::X86_64,
            "arm" => Arch::Arm,
            "aarch64" => Arch::Aarch64,
            "loongarch64" => Arch::Loongarch64,
            "riscv64" => Arch::Riscv64,
            "s390x" => Arch::S390x,
            "powerpc" => Arch::Ppc,
            "powerpc64" if little => Arch::Ppc64le,
            "powerpc64" => Arch::Ppc64,
            "mips" if little => Arch::Mipsel,
            "mips" => Arch::Mips,
            "mips64" if little => Arch::Mipsel64,
            "mips64" => Arch::Mips64,
            _ => return None,
        })
    }

    /// The kernel's name for it, `AUDIT_ARCH_*` of linux/audit.h. x32 has that of x86_64: its
    /// calls differ by a bit of their number.
    pub fn audit(self) -> u32 {
        match self {
            Arch::X86 => 3 | LE,
            Arch::X86_64 | Arch::X32 => 62 | WIDE | LE,
            Arch::Arm => 40 | LE,
            Arch::Aarch64 => 183 | WIDE | LE,
            Arch::Loongarch64 => 258 | WIDE | LE,
            Arch::M68k => 4,
            Arch::Mips => 8,
            Arch::Mips64 => 8 | WIDE,
            Arch::Mips64n32 => 8 | WIDE | N32,
            Arch::Mipsel => 8 | LE,
            Arch::Mipsel64 => 8 | WIDE | LE,
            Arch::Mipsel64n32 => 8 | WIDE | LE | N32,
            Arch::Parisc => 15,
            Arch::Parisc64 => 15 | WIDE,
            Arch::Ppc => 20,
            Arch::Ppc64 => 21 | WIDE,
            Arch::Ppc64le => 21 | WIDE | LE,
            Arch::Riscv64 => 243 | WIDE | LE,
            Arch::S390 => 22,
            Arch::S390x => 22 | WIDE,
            Arch::Sh => 42 | LE,
            Arch::Sheb => 42,
        }
    }

    /// How arguments are compared. The ABIs with 64-bit registers and 32-bit words (x32, n32)
    /// count as 32-bit ones, as in libseccomp.
    pub fn words(self) -> Words {
        let (low, high) = if self.audit() & LE != 0 {
            (0, 4)
        } else {
            (4, 0)
        };
        let narrow = matches!(self, Arch::X32 | Arch::Mips64n32 | Arch::Mipsel64n32);
        if self.audit() & WIDE == 0 || narrow {
            Words::Narrow { low }
        } else {
            Words::Wide { low, high }
        }
    }

    /// Whether socketcall(2) and ipc(2) carry the calls that have names of their own
    /// elsewhere. A rule for such a name then holds for its part of the bundle too.
    pub fn bundles_calls(self) -> bool {
        matches!(
            self,
            Arch::X86
                | Arch::M68k
                | Arch::Mips
                | Arch::Mipsel
                | Arch::Ppc
                | Arch::Ppc64
                | Arch::Ppc64le
                | Arch::S390
                | Arch::S390x
                | Arch::Sh
                | Arch::Sheb
        )
    }
}

/// Calls that a bundling architecture reaches by another one too: name, that other call and
/// its first argument (linux/net.h, linux/ipc.h).
pub const BUNDLED: [(&str, &str, u32); 32] = [
    ("socket", "socketcall", 1),
    ("bind", "socketcall", 2),
    ("connect", "socketcall", 3),
    ("listen", "socketcall", 4),
    ("accept", "socketcall", 5),
    ("getsockname", "socketcall", 6),
    ("getpeername", "socketcall", 7),
    ("socketpair", "socketcall", 8),
    ("send", "socketcall", 9),
    ("recv", "socketcall", 10),
    ("sendto", "socketcall", 11),
    ("recvfrom", "socketcall", 12),
    ("shutdown", "socketcall", 13),
    ("setsockopt", "socketcall", 14),
    ("getsockopt", "socketcall", 15),
    ("sendmsg", "socketcall", 16),
    ("recvmsg", "socketcall", 17),
    ("accept4", "socketcall", 18),
    ("recvmmsg", "socketcall", 19),
    ("sendmmsg", "socketcall", 20),
    ("semop", "ipc", 1),
    ("semget", "ipc", 2),
    ("semctl", "ipc", 3),
    ("semtimedop", "ipc", 4),
    ("msgsnd", "ipc", 11),
    ("msgrcv", "ipc", 12),
    ("msgget", "ipc", 13),
    ("msgctl", "ipc", 14),
    ("shmat", "ipc", 21),
    ("shmdt", "ipc", 22),
    ("shmget", "ipc", 23),
    ("shmctl", "ipc", 24),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audit_names_are_those_of_the_header() {
        for (arch, audit) in [
            (Arch::X86, 0x4000_0003),
            (Arch::X86_64, 0xc000_003e),
            (Arch::Arm, 0x4000_0028),
            (Arch::Aarch64, 0xc000_00b7),
            (Arch::Mipsel64n32, 0xe000_0008),
            (Arch::Ppc64le, 0xc000_0015),
            (Arch::S390x, 0x8000_0016),
            (Arch::Riscv64, 0xc000_00f3),
            (Arch::Loongarch64, 0xc000_0102),
        ] {
            assert_eq!(arch.audit(), audit, "{arch:?}");
        }
    }

    #[test]
    fn the_halves_of_an_argument_follow_the_byte_order() {
        assert_eq!(Arch::X86_64.words(), Words::Wide { low: 0, high: 4 });
        assert_eq!(Arch::S390x.words(), Words::Wide { low: 4, high: 0 });
        assert_eq!(Arch::Ppc.words(), Words::Narrow { low: 4 });
        assert_eq!(Arch::X32.words(), Words::Narrow { low: 0 });
    }
}
