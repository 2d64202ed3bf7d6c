//! From opcode numbers and from operations to rows.

use super::super::Format;
use super::*;

/// Rows by opcode number; `ABSENT` where there is none.
type Index<const N: usize> = [u16; N];

const ABSENT: u16 = u16::MAX;

const fn index<const N: usize>(rows: &[OpInfo]) -> Index<N> {
    let mut index = [ABSENT; N];
    let mut i = 0;
    while i < rows.len() {
        assert!(index[rows[i].opcode as usize] == ABSENT, "two rows for one opcode");
        index[rows[i].opcode as usize] = i as u16;
        i += 1;
    }
    index
}

macro_rules! tables {
    ($($name:ident: $format:ident, $rows:path, $len:literal;)+) => {
        $(static $name: Index<$len> = index($rows);)+

        /// All rows, a slice a format.
        const TABLES: &[&[OpInfo]] = &[$($rows),+];

        /// Their formats.
        const FORMATS: &[Format] = &[$(Format::$format),+];
    };
}

tables! {
    SOP2: Sop2, sop::SOP2, 96;
    SOPK: Sopk, sop::SOPK, 32;
    SOP1: Sop1, sop::SOP1, 256;
    SOPC: Sopc, sop::SOPC, 128;
    SOPP: Sopp, sop::SOPP, 128;
    SMEM: Smem, smem::SMEM, 256;
    VOP1: Vop1, vop1::VOP1, 256;
    VOP2: Vop2, vop2::VOP2, 64;
    VOPC: Vopc, vopc::VOPC, 256;
    VOP3: Vop3, vop3::VOP3, 1024;
    VOP3P: Vop3p, vop3p::VOP3P, 128;
    MAI: Mai, vop3p::MAI, 128;
    DS: Ds, ds::DS, 256;
    FLAT: Flat, flat::FLAT, 128;
    GLOBAL: Global, flat::GLOBAL, 128;
    SCRATCH: Scratch, flat::SCRATCH, 128;
    MUBUF: Mubuf, buffer::MUBUF, 128;
    MTBUF: Mtbuf, buffer::MTBUF, 16;
}

/// The row of `opcode` in `format`.
pub fn find(format: Format, opcode: u32) -> Option<&'static OpInfo> {
    let (index, rows): (&[u16], &'static [OpInfo]) = match format {
        Format::Sop2 => (&SOP2, sop::SOP2),
        Format::Sopk => (&SOPK, sop::SOPK),
        Format::Sop1 => (&SOP1, sop::SOP1),
        Format::Sopc => (&SOPC, sop::SOPC),
        Format::Sopp => (&SOPP, sop::SOPP),
        Format::Smem => (&SMEM, smem::SMEM),
        Format::Vop1 => (&VOP1, vop1::VOP1),
        Format::Vop2 => (&VOP2, vop2::VOP2),
        Format::Vopc => (&VOPC, vopc::VOPC),
        Format::Vop3 => return find_vop3(opcode),
        Format::Vop3p => (&VOP3P, vop3p::VOP3P),
        Format::Mai => (&MAI, vop3p::MAI),
        Format::Ds => (&DS, ds::DS),
        Format::Flat => (&FLAT, flat::FLAT),
        Format::Global => (&GLOBAL, flat::GLOBAL),
        Format::Scratch => (&SCRATCH, flat::SCRATCH),
        Format::Mubuf => (&MUBUF, buffer::MUBUF),
        Format::Mtbuf => (&MTBUF, buffer::MTBUF),
    };
    rows.get(usize::from(*index.get(opcode as usize)?))
}

/// VOP3 holds the shorter formats' operations as well, each in a range of its own.
fn find_vop3(opcode: u32) -> Option<&'static OpInfo> {
    let shorter = match opcode {
        0..0x100 => find(Format::Vopc, opcode),
        0x100..0x140 => find(Format::Vop2, opcode - 0x100),
        0x140..0x1c0 => find(Format::Vop1, opcode - 0x140),
        _ => return vop3::VOP3.get(usize::from(*VOP3.get(opcode as usize)?)),
    };
    shorter.filter(|info| info.has(E64))
}

/// Table and row of every operation.
static BY_OP: [(u8, u16); Op::ALL.len()] = by_op();

const fn by_op() -> [(u8, u16); Op::ALL.len()] {
    let mut places = [(u8::MAX, 0); Op::ALL.len()];
    let mut table = 0;
    while table < TABLES.len() {
        let mut row = 0;
        while row < TABLES[table].len() {
            let place = &mut places[TABLES[table][row].op as usize];
            assert!(place.0 == u8::MAX, "two rows for one operation");
            *place = (table as u8, row as u16);
            row += 1;
        }
        table += 1;
    }
    let mut op = 0;
    while op < places.len() {
        assert!(places[op].0 != u8::MAX, "an operation without a row");
        op += 1;
    }
    places
}

/// The row of `op`.
pub fn of(op: Op) -> &'static OpInfo {
    let (table, row) = BY_OP[op as usize];
    &TABLES[usize::from(table)][usize::from(row)]
}

/// The format that `op`'s row stands in.
pub fn format_of(op: Op) -> Format {
    FORMATS[usize::from(BY_OP[op as usize].0)]
}
