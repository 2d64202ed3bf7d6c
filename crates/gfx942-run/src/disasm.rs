//! `--disasm`: machine code as `llvm-objdump -d` prints it.

use std::io::Write;

use anyhow::{Context, Result};
use code_object::{CodeObject, Kernel, SymbolKind};
use gfx942_emulator::isa::{decode, disassemble};

use crate::object::find;

/// Prints all functions, or the kernel named.
pub fn print(objects: &[CodeObject], only: Option<&str>, out: &mut impl Write) -> Result<()> {
    if let Some(name) = only {
        let (object, kernel) = find(objects, name)?;
        let (start, num_bytes) = extent(object, kernel);
        return print_function(object, name, start, num_bytes, out);
    }
    for object in objects {
        let functions = object.symbols.iter().filter(|(_, s)| s.kind == SymbolKind::Function);
        let mut functions: Vec<_> = functions.collect();
        functions.sort_by_key(|(_, symbol)| symbol.address);
        for (name, symbol) in functions {
            print_function(object, name, symbol.address, symbol.num_bytes, out)?;
        }
    }
    Ok(())
}

/// Where a kernel's code is. Hand-written functions may have no size: theirs ends with the segment.
fn extent(object: &CodeObject, kernel: &Kernel) -> (u64, u64) {
    let preload = if kernel.descriptor.kernarg_preload_length == 0 { 0 } else { 256 };
    let start = kernel.entry() - preload;
    let symbols = object.symbols.values();
    let sized = symbols.filter(|s| s.kind == SymbolKind::Function && s.address == start);
    let num_bytes = sized.map(|symbol| symbol.num_bytes).max().filter(|n| *n != 0);
    let ends = object.segments.iter().map(|s| s.address + s.bytes.len() as u64);
    let to_end = || ends.filter(|end| *end > start).min().map_or(0, |end| end - start);
    (start, num_bytes.unwrap_or_else(to_end))
}

fn print_function(
    object: &CodeObject,
    name: &str,
    start: u64,
    num_bytes: u64,
    out: &mut impl Write,
) -> Result<()> {
    let code = object.bytes(start, num_bytes).with_context(|| format!("{name} has no code"))?;
    writeln!(out, "\n{start:016x} <{name}>:")?;
    let mut at = 0;
    while code.len() - at >= 4 {
        let (text, size) = match decode(&code[at..]) {
            Ok(inst) => (disassemble(&inst), usize::from(inst.size)),
            // Data between functions is no error; executing it would be.
            Err(_) => (format!(".long {:#x}", word(&code[at..])), 4),
        };
        let words = code[at..at + size].chunks(4).map(|bytes| format!("{:08X}", word(bytes)));
        let words = words.collect::<Vec<_>>().join(" ");
        writeln!(out, "\t{text:<60}// {:012X}: {words}", start + at as u64)?;
        at += size;
    }
    Ok(())
}

fn word(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
}
