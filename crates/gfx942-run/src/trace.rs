//! `--trace`: every instruction that is executed.

use std::fmt::Write;

use gfx942_emulator::exec::{Observer, Slot, Wave, WaveId};
use gfx942_emulator::isa::disassemble;

/// Most text that is kept: whoever traces more wants a smaller grid.
const MAX_BYTES: usize = 256 << 20;

/// Writes down what every wave executes, with EXEC, at addresses as `--disasm` prints them.
pub struct Trace {
    load_address: u64,
    text: String,
}

impl Trace {
    pub fn new(load_address: u64) -> Self {
        Self { load_address, text: String::new() }
    }

    pub fn text(&self) -> &str {
        &self.text
    }
}

impl Observer for Trace {
    fn fork(&self) -> Self {
        Self::new(self.load_address)
    }

    fn merge(&mut self, other: Self) {
        self.text.push_str(&other.text);
    }

    fn before(&mut self, id: WaveId, wave: &Wave, slot: &Slot) {
        if self.text.len() > MAX_BYTES {
            return;
        }
        let [x, y, z] = id.work_group;
        let pc = wave.pc.wrapping_sub(self.load_address);
        let inst = disassemble(&slot.inst);
        // Writing to a string cannot fail.
        let _ = writeln!(
            self.text,
            "{x},{y},{z} wave {} {pc:012X} exec {:016x} {inst}",
            id.wave, wave.exec
        );
        if self.text.len() > MAX_BYTES {
            self.text.push_str("… and so on: the trace has reached 256 MiB\n");
        }
    }
}
