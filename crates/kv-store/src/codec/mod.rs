//! How the bytes of a layer are packed, without loss: even FP8, which packs what was rounded before.
//!
//! A codec's name stands in the record, never in the key: what one store packed with LZ4, another reads that packs
//! with Zstandard. A decoder is given the place for exactly the bytes that the shape says, so that no stored length
//! can ask for memory.

mod byte_plane;
mod fp8;

use std::sync::Arc;

pub use byte_plane::BytePlane;
pub use fp8::{FP8, Fp8, LossyFp8, TooLossy};

use crate::record::{Codec, Codecs, DecodeError};

/// Zstandard's levels that are worth their time here.
const LEVELS: std::ops::RangeInclusive<u8> = 1..=9;

/// LZ4 blocks: memory speed, and the least gain.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lz4;

impl Codec for Lz4 {
    fn name(&self) -> &str {
        "lz4"
    }

    fn encode(&self, raw: &[u8], _: u32, encoded: &mut Vec<u8>) {
        encoded.extend_from_slice(&lz4_flex::block::compress(raw));
    }

    fn decode(&self, encoded: &[u8], _: u32, raw: &mut [u8]) -> Result<(), DecodeError> {
        match lz4_flex::block::decompress_into(encoded, raw) {
            Ok(num_bytes) if num_bytes == raw.len() => Ok(()),
            _ => Err(DecodeError),
        }
    }
}

/// Zstandard at a level from 1, the fastest, to 9; others are taken as the nearest of these.
#[derive(Clone, Copy, Debug)]
pub struct Zstd {
    /// The level that is written with; every level reads every other's.
    pub level: u8,
}

impl Codec for Zstd {
    fn name(&self) -> &str {
        "zstd"
    }

    fn encode(&self, raw: &[u8], _: u32, encoded: &mut Vec<u8>) {
        zstd_append(raw, self.level, encoded);
    }

    fn decode(&self, encoded: &[u8], _: u32, raw: &mut [u8]) -> Result<(), DecodeError> {
        zstd_fill(encoded, raw)
    }
}

/// All codecs for reading, and this one for writing.
pub fn codecs(write: Arc<dyn Codec>) -> Codecs {
    let level = *LEVELS.start();
    Codecs::new(
        write,
        [
            Arc::new(Lz4) as _,
            Arc::new(Zstd { level }) as _,
            Arc::new(BytePlane { level }) as _,
            Arc::new(Fp8) as _,
        ],
    )
}

fn zstd_append(raw: &[u8], level: u8, encoded: &mut Vec<u8>) {
    let level = level.clamp(*LEVELS.start(), *LEVELS.end());
    let frame = zstd::bulk::compress(raw, level.into())
        .expect("zstd fails only for want of room, and takes as much as it may need");
    encoded.extend_from_slice(&frame);
}

fn zstd_fill(encoded: &[u8], raw: &mut [u8]) -> Result<(), DecodeError> {
    match zstd::bulk::decompress_to_buffer(encoded, raw) {
        Ok(num_bytes) if num_bytes == raw.len() => Ok(()),
        _ => Err(DecodeError),
    }
}
