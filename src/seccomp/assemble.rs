//! From the decision graph to instructions of classic BPF.
//!
//! Owns addresses. The program is written from its end, so that every destination is known
//! when a jump to it is written; a conditional jump reaches 255 instructions, and what lies
//! beyond gets a stepping stone: a copy of the return, or one long jump that later branches
//! share. A branch begins at the instruction that its predecessor's accumulator makes
//! necessary: at the load, at the mask, or at the jump itself.
//!
//! Runs in: parent, before anything is created.

use seccompiler::{BpfProgram, sock_filter};

use super::graph::{Compare, Id, Node, Test};
use crate::error::{Error, Result};

/// `BPF_MAXINSNS`, linux/bpf_common.h.
const MAX_INSTRUCTIONS: usize = 4096;

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const JUMP_ANY_OF: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// Where a node may be entered, by what the accumulator holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    /// Anything.
    Load,
    /// The node's word.
    Mask,
    /// The node's word, masked as the node wants it.
    Jump,
}

/// The word in the accumulator when `test` is decided, and its mask.
fn holds(test: Test) -> (u32, u32) {
    match test.compare {
        Compare::MaskedEqual(mask, _) => (test.offset, mask),
        _ => (test.offset, u32::MAX),
    }
}

/// The entry that a branch on `from` takes into `to`.
fn entry(from: Test, to: Node) -> Entry {
    let Node::Branch { test: to, .. } = to else {
        return Entry::Load;
    };
    let ((word, mask), (wanted_word, wanted_mask)) = (holds(from), holds(to));
    if word != wanted_word {
        Entry::Load
    } else if mask == wanted_mask {
        Entry::Jump
    } else if mask == u32::MAX {
        Entry::Mask
    } else {
        Entry::Load
    }
}

/// Writes the program that begins at `root`, the last of the nodes it reaches.
///
/// # Errors
/// More than 4096 instructions, which the kernel refuses.
pub fn assemble(nodes: &[Node], root: Id) -> Result<BpfProgram> {
    let mut needed = vec![[false; 3]; nodes.len()];
    needed[root as usize][Entry::Load as usize] = true;
    for id in (0..=root as usize).rev() {
        if let Node::Branch { test, yes, no } = nodes[id]
            && needed[id] != [false; 3]
        {
            for next in [yes, no] {
                needed[next as usize][entry(test, nodes[next as usize]) as usize] = true;
            }
        }
    }
    let mut writer = Writer {
        nodes,
        backwards: Vec::with_capacity(1024),
        entries: vec![[0; 3]; nodes.len()],
    };
    for id in 0..=root {
        let needed = needed[id as usize];
        if needed != [false; 3] {
            writer.node(id, needed)?;
        }
    }
    writer.backwards.reverse();
    Ok(writer.backwards)
}

struct Writer<'n> {
    nodes: &'n [Node],
    /// The last instruction first.
    backwards: Vec<sock_filter>,
    /// The index in `backwards` of each node's entries; a stepping stone replaces the one it
    /// leads to.
    entries: Vec<[usize; 3]>,
}

impl Writer<'_> {
    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Result<usize> {
        if self.backwards.len() == MAX_INSTRUCTIONS {
            return Err(Error::invalid(format!(
                "the seccomp profile needs more than {MAX_INSTRUCTIONS} instructions"
            )));
        }
        self.backwards.push(sock_filter { code, jt, jf, k });
        Ok(self.backwards.len() - 1)
    }

    fn node(&mut self, id: Id, needed: [bool; 3]) -> Result<()> {
        let entries = match self.nodes[id as usize] {
            Node::Return(value) => [self.push(RETURN, 0, 0, value)?; 3],
            Node::Branch { test, yes, no } => {
                let (jt, jf) = self.distances(test, yes, no)?;
                let (code, k) = match test.compare {
                    Compare::Equal(k) | Compare::MaskedEqual(_, k) => (JUMP_EQUAL, k),
                    Compare::AtLeast(k) => (JUMP_AT_LEAST, k),
                    Compare::AnyOf(k) => (JUMP_ANY_OF, k),
                };
                let jump = self.push(code, jt, jf, k)?;
                let [load, masked, _] = needed;
                let mask = match holds(test).1 {
                    mask if mask != u32::MAX && (load || masked) => self.push(AND, 0, 0, mask)?,
                    _ => jump,
                };
                let load = if load {
                    self.push(LOAD, 0, 0, test.offset)?
                } else {
                    mask
                };
                [load, mask, jump]
            }
        };
        self.entries[id as usize] = entries;
        Ok(())
    }

    /// How far the next instruction to be written has to jump to `yes` and to `no`.
    fn distances(&mut self, test: Test, yes: Id, no: Id) -> Result<(u8, u8)> {
        loop {
            let steps = [yes, no].map(|to| self.distance(test, to));
            match steps.map(u8::try_from) {
                [Ok(jt), Ok(jf)] => return Ok((jt, jf)),
                // The second first: it then stays within reach of the first one's stone.
                [_, Err(_)] => self.stepping_stone(test, no)?,
                [Err(_), _] => self.stepping_stone(test, yes)?,
            }
        }
    }

    /// Instructions that lie between the next one to be written and the entry of `to`.
    fn distance(&self, from: Test, to: Id) -> usize {
        let entry = entry(from, self.nodes[to as usize]);
        self.backwards.len() - self.entries[to as usize][entry as usize] - 1
    }

    fn stepping_stone(&mut self, from: Test, to: Id) -> Result<()> {
        let node = self.nodes[to as usize];
        let stone = match node {
            Node::Return(value) => self.push(RETURN, 0, 0, value)?,
            Node::Branch { .. } => {
                let distance = self.distance(from, to) as u32;
                self.push(JUMP, 0, 0, distance)?
            }
        };
        self.entries[to as usize][entry(from, node) as usize] = stone;
        Ok(())
    }
}
