//! KV of prefixes, computed once: chunks of tokens by what they are made of, each verified where it is used.
//!
//! - [`identity`]: everything that KV's bits depend on besides tokens, and [`keys`], which name a chunk by it
//! - [`chunk`]: the bytes of a chunk, the same for every engine layout
//!
//! A failure is a miss with a reason and a counter, never an answer.
#![forbid(unsafe_code)]

pub mod chunk;
pub mod digest;
pub mod identity;
pub mod keys;
