//! Random instruction words: every opcode number of every format, all other fields random.

/// The formats whose opcode field is enumerated: name, fixed bits, the opcode's place and its numbers.
pub const FORMATS: &[(&str, u32, u32, std::ops::Range<u32>)] = &[
    ("SOP2", 0x8000_0000, 23, 0..96),
    ("SOPK", 0xb000_0000, 23, 0..28),
    ("SOP1", 0xbe80_0000, 8, 0..256),
    ("SOPC", 0xbf00_0000, 16, 0..128),
    ("SOPP", 0xbf80_0000, 16, 0..128),
    ("SMEM", 0xc000_0000, 18, 0..256),
    ("VOP1", 0x7e00_0000, 9, 0..256),
    ("VOP2", 0x0000_0000, 25, 0..62),
    ("VOPC", 0x7c00_0000, 17, 0..256),
    ("VOP3", 0xd000_0000, 16, 0..896),
    ("VOP3P", 0xd380_0000, 16, 0..128),
    ("DS", 0xd800_0000, 17, 0..256),
    ("FLAT", 0xdc00_0000, 18, 0..128),
    ("SCRATCH", 0xdc00_4000, 18, 0..128),
    ("GLOBAL", 0xdc00_8000, 18, 0..128),
    ("MUBUF", 0xe000_0000, 18, 0..128),
    ("MTBUF", 0xe800_0000, 15, 0..16),
];

/// A generator that gives the same words everywhere (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn word(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) >> 16) as u32
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.word().is_multiple_of(n)
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.word() as usize % of.len()]
    }

    /// Few bits set, as often as many.
    fn bits(&mut self) -> u32 {
        match self.word() % 4 {
            0 => self.word() & self.word() & self.word(),
            1 => self.word() & self.word(),
            _ => self.word(),
        }
    }
}

/// Values at which LLVM changes how it prints a literal.
const LITERALS: &[u32] = &[
    0,
    1,
    63,
    64,
    65,
    0xffff_ffff,
    0xffff_fff0,
    0xffff_ffef,
    0xffff,
    0xfff0,
    0x3f80_0000,
    0x3c00,
    0x3f00_0000,
    0xbf80_0000,
    0x3e22_f983,
    0x3118,
    0x4000,
    0x3ff0_0000,
    0xb800,
    0x8000,
    0x8000_0000,
    0x1234_5678,
];

/// One sample of `format` with opcode number `opcode`.
pub fn sample(format: usize, opcode: u32, random: &mut Random) -> [u32; 2] {
    let (name, fixed, at, opcodes) = &FORMATS[format];
    let opcode_mask = (opcodes.end.next_power_of_two() - 1) << at;
    let fields = !(opcode_mask | format_mask(name));
    let mut first = fixed | opcode << at | random.bits() & fields;
    let mut second = random.bits();
    match *name {
        "SOP2" | "SOP1" | "SOPC" if random.one_in(6) => {
            first |= 0xff;
            second = literal(random);
        }
        "SOPK" => second = literal(random),
        "VOP1" | "VOP2" | "VOPC" => {
            short_vector(&mut first, &mut second, random);
            if *name == "VOPC" && first & 0x1ff == 0xf9 {
                second = second & !0xff00 | random.pick(&[0, 0x8000, 0xa400, 0xea00]);
            }
            // v_nop and v_clrexcp have no operands.
            if *name == "VOP1" && matches!(opcode, 0 | 53) && random.one_in(2) {
                first = fixed | opcode << at;
            }
            // llvm-mc does not survive AccVGPR moves of anything else.
            first |= if *name == "VOP1" && opcode == 82 { 0x100 } else { 0 };
        }
        "VOP3" => {
            vop3(&mut first, &mut second, random);
            // llvm-mc does not survive comparisons whose result is a literal.
            first &= if opcode < 256 { !0x80 } else { u32::MAX };
        }
        "VOP3P" => vop3p(&mut first, &mut second, random),
        "SMEM" => smem(&mut first, &mut second, random),
        "DS" | "FLAT" | "SCRATCH" | "GLOBAL" | "MUBUF" | "MTBUF" => {
            memory(name, &mut first, &mut second, random)
        }
        _ => {}
    }
    [first, second]
}

/// Bits that tell the format.
fn format_mask(name: &str) -> u32 {
    match name {
        "SOP2" => 0xc000_0000,
        "SOPK" => 0xf000_0000,
        "SOP1" | "SOPC" | "SOPP" => 0xff80_0000,
        "VOP2" => 0x8000_0000,
        "VOP1" | "VOPC" => 0xfe00_0000,
        "VOP3P" => 0xff80_0000,
        "FLAT" | "SCRATCH" | "GLOBAL" => 0xfc00_c000,
        _ => 0xfc00_0000,
    }
}

fn literal(random: &mut Random) -> u32 {
    if random.one_in(2) { random.pick(LITERALS) } else { random.word() >> random.pick(&[0, 16]) }
}

fn short_vector(first: &mut u32, second: &mut u32, random: &mut Random) {
    *second = literal(random);
    match random.word() % 8 {
        0 => *first |= 0xff,
        1..=3 => {
            *first = *first & !0x1ff | 0xf9;
            let select = |random: &mut Random| random.word() % 7;
            // Reserved bits stay 0, selects below 7 (llvm-mc does not survive 7).
            let selects = select(random) << 16 | select(random) << 24;
            let reserved = 1 << 22 | 1 << 30 | 7 << 16 | 7 << 24;
            *second = random.bits() & random.pick(&[0x00ff_ffff, u32::MAX]) & !reserved | selects;
            *second &= random.pick(&[u32::MAX, 0x00ff_ffff, 0x008f_3fff, 0x0007_1fff]);
            let destination =
                if random.one_in(2) { 6 } else { select(random) | (random.word() % 3) << 3 };
            *second = *second & !0x1f00 | destination << 8;
        }
        4 | 5 => {
            *first = *first & !0x1ff | 0xfa;
            let control = random.pick(&[
                0x1b, 0xe4, 0x101, 0x10f, 0x111, 0x12f, 0x130, 0x138, 0x140, 0x142, 0x150, 0x15f,
            ]);
            *second = random.bits() & !(0x1ff << 8 | 3 << 17) | control << 8;
            *second &= random.pick(&[u32::MAX, 0xff0f_ffff, 0xff3f_ffff]);
        }
        _ => *first |= 0x100,
    }
}

fn vop3(first: &mut u32, second: &mut u32, random: &mut Random) {
    // Often no modifiers, and sources that are vector registers or constants, at even numbers.
    if !random.one_in(3) {
        *first &= !0xff00;
        *second &= 0x07ff_ffff;
    }
    *second &= random.pick(&[u32::MAX, u32::MAX, !(0x1ff << 18), !(0x3_ffff << 9)]);
    sources(second, random);
    if random.one_in(2) {
        *first &= !0x81;
    }
}

/// Makes most sources vector registers with even numbers.
fn sources(second: &mut u32, random: &mut Random) {
    for at in [0, 9, 18] {
        if *second >> at & 0x1ff != 0 && !random.one_in(3) {
            *second |= 0x100 << at;
        }
        if random.one_in(2) {
            *second &= !(1 << at);
        }
    }
}

fn vop3p(first: &mut u32, second: &mut u32, random: &mut Random) {
    let is_matrix = *first >> 16 & 0x7f >= 0x3e;
    sources(second, random);
    if matches!(*first >> 16 & 0x7f, 0x58 | 0x59) {
        // AccVGPR moves have one source; the other fields are fixed.
        *first = *first & !0xff00 | 0x4000;
        *second = *second & 0x1ff | 0x1800_0000;
        *second |= if *first >> 16 & 1 == 0 { 0x100 } else { 0 };
    } else if is_matrix {
        *second |= if *second >> 18 & 0x1ff < 0x80 { 0x100 << 18 } else { 0 };
        // llvm-mc does not survive matrices in scalar registers.
        *second |= 0x100 | 0x100 << 9;
        *second &= !(1 | 1 << 9);
        *first &= !1;
        if random.one_in(2) {
            *second =
                *second & !(0x1ff << 18) | random.pick(&[0x80, 0xf2, 0x100, 0x110, 0x140]) << 18;
        }
        if random.one_in(2) {
            *first &= !0x7f00;
            *second &= 0x1fff_ffff;
        }
    } else {
        *first |= 0x4000;
        if random.one_in(2) {
            *second = *second & 0x1fff_ffff & !(0x1ff << 18) | 3 << 27;
            *first &= !0x2400;
        }
    }
}

fn smem(first: &mut u32, second: &mut u32, random: &mut Random) {
    *first &= !(1 << 13 | 1 << 15 | 1);
    *first &= random.pick(&[u32::MAX, !(7 << 6), !(3 << 6)]);
    match random.word() % 4 {
        0 => (*first, *second) = (*first & !(1 << 14) | 1 << 17, *second & 0x1f_ffff),
        1 => (*first, *second) = (*first | 1 << 14 | 1 << 17, *second & 0xfe1f_ffff),
        2 => (*first, *second) = (*first & !(3 << 14 | 1 << 17), *second & 0x7f),
        _ => (*first, *second) = (*first & !(1 << 17) | 1 << 14, *second & 0xfe00_0000),
    }
    if random.one_in(8) {
        (*first, *second) = (*first & !0x3_ffff, 0);
    }
}

fn memory(name: &str, first: &mut u32, second: &mut u32, random: &mut Random) {
    let odd = 0x0001_0101 | 1 << 24;
    if random.one_in(2) {
        *second &= !odd;
    }
    for register in [0xff, 0xff00, 0xff << 24] {
        if random.one_in(3) {
            *second &= !register;
        }
    }
    match name {
        // Global wave sync has one register at most.
        "DS" if (152..158).contains(&(*first >> 17 & 0xff)) => {
            *first |= 1 << 16;
            *second &= random.pick(&[0, 0xff]);
        }
        "DS" if random.one_in(8) => *first |= 1 << 16,
        "DS" => *first &= !(1 << 16),
        "FLAT" => *second &= !(0x7f << 16),
        _ => {}
    }
    match name {
        "DS" => *second &= random.pick(&[u32::MAX, !(0xff << 16)]),
        "GLOBAL" | "FLAT" => *first &= !(1 << 13),
        "MUBUF" => *second &= !(3 << 21),
        _ => {}
    }
    if matches!(name, "GLOBAL" | "SCRATCH") && random.one_in(2) {
        *second |= 0x7f << 16;
    }
    if name == "FLAT" {
        *first &= !(1 << 12);
    }
    if name == "MUBUF" && !random.one_in(4) {
        *first &= !(1 << 16);
    }
    if name == "MUBUF" && random.one_in(8) {
        (*first, *second) = (*first & !0x1_3fff, 0);
    }
}
