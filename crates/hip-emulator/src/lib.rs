//! libamdhip64 without a GPU: the same functions with the same C ABI, over [`gfx942_emulator`].
//!
//! A program that loads this library in place of ROCm's (`KVASIR_HIP_LIBRARY`, or `LD_LIBRARY_PATH` and a link named
//! `libamdhip64.so.6`) finds one MI300X. Its kernels are executed on the CPU, by the machine code that would run on
//! the GPU.
//!
//! Work runs when it is submitted, or, lazily, not before something synchronises with it: a program that forgot to
//! synchronise then sees what it could see on hardware on a bad day. A kernel that faults fails every later call that
//! needs the device, until `hipDeviceReset`, as on hardware; what went wrong is told in words on stderr and by
//! [`own::kvasirEmuLastFault`].
//!
//! # What can be asked for
//!
//! By variables, which are read when the device starts, and again by `hipDeviceReset` as far as they are about the
//! device; one that is not in this table is an error:
//!
//! | variable | value | what it does |
//! |---|---|---|
//! | `KVASIR_EMU_LAZY` | `1` | work waits for a synchronisation |
//! | `KVASIR_EMU_COUNTERS` | `1`, or a file | launches are counted; each report is kept, or appended to the file as a line of JSON |
//! | `KVASIR_EMU_SANITIZE` | `1`, or `fail` | launches are sanitized; findings are lines on stderr and kept, and with `fail` a fault |
//! | `KVASIR_EMU_WAVE_ORDER` | a seed | work-groups and waves run in a random order |
//! | `KVASIR_EMU_POISON` | a dword, `0x…` or decimal | what memory and registers hold before they are written |
//! | `KVASIR_EMU_EXACT_MFMA` | `1` | matrix products accumulate bit by bit as the hardware's |
//! | `KVASIR_EMU_ULP` | `exact`, `up`, `down`, a seed | transcendental results move by a unit in the last place |
//!
//! By functions, which ROCm's library does not have and a program therefore looks up by name: [`own`]. What they set
//! outlives `hipDeviceReset`. The texts that they give stay until the same thread calls another of them; JSON has the
//! fields of [`gfx942_emulator::count::Report`] and [`gfx942_emulator::sanitize::Finding`]. Both know what has run:
//! synchronise first.

// The names are HIP's.
#![allow(non_snake_case)]

pub mod abi;
mod device;
mod environment;
mod error;
mod launch;
mod module;
pub mod own;
mod properties;
mod queue;
mod runtime;
mod watch;
mod work;
