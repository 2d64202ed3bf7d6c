//! How the bytes of a layer are stored.

use std::fmt;
use std::sync::Arc;

/// Encoded bytes that are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the encoded bytes of a layer cannot be decoded")]
pub struct DecodeError;

/// A way to store a layer. A name stands for one exact decoding for ever.
pub trait Codec: Send + Sync {
    /// What records call it: 1 to [`MAX_CODEC_BYTES`](super::MAX_CODEC_BYTES) bytes.
    fn name(&self) -> &str;

    /// Whether it stores the bytes as they are.
    fn is_plain(&self) -> bool {
        false
    }

    /// Appends what stands for `raw`, whose elements have `element_bytes`.
    fn encode(&self, raw: &[u8], element_bytes: u32, encoded: &mut Vec<u8>);

    /// Fills `raw` with what `encoded` stands for. The stored bytes have been verified; they must not be able
    /// to do harm nevertheless.
    ///
    /// # Errors
    /// [`DecodeError`] where they stand for nothing, or for another number of bytes.
    fn decode(&self, encoded: &[u8], element_bytes: u32, raw: &mut [u8])
    -> Result<(), DecodeError>;
}

/// Bytes as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl Codec for Plain {
    fn name(&self) -> &str {
        "none"
    }

    fn is_plain(&self) -> bool {
        true
    }

    fn encode(&self, raw: &[u8], _: u32, encoded: &mut Vec<u8>) {
        encoded.extend_from_slice(raw);
    }

    fn decode(&self, encoded: &[u8], _: u32, raw: &mut [u8]) -> Result<(), DecodeError> {
        if encoded.len() != raw.len() {
            return Err(DecodeError);
        }
        raw.copy_from_slice(encoded);
        Ok(())
    }
}

/// The codec that is written with, and all that are read.
#[derive(Clone)]
pub struct Codecs {
    write: Arc<dyn Codec>,
    read: Vec<Arc<dyn Codec>>,
}

impl Codecs {
    /// Writes with `write`; reads it, plain records, and `others`.
    pub fn new(write: Arc<dyn Codec>, others: impl IntoIterator<Item = Arc<dyn Codec>>) -> Self {
        let mut read: Vec<Arc<dyn Codec>> = vec![Arc::clone(&write), Arc::new(Plain)];
        read.extend(others);
        Codecs { write, read }
    }

    /// The codec that is written with.
    pub fn write(&self) -> &dyn Codec {
        &*self.write
    }

    /// The codec of a record.
    pub fn find(&self, name: &str) -> Option<&dyn Codec> {
        self.read.iter().find(|codec| codec.name() == name).map(|codec| &**codec)
    }
}

impl Default for Codecs {
    fn default() -> Self {
        Codecs::new(Arc::new(Plain), [])
    }
}

impl fmt::Debug for Codecs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Codecs({})", self.write.name())
    }
}
