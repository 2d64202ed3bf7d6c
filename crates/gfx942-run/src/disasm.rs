//! `--disasm`: machine code as `llvm-objdump -d` prints it.

use std::io::Write;

use anyhow::{Context, Result};
use code_object::{CodeObject, SymbolKind};
use gfx942_emulator::isa::{decode, disassemble};

use crate::object::find;

/// Prints all functions, or the kernel named.
pub fn print(objects: &[CodeObject], only: Option<&str>, out: &mut impl Write) -> Result<()> {
    if let Some(name) = only {
        let (object, kernel) = find(objects, name)?;
        let (start, num_bytes) = object.extent(kernel);
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
