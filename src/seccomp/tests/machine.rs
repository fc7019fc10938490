//! A small machine for classic BPF, with the checks of the kernel's verifier.

use seccompiler::sock_filter;

/// `struct seccomp_data`, linux/seccomp.h.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Data {
    pub number: u32,
    pub audit: u32,
    pub args: [u64; 6],
    /// Whether the words lie as on a big-endian machine.
    pub big_endian: bool,
}

impl Data {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.audit,
            8 | 12 => 0,
            _ => {
                let arg = self.args[(offset as usize - 16) / 8];
                let second = !offset.is_multiple_of(8);
                if second == self.big_endian {
                    arg as u32
                } else {
                    (arg >> 32) as u32
                }
            }
        }
    }
}

/// Runs `program`; the value returned and the number of instructions executed.
pub fn run(program: &[sock_filter], data: &Data) -> (u32, usize) {
    let (mut a, mut at) = (0u32, 0usize);
    for executed in 1.. {
        let i = &program[at];
        at += 1;
        let mut jump = |yes: bool| at += usize::from(if yes { i.jt } else { i.jf });
        match i.code {
            0x20 => a = data.word(i.k),
            0x54 => a &= i.k,
            0x05 => at += i.k as usize,
            0x15 => jump(a == i.k),
            0x25 => jump(a > i.k),
            0x35 => jump(a >= i.k),
            0x45 => jump(a & i.k != 0),
            0x06 => return (i.k, executed),
            code => panic!("instruction {code:#x} at {}", at - 1),
        }
    }
    unreachable!()
}

/// What the kernel checks at load: known instructions, words of the structure, jumps forward
/// and inside, a return at the end, at most 4096.
pub fn verify(program: &[sock_filter]) {
    assert!(
        (1..=4096).contains(&program.len()),
        "{} instructions",
        program.len()
    );
    for (at, i) in program.iter().enumerate() {
        let inside = |skip: usize| assert!(at + 1 + skip < program.len(), "jump at {at}");
        match i.code {
            0x20 => assert!(i.k.is_multiple_of(4) && i.k < 64, "load at {at}"),
            0x05 => inside(i.k as usize),
            0x15 | 0x25 | 0x35 | 0x45 => {
                inside(usize::from(i.jt));
                inside(usize::from(i.jf));
            }
            0x54 | 0x06 => {}
            code => panic!("instruction {code:#x} at {at}"),
        }
    }
    assert_eq!(program.last().unwrap().code, 0x06);
}
