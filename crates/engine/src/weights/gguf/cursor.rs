//! Bounds-checked little-endian reads.

use super::GgufError;

/// A place in the file. Every read names what it wanted, for the error.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    pos: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Cursor { bytes, pos: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.pos
    }

    pub(super) fn remaining(&self) -> usize {
        self.bytes.len() - self.pos
    }

    pub(super) fn take(&mut self, len: usize, what: &str) -> Result<&'a [u8], GgufError> {
        let bytes =
            self.bytes[self.pos..].get(..len).ok_or_else(|| self.truncated(len as u64, what))?;
        self.pos += len;
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], GgufError> {
        let (bytes, _) = self.bytes[self.pos..]
            .split_first_chunk::<N>()
            .ok_or_else(|| self.truncated(N as u64, what))?;
        self.pos += N;
        Ok(*bytes)
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, GgufError> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64, GgufError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A count of items, each at least `min_bytes` long: refused when the rest of the file cannot
    /// hold so many, so that nothing is allocated on a lying count's word.
    pub(super) fn count(&mut self, min_bytes: usize, what: &str) -> Result<usize, GgufError> {
        let count = self.u64(what)?;
        let room = (self.remaining() / min_bytes) as u64;
        if count > room {
            return Err(GgufError::CountTooLarge { what: what.to_owned(), count, room });
        }
        Ok(count as usize)
    }

    /// A length-prefixed UTF-8 string.
    pub(super) fn string(&mut self, what: &str) -> Result<&'a str, GgufError> {
        let offset = self.pos;
        let len = self.count(1, what)?;
        let bytes = self.take(len, what)?;
        std::str::from_utf8(bytes)
            .map_err(|_| GgufError::NotUtf8 { what: what.to_owned(), offset: offset as u64 })
    }

    fn truncated(&self, needed: u64, what: &str) -> GgufError {
        GgufError::Truncated {
            what: what.to_owned(),
            offset: self.pos as u64,
            needed,
            file_bytes: self.bytes.len() as u64,
        }
    }
}
