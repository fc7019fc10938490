//! Tables of system calls: name and number for each architecture.
//!
//! Owns what the `syscalls` crate lacks: the x32 ABI, the private calls of 32-bit ARM.
//! Tables are walked in order of number and never searched by name: a profile names nearly
//! every call, so looking each call of the table up in the profile costs a walk, while
//! looking each name up in a table of strings costs as many comparisons squared.
//!
//! Runs in: parent, before anything is created.

use super::arch::{Arch, X32_BIT};

/// Calls `visit` with the number and name of every call of `arch`, by rising numbers. False
/// where there is no table for `arch`.
pub fn walk(arch: Arch, mut visit: impl FnMut(u32, &'static str)) -> bool {
    macro_rules! walk {
        ($module:ident) => {{
            use syscalls::$module::Sysno;
            for number in Sysno::first().id()..=Sysno::last().id() {
                let name = Sysno::new(number as usize).map(|call| call.name());
                if let Some(name) = corrected(arch, number, name) {
                    visit(number as u32, name);
                }
            }
        }};
    }
    match arch {
        Arch::X86 => walk!(x86),
        Arch::X86_64 => walk!(x86_64),
        Arch::X32 => walk_x32(visit),
        Arch::Arm => {
            walk!(arm);
            for (number, name) in ARM_PRIVATE {
                visit(number, name);
            }
        }
        Arch::Aarch64 => walk!(aarch64),
        Arch::Loongarch64 => walk!(loongarch64),
        Arch::Mips | Arch::Mipsel => walk!(mips),
        Arch::Mips64 | Arch::Mipsel64 => walk!(mips64),
        Arch::Ppc => walk!(powerpc),
        Arch::Ppc64 | Arch::Ppc64le => walk!(powerpc64),
        Arch::Riscv64 => walk!(riscv64),
        Arch::S390x => walk!(s390x),
        Arch::M68k
        | Arch::Mips64n32
        | Arch::Mipsel64n32
        | Arch::Parisc
        | Arch::Parisc64
        | Arch::S390
        | Arch::Sh
        | Arch::Sheb => return false,
    }
    true
}

impl Arch {
    /// Whether its system calls are known here.
    pub fn has_table(self) -> bool {
        walk(self, |_, _| {})
    }
}

/// What the kernel calls a number, where the crate errs.
fn corrected(arch: Arch, number: i32, name: Option<&'static str>) -> Option<&'static str> {
    match (arch, number, name) {
        (_, _, Some("r#break")) => Some("break"),
        (Arch::Aarch64 | Arch::Loongarch64, 79, _) => Some("newfstatat"),
        // The calls with 64-bit times exist on 32-bit machines alone.
        (Arch::Aarch64 | Arch::Loongarch64, 403..=414 | 416..=423, _) => None,
        // Holes of MIPS that the crate gives names.
        (_, 4000..6000, Some(n)) if n.starts_with("unused") || n.starts_with("reserved") => None,
        (Arch::Mips64 | Arch::Mipsel64, 5450, _) => Some("set_mempolicy_home_node"),
        (_, _, name) => name,
    }
}

/// x32 shares the table of x86_64, with the bit set, but for the calls whose arguments hold
/// pointers in memory: those have numbers of their own from 512 on
/// (arch/x86/entry/syscalls/syscall_64.tbl).
fn walk_x32(mut visit: impl FnMut(u32, &'static str)) {
    use syscalls::x86_64::Sysno;
    for number in Sysno::first().id()..=Sysno::last().id() {
        if let Some(call) = Sysno::new(number as usize) {
            let name = call.name();
            if X86_64_ONLY.binary_search(&number).is_err() {
                visit(number as u32 | X32_BIT, name);
            }
        }
    }
    for (number, name) in X32_OWN.iter().enumerate() {
        visit((512 + number as u32) | X32_BIT, name);
    }
}

/// The rows of syscall_64.tbl that are marked `64`, rising.
const X86_64_ONLY: [i32; 50] = [
    13, 15, 16, 19, 20, 45, 46, 47, 54, 55, 59, 101, 127, 128, 129, 131, 134, 156, 174, 177, 178,
    180, 205, 206, 209, 211, 214, 215, 222, 236, 244, 246, 247, 273, 274, 278, 279, 295, 296, 297,
    299, 307, 310, 311, 322, 327, 328, 335, 336, 453,
];

const X32_OWN: [&str; 36] = [
    "rt_sigaction",
    "rt_sigreturn",
    "ioctl",
    "readv",
    "writev",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "execve",
    "ptrace",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "sigaltstack",
    "timer_create",
    "mq_notify",
    "kexec_load",
    "waitid",
    "set_robust_list",
    "get_robust_list",
    "vmsplice",
    "move_pages",
    "preadv",
    "pwritev",
    "rt_tgsigqueueinfo",
    "recvmmsg",
    "sendmmsg",
    "process_vm_readv",
    "process_vm_writev",
    "setsockopt",
    "getsockopt",
    "io_setup",
    "io_submit",
    "execveat",
    "preadv2",
    "pwritev2",
];

/// `__ARM_NR_BASE` and on, arch/arm/include/uapi/asm/unistd.h.
const ARM_PRIVATE: [(u32, &str); 6] = [
    (0x0f_0001, "breakpoint"),
    (0x0f_0002, "cacheflush"),
    (0x0f_0003, "usr26"),
    (0x0f_0004, "usr32"),
    (0x0f_0005, "set_tls"),
    (0x0f_0006, "get_tls"),
];
