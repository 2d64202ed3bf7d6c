//! bf16 in eight bits: half the bytes, and other numbers.
//!
//! The loss is in one place: [`LossyFp8::round`] puts a number that FP8 has in the place of each number, before the chunk
//! is sealed. From then on the chunk is exact like any other: its digests are those of the rounded numbers, and
//! [`Fp8`], the codec, packs them without loss. An identity names the rounding, so that nobody reads rounded KV who
//! did not ask for it.

use engine_core::formats::{Fp8Format, Overflow};

use crate::record::{Codec, DecodeError};

/// What an identity's lossy codec is called for KV that [`LossyFp8`] rounds.
pub const FP8: &str = "fp8-e4m3";

/// OCP's, whatever the device: here it is a code for a file, and no device computes with it.
const FORMAT: Fp8Format = Fp8Format::E4m3;
/// Elements that have one scale, a power of two.
const BLOCK: usize = 256;
/// The least exponent of a scale: the smallest number is a normal bf16 then.
const LEAST_EXPONENT: i32 = -117;
/// Half the distance of the two largest numbers.
const LARGEST_ERROR: f32 = 16.0;

/// How FP8 rounds, and when it must not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossyFp8 {
    /// The root mean square of a chunk's errors, as a part of that of its numbers, beyond which it is not taken.
    pub max_error: f32,
}

/// A chunk that is not rounded.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TooLossy {
    /// The rounding changes too much.
    #[error("rounding to FP8 has an error of {error}, and {max_error} is the most that is allowed")]
    Error {
        /// What it would be.
        error: f32,
        /// The policy's limit.
        max_error: f32,
    },
    /// NaN or infinity, or a number so near to infinity that it would be rounded to it.
    #[error("KV that is not finite, or would not be, is not rounded")]
    NotFinite,
}

/// Bytes of one scale: its exponent.
fn exponent_of(largest: f32) -> i32 {
    let mut exponent = LEAST_EXPONENT;
    // The largest bf16 is below 448 × 2^120.
    while largest > FORMAT.max() * 2f32.powi(exponent) {
        exponent += 1;
    }
    exponent
}

fn read(element: &[u8]) -> f32 {
    f32::from_bits(u32::from(u16::from_le_bytes([element[0], element[1]])) << 16)
}

fn largest(block: &[u8]) -> f32 {
    block.chunks_exact(2).map(|element| read(element).abs()).fold(0.0, f32::max)
}

/// The nearest number of FP8, scaled; bf16 has it too.
fn rounded(x: f32, exponent: i32) -> (u8, f32) {
    let scale = 2f32.powi(exponent);
    // Two powers: one alone would leave f32 for the least exponents.
    let code = FORMAT.encode(x * 2f32.powi(-exponent), Overflow::Saturate);
    (code, FORMAT.decode(code) * scale)
}

impl LossyFp8 {
    /// Rounds the bf16 numbers of a chunk's layers, each of `layer_bytes`; gives the error. On a refusal some are
    /// rounded and some not: the bytes are not to be used.
    ///
    /// # Errors
    /// [`TooLossy`].
    pub fn round(&self, layer_bytes: usize, bytes: &mut [u8]) -> Result<f32, TooLossy> {
        let (mut squares, mut errors) = (0f64, 0f64);
        for layer in bytes.chunks_mut(layer_bytes.max(1)) {
            for block in layer.chunks_mut(2 * BLOCK) {
                let largest = largest(block);
                if !block.chunks_exact(2).all(|element| read(element).is_finite()) {
                    return Err(TooLossy::NotFinite);
                }
                let exponent = exponent_of(largest);
                for element in block.chunks_exact_mut(2) {
                    let x = read(element);
                    let (_, y) = rounded(x, exponent);
                    if !y.is_finite() {
                        return Err(TooLossy::NotFinite);
                    }
                    squares += f64::from(x) * f64::from(x);
                    errors += (f64::from(x) - f64::from(y)).powi(2);
                    element.copy_from_slice(&((y.to_bits() >> 16) as u16).to_le_bytes());
                }
            }
        }
        let error = if errors == 0.0 { 0.0 } else { (errors / squares).sqrt() as f32 };
        match error <= self.max_error {
            true => Ok(error),
            false => Err(TooLossy::Error { error, max_error: self.max_error }),
        }
    }
}

/// Packs a layer that [`LossyFp8`] rounded, without loss: a tag, a bound of the rounding's absolute error, a scale for
/// each block, the codes. A layer that was not rounded is stored as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fp8;

const AS_IT_IS: u8 = 0;
const PACKED: u8 = 1;
const BOUND_BYTES: usize = 4;

impl Fp8 {
    /// What no number of the encoded layer differs by, or more, from the number that was computed; `None` for a layer
    /// that was not rounded.
    pub fn bound(encoded: &[u8]) -> Option<f32> {
        match encoded.split_first() {
            Some((&PACKED, rest)) => {
                Some(f32::from_le_bytes(rest.get(..BOUND_BYTES)?.try_into().ok()?))
            }
            _ => None,
        }
    }

    fn pack(raw: &[u8], encoded: &mut Vec<u8>) -> Option<()> {
        let mut exponents = Vec::with_capacity(raw.len().div_ceil(2 * BLOCK));
        let mut codes = Vec::with_capacity(raw.len() / 2);
        for block in raw.chunks(2 * BLOCK) {
            let exponent = exponent_of(largest(block));
            exponents.push(i8::try_from(exponent).ok()?);
            for element in block.chunks_exact(2) {
                let x = read(element);
                let (code, y) = rounded(x, exponent);
                if x.to_bits() != y.to_bits() {
                    return None;
                }
                codes.push(code);
            }
        }
        let widest = exponents.iter().copied().max().unwrap_or(0);
        encoded.push(PACKED);
        encoded.extend((LARGEST_ERROR * 2f32.powi(widest.into())).to_le_bytes());
        encoded.extend(exponents.iter().map(|exponent| exponent.to_le_bytes()[0]));
        encoded.extend(codes);
        Some(())
    }
}

impl Codec for Fp8 {
    fn name(&self) -> &str {
        FP8
    }

    fn encode(&self, raw: &[u8], element_bytes: u32, encoded: &mut Vec<u8>) {
        let is_bf16 = element_bytes == 2 && raw.len().is_multiple_of(2);
        if !is_bf16 || Self::pack(raw, encoded).is_none() {
            encoded.push(AS_IT_IS);
            encoded.extend_from_slice(raw);
        }
    }

    fn decode(&self, encoded: &[u8], _: u32, raw: &mut [u8]) -> Result<(), DecodeError> {
        let (tag, rest) = encoded.split_first().ok_or(DecodeError)?;
        if *tag == AS_IT_IS && rest.len() == raw.len() {
            raw.copy_from_slice(rest);
            return Ok(());
        }
        let num_blocks = raw.len().div_ceil(2 * BLOCK);
        let is_whole = rest.len() == BOUND_BYTES + num_blocks + raw.len() / 2;
        if *tag != PACKED || !is_whole || !raw.len().is_multiple_of(2) {
            return Err(DecodeError);
        }
        let (exponents, codes) = rest[BOUND_BYTES..].split_at(num_blocks);
        let blocks = raw.chunks_mut(2 * BLOCK).zip(codes.chunks(BLOCK)).zip(exponents);
        for ((block, codes), exponent) in blocks {
            let scale = 2f32.powi(i8::from_le_bytes([*exponent]).into());
            for (element, code) in block.chunks_exact_mut(2).zip(codes) {
                let bits = (FORMAT.decode(*code) * scale).to_bits();
                element.copy_from_slice(&((bits >> 16) as u16).to_le_bytes());
            }
        }
        Ok(())
    }
}
