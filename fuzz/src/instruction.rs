//! What must hold of every instruction that the decoder accepts. The emulator's own tests include this file.

use gfx942_emulator::isa::{Access, Accesses, DecodeError, decode};

/// Any bytes as instructions, one at every word. How many were accepted.
pub fn instructions(bytes: &[u8]) -> usize {
    (0..bytes.len().div_ceil(4)).filter(|word| instruction(&bytes[4 * word..])).count()
}

fn instruction(bytes: &[u8]) -> bool {
    let inst = match decode(bytes) {
        Ok(inst) => inst,
        Err(DecodeError::Truncated { num_bytes }) => {
            assert!(num_bytes == bytes.len() && num_bytes < 8);
            return false;
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    let size = usize::from(inst.size);
    assert!((size == 4 || size == 8) && size <= bytes.len());
    assert_eq!(decode(&bytes[..size]), Ok(inst), "what follows does not matter");
    assert!(inst.to_string().starts_with(inst.op.name()));
    assert_registers(&inst.reads());
    assert_registers(&inst.writes());
    true
}

fn assert_registers(runs: &Accesses) {
    for Access { first, dwords } in runs.iter() {
        assert!(*dwords > 0);
        assert!(first.is_scalar_register() || first.vector_index().is_some() || first.0 == 253);
    }
}
