//! Device rules as a program for the kernel.
//!
//! Owns the meaning of a list of rules: for each kind of access that is asked for (mknod,
//! read, write), the last rule that matches the device and names that access decides;
//! without one the answer is no. An open for reading and writing needs both; a question
//! about no access at all (`F_OK` of access(2)) needs one rule that allows anything.
//!
//! The program goes through the rules from the last to the first and keeps the accesses
//! that are not yet decided in a register:
//!
//! ```text
//!     r2 = type, r3 = access, r4 = major, r5 = minor
//! rule n:   if r2, r4 or r5 is another: go to rule n-1
//!   deny:   if r3 has one of its accesses: return 0
//!   allow:  take its accesses out of r3; if nothing is left: return 1
//! ...
//! end:      return 0
//! ```
//!
//! runc and crun compare a request with one rule at a time, as a whole. They agree with
//! this on lists that name each device once; on others they may refuse a request for two
//! accesses that two rules allow, or (crun) allow one that a rule forbids in part.
//!
//! SPEC: config-linux.md#allowed-device-list says only that rules are applied in order.

use crate::plan::cgroup::{DeviceRule, RuleKind};
use crate::sys::bpf::Instruction;

/// mknod, read and write.
const ANY_ACCESS: u32 = 7;

/// `struct bpf_cgroup_dev_ctx`, linux/bpf.h: three numbers of 32 bits. The first has the
/// type in its low half and the access in its high half.
mod context {
    pub const ACCESS_TYPE: i16 = 0;
    pub const MAJOR: i16 = 4;
    pub const MINOR: i16 = 8;
    pub const BLOCK: i32 = 1;
    pub const CHARACTER: i32 = 2;
}

const R0_RESULT: u8 = 0;
const R1_CONTEXT: u8 = 1;
const R2_TYPE: u8 = 2;
const R3_ACCESS: u8 = 3;
const R4_MAJOR: u8 = 4;
const R5_MINOR: u8 = 5;

/// linux/bpf.h and linux/bpf_common.h: class | operation | source.
mod code {
    pub const LOAD_WORD: u8 = 0x61; // LDX | W | MEM
    pub const MOVE: u8 = 0xb4; // ALU | MOV | K
    pub const COPY: u8 = 0xbc; // ALU | MOV | X
    pub const AND: u8 = 0x54; // ALU | AND | K
    pub const SHIFT_RIGHT: u8 = 0x74; // ALU | RSH | K
    pub const JUMP: u8 = 0x05; // JMP | JA
    pub const JUMP_IF_NOT: u8 = 0x56; // JMP32 | JNE | K, Linux 5.1
    pub const JUMP_IF_SET: u8 = 0x46; // JMP32 | JSET | K
    pub const EXIT: u8 = 0x95; // JMP | EXIT
}

/// The program for `rules`. None where they allow everything: then none is needed.
///
/// Rules before one that decides everything are left out.
pub(super) fn compile(rules: &[DeviceRule]) -> Option<Vec<Instruction>> {
    let first = rules.iter().rposition(decides_everything);
    let rest = &rules[first.map_or(0, |n| n + 1)..];
    let otherwise = first.is_some_and(|n| rules[n].allow);
    if otherwise && rest.iter().all(|rule| rule.allow) {
        return None;
    }
    let mut program = vec![
        load(R2_TYPE, context::ACCESS_TYPE),
        copy(R3_ACCESS, R2_TYPE),
        immediate(code::AND, R2_TYPE, 0xffff),
        immediate(code::SHIFT_RIGHT, R3_ACCESS, 16),
        load(R4_MAJOR, context::MAJOR),
        load(R5_MINOR, context::MINOR),
    ];
    for rule in rest.iter().rev() {
        add_rule(&mut program, rule);
    }
    program.extend(answer(otherwise));
    Some(program)
}

fn decides_everything(rule: &DeviceRule) -> bool {
    rule.kind == RuleKind::All
        && rule.major.is_none()
        && rule.minor.is_none()
        && rule.access & ANY_ACCESS == ANY_ACCESS
}

fn add_rule(program: &mut Vec<Instruction>, rule: &DeviceRule) {
    let access = (rule.access & ANY_ACCESS) as i32;
    if access == 0 {
        return;
    }
    let mut conditions = Vec::new();
    match rule.kind {
        RuleKind::All => {}
        RuleKind::Character => conditions.push((R2_TYPE, context::CHARACTER)),
        RuleKind::Block => conditions.push((R2_TYPE, context::BLOCK)),
    }
    // The kernel compares the same 32 bits, whether they are read as a sign or not.
    conditions.extend(rule.major.map(|n| (R4_MAJOR, n as i32)));
    conditions.extend(rule.minor.map(|n| (R5_MINOR, n as i32)));
    let decision = decide(rule.allow, access);
    let count = conditions.len();
    for (n, (register, value)) in conditions.into_iter().enumerate() {
        let to_next_rule = (count - n - 1 + decision.len()) as i16;
        program.push(jump_if(code::JUMP_IF_NOT, register, value, to_next_rule));
    }
    program.extend(decision);
}

fn decide(allow: bool, access: i32) -> Vec<Instruction> {
    if allow {
        let mut decision = vec![
            immediate(code::AND, R3_ACCESS, !access),
            jump_if(code::JUMP_IF_NOT, R3_ACCESS, 0, 2),
        ];
        decision.extend(answer(true));
        decision
    } else {
        let mut decision = vec![
            jump_if(code::JUMP_IF_SET, R3_ACCESS, access, 1),
            Instruction {
                code: code::JUMP,
                registers: 0,
                offset: 2,
                immediate: 0,
            },
        ];
        decision.extend(answer(false));
        decision
    }
}

fn answer(allow: bool) -> [Instruction; 2] {
    [
        immediate(code::MOVE, R0_RESULT, i32::from(allow)),
        Instruction {
            code: code::EXIT,
            registers: 0,
            offset: 0,
            immediate: 0,
        },
    ]
}

fn load(register: u8, offset: i16) -> Instruction {
    Instruction {
        code: code::LOAD_WORD,
        registers: register | R1_CONTEXT << 4,
        offset,
        immediate: 0,
    }
}

fn copy(to: u8, from: u8) -> Instruction {
    Instruction {
        code: code::COPY,
        registers: to | from << 4,
        offset: 0,
        immediate: 0,
    }
}

fn immediate(code: u8, register: u8, immediate: i32) -> Instruction {
    Instruction {
        code,
        registers: register,
        offset: 0,
        immediate,
    }
}

fn jump_if(code: u8, register: u8, immediate: i32, offset: i16) -> Instruction {
    Instruction {
        code,
        registers: register,
        offset,
        immediate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug)]
    struct Request {
        kind: i32,
        access: u32,
        major: u32,
        minor: u32,
    }

    /// What the module's documentation says, for one request.
    fn is_allowed(rules: &[DeviceRule], request: Request) -> bool {
        let matches = |rule: &&DeviceRule| {
            let kind = match rule.kind {
                RuleKind::All => request.kind,
                RuleKind::Block => context::BLOCK,
                RuleKind::Character => context::CHARACTER,
            };
            kind == request.kind
                && rule.major.is_none_or(|n| n == request.major)
                && rule.minor.is_none_or(|n| n == request.minor)
        };
        [1, 2, 4]
            .into_iter()
            .filter(|bit| request.access & bit != 0)
            .all(|bit| {
                let last = rules
                    .iter()
                    .filter(matches)
                    .rfind(|rule| rule.access & bit != 0);
                last.is_some_and(|rule| rule.allow)
            })
    }

    /// Runs a program as linux/bpf.h describes it, for the instructions that are used here.
    fn run(program: &[Instruction], request: Request) -> bool {
        let mut registers = [0xdead_beef_dead_beef_u64; 11];
        let mut pc = 0;
        loop {
            let insn = program[pc];
            let (to, from) = (insn.registers as usize & 15, insn.registers as usize >> 4);
            let operand = insn.immediate as u32;
            let value = registers[to] as u32;
            pc += 1;
            match insn.code {
                0x61 => {
                    assert_eq!(from, 1, "r1 alone is a pointer");
                    registers[to] = u64::from(match insn.offset {
                        0 => request.access << 16 | request.kind as u32,
                        4 => request.major,
                        8 => request.minor,
                        offset => panic!("load from {offset}"),
                    });
                }
                0xb4 => registers[to] = u64::from(operand),
                0xbc => registers[to] = u64::from(registers[from] as u32),
                0x54 => registers[to] = u64::from(value & operand),
                0x74 => registers[to] = u64::from(value >> operand),
                0x05 => pc += insn.offset as usize,
                0x56 if value != operand => pc += insn.offset as usize,
                0x46 if value & operand != 0 => pc += insn.offset as usize,
                0x56 | 0x46 => {}
                0x95 => return registers[0] as u32 == 1,
                code => panic!("unknown instruction {code:#x}"),
            }
        }
    }

    fn answer_of(rules: &[DeviceRule], request: Request) -> bool {
        compile(rules).is_none_or(|program| run(&program, request))
    }

    const DENY_ALL: DeviceRule = DeviceRule {
        allow: false,
        kind: RuleKind::All,
        major: None,
        minor: None,
        access: ANY_ACCESS,
    };

    fn character(allow: bool, major: u32, minor: Option<u32>, access: u32) -> DeviceRule {
        DeviceRule {
            allow,
            kind: RuleKind::Character,
            major: Some(major),
            minor,
            access,
        }
    }

    /// xorshift64; the same numbers in every run.
    struct Random(u64);

    impl Random {
        fn below(&mut self, end: u32) -> u32 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 32) as u32 % end
        }

        fn number(&mut self) -> Option<u32> {
            // The largest number is one that a signed comparison would get wrong.
            [None, Some(0), Some(1), Some(u32::MAX)][self.below(4) as usize]
        }

        fn rule(&mut self) -> DeviceRule {
            use RuleKind::{All, Block, Character};
            DeviceRule {
                allow: self.below(2) == 0,
                kind: [All, Block, Character, Character][self.below(4) as usize],
                major: self.number(),
                minor: self.number(),
                access: self.below(8),
            }
        }
    }

    #[test]
    fn random_lists_mean_what_the_last_matching_rules_say() {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for _ in 0..4000 {
            let rules: Vec<DeviceRule> = (0..random.below(9)).map(|_| random.rule()).collect();
            let program = compile(&rules);
            for n in 0..2 * 9 * 7 {
                let number = |n: u32| [0, 1, u32::MAX][n as usize % 3];
                let request = Request {
                    kind: 1 + (n % 2) as i32,
                    access: 1 + n / 18,
                    major: number(n / 2),
                    minor: number(n / 6),
                };
                let answer = program.as_ref().is_none_or(|program| run(program, request));
                assert_eq!(answer, is_allowed(&rules, request), "{rules:?} {request:?}");
            }
        }
    }

    #[test]
    fn everything_allowed_needs_no_program() {
        let allow_all = DeviceRule {
            allow: true,
            ..DENY_ALL
        };
        assert_eq!(compile(&[allow_all]), None);
        assert_eq!(
            compile(&[DENY_ALL, allow_all, character(true, 1, None, 7)]),
            None
        );
        assert!(compile(&[allow_all, character(false, 1, None, 1)]).is_some());
        assert!(compile(&[]).is_some());
    }

    #[test]
    fn accesses_that_two_rules_allow_may_be_asked_for_at_once() {
        let rules = [
            DENY_ALL,
            character(true, 1, Some(3), 2),
            character(true, 1, None, 4),
        ];
        let ask = |access| Request {
            kind: context::CHARACTER,
            access,
            major: 1,
            minor: 3,
        };
        assert!(answer_of(&rules, ask(6)));
        assert!(!answer_of(&rules, ask(7)));
    }

    #[test]
    fn a_part_that_is_forbidden_forbids_the_whole() {
        let rules = [character(true, 1, None, 7), character(false, 1, Some(3), 4)];
        let ask = |access| Request {
            kind: context::CHARACTER,
            access,
            major: 1,
            minor: 3,
        };
        assert!(answer_of(&rules, ask(2)));
        assert!(!answer_of(&rules, ask(6)));
    }

    #[test]
    fn a_question_about_no_access_needs_one_rule_that_allows_any() {
        let rules = [DENY_ALL, character(true, 1, Some(3), 2)];
        let ask = |minor| Request {
            kind: context::CHARACTER,
            access: 0,
            major: 1,
            minor,
        };
        assert!(answer_of(&rules, ask(3)));
        assert!(!answer_of(&rules, ask(4)));
    }
}
