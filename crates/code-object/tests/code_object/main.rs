//! Code objects that hipcc makes, compared with what LLVM's own tools say about them, and damaged ones.
#![forbid(unsafe_code)]

mod bundles;
mod compiled;
mod damaged;
mod kernarg;
mod llvm;
