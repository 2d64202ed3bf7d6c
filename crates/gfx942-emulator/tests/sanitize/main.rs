//! The sanitizers: every kind of fault, seeded into real machine code, is found where it is; without it there is silence.

mod clean;
mod device;
mod faults;
mod wait_states;
