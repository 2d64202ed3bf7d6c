//! What the loader must patch once it knows where the code object lies.

use object::LittleEndian as LE;
use object::elf::{Rela64, SHN_ABS, SHN_UNDEF, STB_WEAK, Sym64};

use crate::Error;

/// Relocation types of AMDGPU (LLVM, "Relocation Records").
const R_AMDGPU_NONE: u32 = 0;
const R_AMDGPU_ABS32_LO: u32 = 1;
const R_AMDGPU_ABS32_HI: u32 = 2;
const R_AMDGPU_ABS64: u32 = 3;
const R_AMDGPU_ABS32: u32 = 6;
const R_AMDGPU_RELATIVE64: u32 = 13;

/// The value that a relocation writes, as a function of the load address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RelocationValue {
    /// Symbol and addend; relative to the load address where [`moves`](Self::moves) is set.
    pub value: u64,
    /// Whether the load address is added.
    pub moves: bool,
}

/// One place to patch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Relocation {
    /// The address of the place, relative to the load address.
    pub offset: u64,
    /// What is written there.
    pub value: RelocationValue,
    /// Bits of the value that come before the field: 32 for the high half.
    shift: u32,
    /// Bytes of the field: 4 or 8.
    num_bytes: usize,
}

impl Relocation {
    /// Reads a record; `None` is one that does nothing. `symbols` is the dynamic symbol table.
    pub(crate) fn read(record: &Rela64<LE>, symbols: &[Sym64<LE>]) -> Result<Option<Self>, Error> {
        let offset = record.r_offset.get(LE);
        let error = |reason: String| Error::Relocation { offset, reason };
        let addend = record.r_addend.get(LE) as u64;
        let info = record.r_info.get(LE);
        let (kind, symbol) = (info as u32, (info >> 32) as u32);
        let (shift, num_bytes) = match kind {
            R_AMDGPU_NONE => return Ok(None),
            R_AMDGPU_RELATIVE64 if symbol == 0 => {
                let value = RelocationValue { value: addend, moves: true };
                return Ok(Some(Self { offset, value, shift: 0, num_bytes: 8 }));
            }
            R_AMDGPU_ABS64 => (0, 8),
            R_AMDGPU_ABS32 | R_AMDGPU_ABS32_LO => (0, 4),
            R_AMDGPU_ABS32_HI => (32, 4),
            kind => return Err(error(format!("type {kind} is not one that a loader can apply"))),
        };
        let symbol = symbols
            .get(symbol as usize)
            .ok_or_else(|| error(format!("names symbol {symbol} of {}", symbols.len())))?;
        let value = symbol_value(symbol)
            .ok_or_else(|| error("its symbol is not defined in this code object".to_owned()))?;
        let value = RelocationValue { value: value.value.wrapping_add(addend), ..value };
        Ok(Some(Self { offset, value, shift, num_bytes }))
    }

    /// Bytes of the field.
    pub fn num_bytes(&self) -> usize {
        self.num_bytes
    }

    /// What is written with the code object at `load_address`: the first [`num_bytes`](Self::num_bytes) bytes.
    pub fn bytes(&self, load_address: u64) -> [u8; 8] {
        let base = if self.value.moves { load_address } else { 0 };
        (self.value.value.wrapping_add(base) >> self.shift).to_le_bytes()
    }
}

/// Where a symbol is; a weak one that is defined nowhere is at 0.
fn symbol_value(symbol: &Sym64<LE>) -> Option<RelocationValue> {
    let value = symbol.st_value.get(LE);
    match symbol.st_shndx.get(LE) {
        SHN_UNDEF if symbol.st_bind() == STB_WEAK => {
            Some(RelocationValue { value: 0, moves: false })
        }
        SHN_UNDEF => None,
        SHN_ABS => Some(RelocationValue { value, moves: false }),
        _ => Some(RelocationValue { value, moves: true }),
    }
}
