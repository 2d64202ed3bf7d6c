//! Bytes between memory, files and peers, in NIXL's words: an [`Agent`] registers memory; a [`Request`] pairs ranges of
//! it with ranges elsewhere, to read or to write; a [`Transfer`] has a status; its end can notify the other side.
//!
//! - [`memory`]: what may be transferred, and who may reach it
//! - [`backend`]: what a way to elsewhere must do; [`posix`], files below a directory; [`OpenFile`], one of
//!   them for reads that belong together
//! - [`wire`]: messages between peers, bounded and authenticated; [`tcp`], peers over TCP
//! - [`agent`]: requests, carried out by threads
//!
//! Transfers have no order among themselves. A transfer that failed may have moved some of its bytes: who needs all or
//! nothing verifies, as the KV store does.
#![forbid(unsafe_code)]

pub mod agent;
pub mod backend;
mod error;
pub mod memory;
mod open_file;
pub mod posix;
pub mod tcp;
pub mod wire;

pub use agent::{Agent, Direction, Pair, Request, Status, Transfer};
pub use backend::{Backend, Remote};
pub use error::{Refusal, TransferError};
pub use host_io::Fallbacks;
pub use memory::{Access, Memory, MemoryId, MemoryTable, Notification};
pub use open_file::OpenFile;
pub use posix::Posix;
pub use tcp::{Limits, PeerServer, TcpPeer, Token};
