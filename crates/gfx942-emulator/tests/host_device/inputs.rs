//! What the functions are given: random words among those that arithmetic treats specially.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::NUM_INPUTS;
use crate::generate::NUM_INPUT_WORDS;

/// Words that are special as integers, as f32, as half of an f64, or in their low half as f16.
const SPECIAL: [u32; 28] = [
    0,
    1,
    2,
    31,
    32,
    63,
    64,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0xffff_fffe,
    0x0000_3c00,
    0x0000_7c00,
    0x0000_fc00,
    0x0000_7e00,
    0x0000_03ff, // f16: 1, ∞, −∞, NaN, denormal
    0x3f80_0000,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0x0000_0400, // f32: 1, ∞, −∞, NaN, denormal
    0x7f7f_ffff,
    0x0080_0000,
    0x3ff0_0000,
    0x7ff0_0000,
    0x4b00_0001, // largest, smallest normal; f64: 1, ∞; 2²³ + 1
];

/// The inputs of all work-items, as they lie in memory.
pub fn inputs(seed: u64) -> Vec<u8> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut word = || match rng.random_range(0..6) {
        0 => SPECIAL[rng.random_range(0..SPECIAL.len())],
        1 => rng.random_range(0..256),
        // Floating-point numbers of usual sizes.
        2 => f32::to_bits(rng.random_range(-100.0..100.0)),
        3 => (f64::to_bits(rng.random_range(-1000.0..1000.0)) >> 32) as u32,
        _ => rng.random(),
    };
    (0..NUM_INPUTS * NUM_INPUT_WORDS).flat_map(|_| word().to_le_bytes()).collect()
}
