//! A program that somebody else has compiled, `run.oci.seccomp_bpf_data`: base64 of an array of
//! `struct sock_filter`, as crun takes it.
//!
//! Owns the kernel's rules for such a program (seccomp_check_filter and bpf_check_classic, but
//! for reads of memory that was never written), so that a bad one is refused before there is a
//! container. What the program decides is its author's matter.
//!
//! Runs in: parent, before anything is created.

use libc::{
    BPF_A, BPF_ABS, BPF_ADD, BPF_ALU, BPF_AND, BPF_DIV, BPF_IMM, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT,
    BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_LDX, BPF_LEN, BPF_LSH, BPF_MEM, BPF_MISC, BPF_MUL,
    BPF_NEG, BPF_OR, BPF_RET, BPF_RSH, BPF_ST, BPF_STX, BPF_SUB, BPF_TAX, BPF_TXA, BPF_W, BPF_X,
    BPF_XOR,
};
use seccompiler::sock_filter;

use super::{Filter, Flag};
use crate::error::{Error, Result};

/// BPF_MAXINSNS of linux/bpf_common.h.
const LONGEST: usize = 4096;
/// The words of scratch memory, BPF_MEMWORDS of linux/filter.h.
const MEMORY_WORDS: u32 = 16;
/// `struct seccomp_data` of linux/seccomp.h, in bytes.
const DATA_BYTES: u32 = 64;

/// Takes a program as it is, without a listener.
pub fn from_base64(text: &str) -> Result<Filter> {
    let bytes = decode(text)?;
    let (instructions, rest) = bytes.as_chunks::<8>();
    if instructions.is_empty() || !rest.is_empty() || instructions.len() > LONGEST {
        return Err(Error::invalid(format!(
            "{} bytes are no program: it takes 1 to {LONGEST} instructions of 8 bytes",
            bytes.len()
        )));
    }
    let program: Vec<sock_filter> = instructions.iter().map(instruction).collect();
    check(&program)?;
    Ok(Filter {
        program,
        flags: Flag::SpecAllow.bit(),
        listener: None,
    })
}

/// In the machine's order of bytes, as the kernel reads them.
fn instruction(bytes: &[u8; 8]) -> sock_filter {
    let [c0, c1, jt, jf, k0, k1, k2, k3] = *bytes;
    sock_filter {
        code: u16::from_ne_bytes([c0, c1]),
        jt,
        jf,
        k: u32::from_ne_bytes([k0, k1, k2, k3]),
    }
}

fn check(program: &[sock_filter]) -> Result<()> {
    for (n, at) in program.iter().enumerate() {
        let left = program.len() - n - 1;
        if let Some(fault) = fault(at, left) {
            return Err(Error::invalid(format!(
                "instruction {n} (code {:#06x}, k {:#x}) {fault}",
                at.code, at.k
            )));
        }
    }
    Ok(())
}

/// What the kernel would refuse an instruction for, before `left` others.
fn fault(at: &sock_filter, left: usize) -> Option<&'static str> {
    let beyond = |distance: u32| distance as usize >= left;
    match u32::from(at.code) & 7 {
        _ if !CODES.contains(&u32::from(at.code)) => Some("is not known to seccomp"),
        BPF_RET => None,
        _ if left == 0 => Some("is the last and no return"),
        BPF_JMP if u32::from(at.code) == BPF_JMP | BPF_JA => {
            beyond(at.k).then_some("jumps out of the program")
        }
        BPF_JMP if beyond(at.jt.max(at.jf).into()) => Some("jumps out of the program"),
        BPF_LD if u32::from(at.code) == BPF_LD | BPF_W | BPF_ABS => (at.k >= DATA_BYTES
            || !at.k.is_multiple_of(4))
        .then_some("reads beyond the call's data"),
        BPF_ST | BPF_STX => (at.k >= MEMORY_WORDS).then_some("writes beyond the memory"),
        BPF_LD | BPF_LDX if u32::from(at.code) & 0xe0 == BPF_MEM => {
            (at.k >= MEMORY_WORDS).then_some("reads beyond the memory")
        }
        BPF_ALU if at.k == 0 && u32::from(at.code) == BPF_ALU | BPF_DIV | BPF_K => {
            Some("divides by zero")
        }
        BPF_ALU if at.k >= 32 && SHIFTS.contains(&u32::from(at.code)) => {
            Some("shifts by more than a word")
        }
        _ => None,
    }
}

const SHIFTS: [u32; 2] = [BPF_ALU | BPF_LSH | BPF_K, BPF_ALU | BPF_RSH | BPF_K];

/// The instructions that seccomp_check_filter of kernel/seccomp.c lets pass.
const CODES: [u32; 41] = [
    BPF_LD | BPF_W | BPF_ABS,
    BPF_LD | BPF_W | BPF_LEN,
    BPF_LDX | BPF_W | BPF_LEN,
    BPF_RET | BPF_K,
    BPF_RET | BPF_A,
    BPF_ALU | BPF_ADD | BPF_K,
    BPF_ALU | BPF_ADD | BPF_X,
    BPF_ALU | BPF_SUB | BPF_K,
    BPF_ALU | BPF_SUB | BPF_X,
    BPF_ALU | BPF_MUL | BPF_K,
    BPF_ALU | BPF_MUL | BPF_X,
    BPF_ALU | BPF_DIV | BPF_K,
    BPF_ALU | BPF_DIV | BPF_X,
    BPF_ALU | BPF_AND | BPF_K,
    BPF_ALU | BPF_AND | BPF_X,
    BPF_ALU | BPF_OR | BPF_K,
    BPF_ALU | BPF_OR | BPF_X,
    BPF_ALU | BPF_XOR | BPF_K,
    BPF_ALU | BPF_XOR | BPF_X,
    BPF_ALU | BPF_LSH | BPF_K,
    BPF_ALU | BPF_LSH | BPF_X,
    BPF_ALU | BPF_RSH | BPF_K,
    BPF_ALU | BPF_RSH | BPF_X,
    BPF_ALU | BPF_NEG,
    BPF_LD | BPF_IMM,
    BPF_LDX | BPF_IMM,
    BPF_MISC | BPF_TAX,
    BPF_MISC | BPF_TXA,
    BPF_LD | BPF_MEM,
    BPF_LDX | BPF_MEM,
    BPF_ST,
    BPF_STX,
    BPF_JMP | BPF_JA,
    BPF_JMP | BPF_JEQ | BPF_K,
    BPF_JMP | BPF_JEQ | BPF_X,
    BPF_JMP | BPF_JGE | BPF_K,
    BPF_JMP | BPF_JGE | BPF_X,
    BPF_JMP | BPF_JGT | BPF_K,
    BPF_JMP | BPF_JGT | BPF_X,
    BPF_JMP | BPF_JSET | BPF_K,
    BPF_JMP | BPF_JSET | BPF_X,
];

/// RFC 4648, section 4. A last group may lack its padding.
fn decode(text: &str) -> Result<Vec<u8>> {
    let digits = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for group in digits.chunks(4) {
        let mut word = 0u32;
        for digit in group {
            word = word << 6 | value(*digit)?;
        }
        match group.len() {
            4 => bytes.extend(&word.to_be_bytes()[1..]),
            3 => bytes.extend(&(word >> 2).to_be_bytes()[2..]),
            2 => bytes.extend(&(word >> 4).to_be_bytes()[3..]),
            _ => return Err(Error::invalid("is cut short: it is no base64")),
        }
    }
    Ok(bytes)
}

fn value(digit: u8) -> Result<u32> {
    Ok(u32::from(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => {
            let shown = char::from(digit);
            return Err(Error::invalid(format!("{shown:?} is no digit of base64")));
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_as_rfc_4648_shows_it() {
        for (text, expected) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm8", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYmE=", "fooba"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(decode(text).unwrap(), expected.as_bytes(), "{text}");
        }
        assert_eq!(decode("//+/").unwrap(), [0xff, 0xff, 0xbf]);
        for bad in ["Z", "Zm9 v", "Zm=v", "Zm9v\n"] {
            decode(bad).unwrap_err();
        }
    }

    #[test]
    fn a_program_is_taken_as_it_is() {
        // ret ALLOW
        let filter = from_base64("BgAAAAAA/38=").unwrap();
        let [only] = &filter.program[..] else {
            panic!("{filter:?}");
        };
        assert_eq!((only.code, only.k), (6, 0x7fff_0000));
        assert_eq!(filter.flags, 4);
    }

    #[test]
    fn what_the_kernel_would_refuse_is_named() {
        let program = |code: u32, k: u32| sock_filter {
            code: code as u16,
            jt: 0,
            jf: 0,
            k,
        };
        let ret = program(BPF_RET | BPF_K, 0);
        let load = |k| program(BPF_LD | BPF_W | BPF_ABS, k);
        check(&[load(60), ret.clone()]).unwrap();
        for (bad, words) in [
            (vec![load(0)], "is the last and no return"),
            (vec![load(64), ret.clone()], "beyond the call's data"),
            (vec![load(2), ret.clone()], "beyond the call's data"),
            (
                vec![program(BPF_JMP | BPF_JA, 1), ret.clone()],
                "jumps out of the program",
            ),
            (
                vec![program(BPF_LD | BPF_MEM, 16), ret.clone()],
                "beyond the memory",
            ),
            (vec![program(0x30, 0), ret.clone()], "not known to seccomp"),
            (
                vec![program(BPF_ALU | BPF_DIV | BPF_K, 0), ret],
                "divides by zero",
            ),
        ] {
            let e = check(&bad).unwrap_err().to_string();
            assert!(e.contains(words), "{e}");
        }
    }
}
