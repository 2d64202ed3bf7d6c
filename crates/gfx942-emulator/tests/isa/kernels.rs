//! Our disassembly against llvm-objdump on what the compiler makes of tests/kernels/*.hip.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use gfx942_emulator::isa::decode;
use hip_toolchain::Toolchain;

#[test]
fn compiled_kernels_read_as_llvm_objdump_reads_them() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (mut num_instructions, mut mnemonics) = (0, BTreeSet::new());
    for source in sources() {
        for level in ["-O3", "-O0"] {
            let object = folder.path().join("kernel.hsaco");
            toolchain.compile(&source, "gfx942", &[level], &object).expect("it compiles");
            let lines = objdump(&toolchain, &object);
            assert!(!lines.is_empty(), "{}: no instructions", source.display());
            for (text, bytes) in &lines {
                let ours = decode(bytes).map(|inst| (usize::from(inst.size), inst.to_string()));
                assert_eq!(ours, Ok((bytes.len(), text.clone())), "{} {level}", source.display());
                mnemonics.insert(text.split(' ').next().unwrap_or_default().to_owned());
            }
            num_instructions += lines.len();
        }
    }
    println!("{num_instructions} instructions, {} mnemonics", mnemonics.len());
    assert!(mnemonics.len() > 250, "the kernels use {} mnemonics only", mnemonics.len());
}

fn sources() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernels");
    let entries = std::fs::read_dir(folder).expect("the kernels are there");
    let mut sources: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    sources.retain(|path| path.extension().is_some_and(|extension| extension == "hip"));
    sources.sort();
    sources
}

/// Text and bytes of every instruction.
fn objdump(toolchain: &Toolchain, object: &Path) -> Vec<(String, Vec<u8>)> {
    let program = toolchain.llvm_tool("llvm-objdump").expect("the toolchain has llvm-objdump");
    let output = toolchain
        .command(&program)
        .args(["-d", "--mcpu=gfx942"])
        .arg(object)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().filter_map(instruction).collect()
}

/// `\ttext  // address: WORD WORD <label>`
fn instruction(line: &str) -> Option<(String, Vec<u8>)> {
    let (text, comment) = line.strip_prefix('\t')?.split_once("// ")?;
    let words = comment.split_once(": ")?.1.split(' ').take_while(|word| !word.starts_with('<'));
    let words: Option<Vec<u32>> = words.map(|word| u32::from_str_radix(word, 16).ok()).collect();
    Some((text.trim().to_owned(), words?.into_iter().flat_map(u32::to_le_bytes).collect()))
}
