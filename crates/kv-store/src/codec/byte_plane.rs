//! Zstandard over the bytes of numbers, sorted by what they mean.

use super::{zstd_append, zstd_fill};
use crate::record::{Codec, DecodeError};

/// First all bytes of exponents, then all of mantissas, each compressed alone.
///
/// The exponents of keys and values are few and skewed, their mantissas are noise; mixed, the noise hides the rest.
/// A 16-bit float is turned left by one bit before it is taken apart: so a bf16's exponent is one whole byte, and its
/// sign is with the noise. Elements of other sizes are taken apart as they are.
#[derive(Clone, Copy, Debug)]
pub struct BytePlane {
    /// Zstandard's level, see [`Zstd`](super::Zstd).
    pub level: u8,
}

impl Codec for BytePlane {
    fn name(&self) -> &str {
        "byteplane-zstd"
    }

    fn encode(&self, raw: &[u8], element_bytes: u32, encoded: &mut Vec<u8>) {
        let planes = split(raw, element_bytes as usize);
        let plane_bytes = match raw.len().checked_div(element_bytes as usize) {
            None | Some(0) => raw.len().max(1),
            Some(plane_bytes) => plane_bytes,
        };
        // A frame for each: planes in one block would share one code. Frames in a row are one stream to a decoder.
        for plane in planes.chunks(plane_bytes) {
            zstd_append(plane, self.level, encoded);
        }
    }

    fn decode(
        &self,
        encoded: &[u8],
        element_bytes: u32,
        raw: &mut [u8],
    ) -> Result<(), DecodeError> {
        let mut planes = vec![0; raw.len()];
        zstd_fill(encoded, &mut planes)?;
        join(&planes, element_bytes as usize, raw);
        Ok(())
    }
}

/// Plane after plane, the most significant first; bytes beyond the last whole element stay at the end.
fn split(raw: &[u8], element_bytes: usize) -> Vec<u8> {
    let mut planes = vec![0; raw.len()];
    if element_bytes == 2 {
        let (high, rest) = planes.split_at_mut(raw.len() / 2);
        let (low, tail) = rest.split_at_mut(raw.len() / 2);
        let elements = raw.chunks_exact(2);
        tail.copy_from_slice(elements.remainder());
        for ((element, high), low) in elements.zip(high).zip(low) {
            [*low, *high] =
                u16::from_le_bytes([element[0], element[1]]).rotate_left(1).to_le_bytes();
        }
        return planes;
    }
    let count = raw.len().checked_div(element_bytes).unwrap_or(0);
    let whole = count * element_bytes;
    for byte in 0..element_bytes.min(whole) {
        let plane = &mut planes[(element_bytes - 1 - byte) * count..][..count];
        let bytes = raw[..whole].iter().skip(byte).step_by(element_bytes);
        plane.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    }
    planes[whole..].copy_from_slice(&raw[whole..]);
    planes
}

/// The inverse of [`split`].
fn join(planes: &[u8], element_bytes: usize, raw: &mut [u8]) {
    if element_bytes == 2 {
        let (high, rest) = planes.split_at(raw.len() / 2);
        let (low, tail) = rest.split_at(raw.len() / 2);
        let mut elements = raw.chunks_exact_mut(2);
        for ((element, high), low) in (&mut elements).zip(high).zip(low) {
            let bytes = u16::from_le_bytes([*low, *high]).rotate_right(1).to_le_bytes();
            element.copy_from_slice(&bytes);
        }
        elements.into_remainder().copy_from_slice(tail);
        return;
    }
    let count = raw.len().checked_div(element_bytes).unwrap_or(0);
    let whole = count * element_bytes;
    for byte in 0..element_bytes.min(whole) {
        let plane = &planes[(element_bytes - 1 - byte) * count..][..count];
        let bytes = raw[..whole].iter_mut().skip(byte).step_by(element_bytes);
        bytes.zip(plane).for_each(|(to, from)| *to = *from);
    }
    raw[whole..].copy_from_slice(&planes[whole..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponent_of_a_bf16_is_one_plane() {
        // 1.0, -1.0 and 1.5: one exponent, 127.
        let raw = [0x3f80u16, 0xbf80, 0x3fc0].map(u16::to_le_bytes).concat();
        assert_eq!(split(&raw, 2), [127, 127, 127, 0x00, 0x01, 0x80]);
    }

    #[test]
    fn other_elements_and_odd_tails_come_back() {
        let raw: Vec<u8> = (0..23).collect();
        for element_bytes in 0..9 {
            let mut joined = vec![0; raw.len()];
            join(&split(&raw, element_bytes), element_bytes, &mut joined);
            assert_eq!(joined, raw, "{element_bytes}");
        }
        assert_eq!(split(&[1, 2, 3, 4, 5, 6, 7, 8, 9], 4), [4, 8, 3, 7, 2, 6, 1, 5, 9]);
    }
}
