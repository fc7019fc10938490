//! The first instructions of the program, before the C library's own start.
//!
//! `create`, `run`, `exec` and `restore` run from a copy of the binary that nobody can write to
//! ([`crate::process::shield`] says why), and so start twice where the caller could write to it.
//! The start of a static C library asks the processor for its caches and features, which a
//! virtual machine answers slowly: 0.5 ms measured, a sixth of a container's start. So the
//! first start hands over before any of that has begun.
//!
//! It is written in assembly because nothing else works yet: no relocation is done, so no
//! pointer in memory and no function of another crate can be used, and a compiler promises not
//! to make use of either. Whatever does not go as planned is left to the shield, which does the
//! same with all comforts, says what is wrong, and knows other ways.
//!
//! The copy is close-on-exec though the kernel waits for a grace period of RCU when it closes
//! it: as long as it is open the mount belongs to a mount namespace, of which a payload with
//! CAP_SYS_ADMIN can change the mounts it sees (Linux 6.15), and this one is writable again.
//!
//! Runs in: parent, before main.

use std::sync::atomic::{AtomicBool, Ordering};

/// Set by the code below, where it finds that the caller cannot write to the binary.
static OUT_OF_REACH: AtomicBool = AtomicBool::new(false);

/// Whether it is known already that the caller cannot write to the binary: that of another
/// user, or the copy.
pub fn is_out_of_reach() -> bool {
    OUT_OF_REACH.load(Ordering::Relaxed)
}

// The arguments are those of execve(2): at the stack pointer argc, then argv with a null at its
// end, then envp. The C library's `_start` gets the stack and rdx as the kernel left them.
//
// rbx: the stack as it was. r12: rdx as it was. r13: argv. r14: envp. r15: the copy.
//
// The words are compared four and eight bytes at a time. That reads beyond the end of a shorter
// one, but never beyond the stack: behind argv's strings lie envp's, the program's name and
// eight bytes of zero (the kernel's fs/exec.c).
#[cfg(all(target_arch = "x86_64", any(target_env = "gnu", target_env = "musl")))]
std::arch::global_asm!(
    ".pushsection .rodata.rt_entry, \"a\"",
    "2: .asciz \"/proc/self/exe\"",
    "3: .asciz \"\"",
    ".popsection",
    ".globl rt_entry",
    ".type rt_entry, @function",
    "rt_entry:",
    "mov rbx, rsp",
    "mov r12, rdx",
    "mov rcx, [rsp]",
    "lea r13, [rsp + 8]",
    "lea r14, [r13 + rcx * 8 + 8]",
    // Is a word of the command line one of the verbs? A container of such a name costs a start
    // that is not needed, no more.
    "lea rdx, [r13]",
    "4: add rdx, 8",
    "mov rsi, [rdx]",
    "test rsi, rsi",
    "jz 9f",
    "mov rax, 0x0065726f74736572", // restore\0
    "cmp [rsi], rax",
    "je 5f",
    "cmp dword ptr [rsi], 0x006e7572", // run\0
    "je 5f",
    "mov eax, [rsi]",
    "cmp eax, 0x63657865", // exec
    "je 6f",
    "cmp eax, 0x61657263", // crea
    "jne 4b",
    "cmp dword ptr [rsi + 3], 0x00657461", // ate\0
    "jne 4b",
    "jmp 5f",
    "6: cmp byte ptr [rsi + 4], 0",
    "jne 4b",
    // faccessat2(AT_FDCWD, "/proc/self/exe", W_OK, AT_EACCESS)
    "5: mov eax, {faccessat2}",
    "mov rdi, {at_fdcwd}",
    "lea rsi, [rip + 2b]",
    "mov edx, 2",
    "mov r10d, {at_eaccess}",
    "syscall",
    "test rax, rax",
    "jz 7f",
    "cmp rax, -{eacces}",
    "je 6f",
    "cmp rax, -{erofs}",
    "jne 9f",
    "6: mov byte ptr [rip + {out_of_reach}], 1",
    "jmp 9f",
    // open_tree(AT_FDCWD, "/proc/self/exe", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)
    "7: mov eax, {open_tree}",
    "mov rdi, {at_fdcwd}",
    "lea rsi, [rip + 2b]",
    "mov edx, {open_tree_flags}",
    "syscall",
    "test rax, rax",
    "js 9f",
    "mov r15, rax",
    // mount_setattr(copy, "", AT_EMPTY_PATH, {{MOUNT_ATTR_RDONLY, 0, 0, 0}}, 32)
    "push 0",
    "push 0",
    "push 0",
    "push {mount_attr_rdonly}",
    "mov eax, {mount_setattr}",
    "mov rdi, r15",
    "lea rsi, [rip + 3b]",
    "mov edx, {at_empty_path}",
    "mov r10, rsp",
    "mov r8d, 32",
    "syscall",
    "test rax, rax",
    "jnz 8f",
    // execveat(copy, "", argv, envp, AT_EMPTY_PATH): comes back only where it failed
    "mov eax, {execveat}",
    "mov rdi, r15",
    "lea rsi, [rip + 3b]",
    "mov rdx, r13",
    "mov r10, r14",
    "mov r8d, {at_empty_path}",
    "syscall",
    // close(copy)
    "8: mov eax, {close}",
    "mov rdi, r15",
    "syscall",
    "9: mov rsp, rbx",
    "mov rdx, r12",
    "xor ebp, ebp",
    "jmp _start",
    out_of_reach = sym OUT_OF_REACH,
    eacces = const libc::EACCES,
    erofs = const libc::EROFS,
    faccessat2 = const libc::SYS_faccessat2,
    open_tree = const libc::SYS_open_tree,
    mount_setattr = const libc::SYS_mount_setattr,
    execveat = const libc::SYS_execveat,
    close = const libc::SYS_close,
    at_fdcwd = const libc::AT_FDCWD,
    at_eaccess = const libc::AT_EACCESS,
    at_empty_path = const libc::AT_EMPTY_PATH,
    open_tree_flags = const 1 | libc::O_CLOEXEC, // OPEN_TREE_CLONE
    mount_attr_rdonly = const libc::MOUNT_ATTR_RDONLY,
);

#[cfg(test)]
mod tests {
    #[test]
    fn the_verbs_in_the_code_are_the_numbers_of_their_letters() {
        let four = |word: &[u8; 4]| u32::from_le_bytes(*word);
        assert_eq!(u64::from_le_bytes(*b"restore\0"), 0x0065_726f_7473_6572);
        assert_eq!(four(b"run\0"), 0x006e_7572);
        assert_eq!(four(b"exec"), 0x6365_7865);
        assert_eq!(four(b"crea"), 0x6165_7263);
        assert_eq!(four(b"ate\0"), 0x0065_7461);
    }
}
