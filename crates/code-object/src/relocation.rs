//! What the loader must patch once it knows where the code object lies.

use object::LittleEndian as LE;
use object::elf::{Rela64, SHN_ABS, SHN_UNDEF, STB_WEAK, Sym64};

use crate::Error;
use crate::elf::NamedSymbol;

/// Relocation types of AMDGPU (LLVM, "Relocation Records"). A linker leaves no others to the loader.
const R_AMDGPU_NONE: u32 = 0;
const R_AMDGPU_ABS64: u32 = 3;
const R_AMDGPU_RELATIVE64: u32 = 13;

/// Eight bytes to patch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Relocation {
    /// Where, relative to the load address.
    pub offset: u64,
    /// Symbol and addend; relative to the load address where [`moves`](Self::moves) is set.
    value: u64,
    /// Whether the load address is added.
    moves: bool,
}

impl Relocation {
    /// Bytes that a relocation writes.
    pub const NUM_BYTES: usize = 8;

    /// Reads a record; `None` is one that does nothing. `symbols` is the dynamic symbol table.
    pub(crate) fn read(
        record: &Rela64<LE>,
        symbols: &[NamedSymbol<'_>],
    ) -> Result<Option<Self>, Error> {
        let offset = record.r_offset.get(LE);
        let error = |reason: String| Error::Relocation { offset, reason };
        let addend = record.r_addend.get(LE) as u64;
        let info = record.r_info.get(LE);
        match (info as u32, (info >> 32) as usize) {
            (R_AMDGPU_NONE, _) => Ok(None),
            (R_AMDGPU_RELATIVE64, 0) => Ok(Some(Self { offset, value: addend, moves: true })),
            (R_AMDGPU_ABS64, index) => {
                let (name, symbol) = symbols
                    .get(index)
                    .ok_or_else(|| error(format!("names symbol {index} of {}", symbols.len())))?;
                let (value, moves) = symbol_value(symbol).ok_or_else(|| {
                    let name = String::from_utf8_lossy(name);
                    error(format!("{name} is not defined in this code object"))
                })?;
                Ok(Some(Self { offset, value: value.wrapping_add(addend), moves }))
            }
            (kind, _) => Err(error(format!("type {kind} is not one that a loader can apply"))),
        }
    }

    /// What is written with the code object at `load_address`.
    pub fn bytes(&self, load_address: u64) -> [u8; Self::NUM_BYTES] {
        let base = if self.moves { load_address } else { 0 };
        self.value.wrapping_add(base).to_le_bytes()
    }
}

/// Where a symbol is, and whether that moves with the load address. A weak one that is defined nowhere is at 0.
fn symbol_value(symbol: &Sym64<LE>) -> Option<(u64, bool)> {
    let value = symbol.st_value.get(LE);
    match symbol.st_shndx.get(LE) {
        SHN_UNDEF if symbol.st_bind() == STB_WEAK => Some((0, false)),
        SHN_UNDEF => None,
        SHN_ABS => Some((value, false)),
        _ => Some((value, true)),
    }
}
