//! How chunks are packed, and whether with loss.

use super::error::ConfigError;
use super::keys::{Algorithm, Keys, LossyCodec};
use super::resolve::Resolver;
use super::{Compression, Level, Machine};
use crate::codec::LossyFp8;

/// The recipe's level: 1 is fastest, 9 packs best.
const DEFAULT_LEVEL: u8 = 3;
/// FP8 has three bits of mantissa: KV that has no outliers loses some 3 %.
const DEFAULT_MAX_ERROR: f32 = 0.05;

impl<M: Machine> Resolver<'_, M> {
    pub(super) fn compression(&mut self, keys: &Keys) -> Compression {
        let (algorithm, level) = (keys.compression_algorithm, keys.compression_level);
        if keys.compression != Some(true) {
            if algorithm.is_some() || level.is_some() {
                self.note(
                    Level::Warning,
                    "compression_algorithm and compression_level have no effect without compression: true",
                );
            }
            return Compression::None;
        }
        match (algorithm.unwrap_or(Algorithm::Zstd), level) {
            (Algorithm::Lz4, level) => {
                if level.is_some() {
                    self.note(Level::Warning, "compression_level has no effect: lz4 has one level");
                }
                Compression::Lz4
            }
            (Algorithm::Zstd, level) => Compression::Zstd { level: level.unwrap_or(DEFAULT_LEVEL) },
            (Algorithm::BytePlane, level) => {
                Compression::BytePlane { level: level.unwrap_or(DEFAULT_LEVEL) }
            }
        }
    }

    /// The rounding of stored KV. Where nothing is stored it would lose and save nothing.
    pub(super) fn lossy(&mut self, keys: &Keys) -> Result<Option<LossyFp8>, ConfigError> {
        if keys.lossy_codec != Some(LossyCodec::Fp8) {
            if keys.lossy_max_error.is_some() {
                self.note(Level::Warning, "lossy_max_error has no effect without lossy_codec: fp8");
            }
            return Ok(None);
        }
        if keys.compression == Some(true) {
            return Err(ConfigError::Contradiction {
                first: "lossy_codec",
                second: "compression",
                hint: "a chunk is packed by one codec; keep one of them",
            });
        }
        if keys.places() == 0 {
            return Ok(None);
        }
        let max_error = keys.lossy_max_error.map_or(DEFAULT_MAX_ERROR, |part| part as f32);
        self.note(
            Level::Info,
            format!(
                "lossy_codec fp8: stored KV is rounded, and answers from it may differ; chunks with an error above \
                 {max_error} are not stored"
            ),
        );
        Ok(Some(LossyFp8 { max_error }))
    }
}
