//! What a store is made of, from the files, variables and URLs that LMCache's users have.
//!
//! Every key has an effect here or is refused; what the machine lacks becomes a [`Note`] with the reason and
//! what is done instead. A missing cap is 80 % of what is free, and a note says how much that is.

mod apply;
mod connector;
mod error;
mod keys;
mod machine;
mod mounts;
mod packing;
mod place;
mod resolve;
mod s3;
mod transport;
mod units;
mod yaml;

use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

pub use error::{ConfigError, Origin};
pub use machine::{Machine, ThisMachine};
pub use mounts::Mounts;
pub use place::Address;
pub use resolve::{Overrides, Source};
pub use s3::{AddressingStyle, S3Credentials, S3Settings};
pub use transport::Transport;

pub use crate::codec::LossyFp8;
pub use crate::tier::Durability;

/// Everything that a store needs to know, decided.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct KvConfig {
    /// Tokens of a full chunk.
    pub chunk_size: ChunkSize,
    /// The engine's own pages come before every tier.
    pub use_device: bool,
    /// Bytes of host memory for chunks; `None`: no host tier.
    pub host_bytes: Option<u64>,
    /// Where chunks outlive the process; `None`: nowhere.
    pub storage: Option<StorageConfig>,
    /// Which chunks give way.
    pub eviction: Eviction,
    /// How chunks are packed.
    pub compression: Compression,
    /// How chunks are rounded before, if they are; `compression` is none then.
    pub lossy: Option<LossyFp8>,
    /// Chunks are brought closer while their request still waits.
    pub prefetch: bool,
    /// Chunks are written behind the computation's back.
    pub async_write: bool,
    /// What survives a loss of power.
    pub durability: Durability,
    /// After this time a chunk is no longer answered with; `None`: never.
    pub ttl: Option<Duration>,
    /// Tenants that have rules of their own.
    pub tenants: Vec<TenantConfig>,
    /// The port that metrics are served on; `None`: not served.
    pub metrics_port: Option<u16>,
    /// Threads that read and write.
    pub num_io_threads: Option<NonZero<u16>>,
    /// The least level that notes are worth showing at.
    pub log_level: Level,
}

/// Storage, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StorageConfig {
    /// Where.
    pub place: Place,
    /// The most bytes that all processes together keep there; `None`, for buckets alone: no cap.
    pub cap_bytes: Option<u64>,
    /// Files are read past the page cache.
    pub is_direct: bool,
}

/// Where chunks are kept, as this machine reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// A directory.
    Directory {
        /// Its path.
        path: PathBuf,
        /// It is on a file system that other machines write to.
        is_shared: bool,
    },
    /// Objects of an S3 bucket.
    Bucket {
        /// The bucket.
        bucket: String,
        /// What all keys begin with.
        prefix: String,
        /// How it is reached.
        settings: S3Settings,
    },
}

/// Tokens of a full chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkSize {
    /// By the longest context, see [`ChunkSize::tokens`].
    Auto,
    /// This many.
    Tokens(NonZero<u32>),
}

impl ChunkSize {
    /// LMCache's default.
    pub const DEFAULT: ChunkSize = ChunkSize::Tokens(NonZero::new(256).expect("256 is not 0"));

    /// Tokens of a chunk for sequences of up to `max_model_len` tokens: long contexts have larger chunks, since
    /// they have more of them.
    pub fn tokens(self, max_model_len: usize) -> usize {
        match (self, max_model_len) {
            (ChunkSize::Tokens(tokens), _) => tokens.get() as usize,
            (ChunkSize::Auto, ..=8192) => 128,
            (ChunkSize::Auto, ..=32768) => 256,
            (ChunkSize::Auto, _) => 512,
        }
    }
}

/// Which chunks give way when a tier is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Eviction {
    /// The one whose last use is longest ago.
    #[default]
    Lru,
    /// The least often used.
    Lfu,
    /// First in, first out, in a small queue for what is seen once and a main one for the rest.
    S3Fifo,
}

/// How chunks are packed, without loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// LZ4 blocks.
    Lz4,
    /// Zstandard.
    Zstd {
        /// 1 to 9.
        level: u8,
    },
    /// High and low bytes apart, then Zstandard: for 16-bit floats.
    BytePlane {
        /// 1 to 9.
        level: u8,
    },
}

/// A tenant's rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantConfig {
    /// Its name.
    pub name: String,
    /// Instead of the configuration's own.
    pub ttl: Option<Duration>,
    /// The most bytes it may hold; `None`: up to the tier's cap.
    pub quota_bytes: Option<u64>,
    /// Bytes that no other tenant can push out.
    pub floor_bytes: u64,
}

/// How much a note matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A choice that was made for the user.
    #[default]
    Info,
    /// Something that was asked for and is not so.
    Warning,
    /// Nothing but failures.
    Error,
}

/// Something that the user should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// How much it matters.
    pub level: Level,
    /// What it is, in a sentence.
    pub text: String,
}

/// A configuration, and what to tell about it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Resolved {
    /// The configuration.
    pub config: KvConfig,
    /// What was chosen or replaced, those of the configuration's `log_level` and above.
    pub notes: Vec<Note>,
}
