//! Code objects that nobody should have made: errors, never a panic, and bounded memory and time.

mod limits;
mod seeds;

#[path = "../../../../fuzz/src/instruction.rs"]
mod instruction;
#[path = "../../../../fuzz/src/kernel.rs"]
mod kernel;
