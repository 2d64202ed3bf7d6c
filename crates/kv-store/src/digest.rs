//! The checksum of payload bytes: XXH3-128, which runs at memory speed. It finds faults; it is no
//! defence against someone who writes into the directory on purpose.

use std::fmt;

use twox_hash::XxHash3_128;
use twox_hash::xxhash3_128::Hasher;

/// XXH3-128 of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub u128);

impl Digest {
    /// Bytes of a digest in a record.
    pub const NUM_BYTES: usize = 16;

    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Digest(XxHash3_128::oneshot(bytes))
    }

    /// The digest of bytes that lie in several places.
    pub fn of_slices<'a>(slices: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut digester = Digester::default();
        slices.into_iter().for_each(|slice| digester.write(slice));
        digester.finish()
    }

    /// One digest for several parts, each with its digest: what a whole chunk has. A part can so be
    /// checked alone, and no byte is read twice for the whole.
    pub fn of_parts(parts: impl IntoIterator<Item = Digest>) -> Self {
        let mut digester = Digester::default();
        parts.into_iter().for_each(|part| digester.write(&part.to_bytes()));
        digester.finish()
    }

    /// Little endian, as in a record.
    pub fn to_bytes(self) -> [u8; Self::NUM_BYTES] {
        self.0.to_le_bytes()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({:032x})", self.0)
    }
}

/// The digest of bytes that come one after the other.
#[derive(Default)]
pub(crate) struct Digester(Hasher);

impl Digester {
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    pub(crate) fn finish(self) -> Digest {
        Digest(self.0.finish_128())
    }
}

/// Copies `from` to `to`, which is as long, and gives the digest of what then is in `to`. Block by block, so
/// that the bytes are hashed while they are in the cache.
pub(crate) fn copy_and_digest(from: &[u8], to: &mut [u8]) -> Digest {
    const BLOCK: usize = 64 * 1024;
    let mut digester = Digester::default();
    for (from, to) in from.chunks(BLOCK).zip(to.chunks_mut(BLOCK)) {
        to.copy_from_slice(from);
        digester.write(to);
    }
    digester.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_the_digest_of_its_source() {
        for len in [0, 1, 240, 65_536, 65_537, 200_000] {
            let from: Vec<u8> =
                (0..len).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
            let mut to = vec![0; from.len()];
            assert_eq!(copy_and_digest(&from, &mut to), Digest::of(&from));
            assert_eq!(from, to);
        }
    }
}
