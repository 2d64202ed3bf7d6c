//! The f64 instructions: a chain of FMAs in the order of k, denormals kept, rounded to nearest even.

use super::instruction::Shape;
use crate::WAVE_SIZE;
use crate::exec::Lanes;
use crate::simd;

/// The NaN of every f64 result that is one.
const NAN: u64 = 0x7ff8_0000_0000_0000;

/// One f64 in each lane.
pub(super) type Doubles = [f64; WAVE_SIZE];

/// The f64 in two registers, negated if `negate`.
pub(super) fn unpack(registers: &[Lanes], negate: bool) -> Doubles {
    let sign = u64::from(negate) << 63;
    std::array::from_fn(|lane| {
        let (low, high) = (registers[0][lane], registers[1][lane]);
        f64::from_bits((u64::from(low) | u64::from(high) << 32) ^ sign)
    })
}

/// D += A × B. A and B hold one k in each group of as many lanes as there are rows. D has its rows in the lanes one
/// after the other, of each row all blocks, and goes on in the next two registers.
///
/// For 4x4x4_4b the manual's formula (7.1.4.2 with H = 1) has the blocks one after the other instead. AMD's matrix
/// instruction calculator and the example in its "lab notes", which checks itself on hardware, have the rows.
pub(super) struct Accumulate<'a> {
    pub shape: Shape,
    pub a: &'a Doubles,
    pub b: &'a Doubles,
    pub negate_c: bool,
    pub d: &'a mut [Lanes],
}

impl simd::Job for Accumulate<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        match self.shape.side {
            4 => self.rows::<4>(),
            _ => self.rows::<16>(),
        }
    }
}

impl Accumulate<'_> {
    #[inline(always)]
    fn rows<const SIDE: usize>(self) {
        let rows = self.shape.rows();
        for (pair, d) in self.d.chunks_exact_mut(2).enumerate() {
            let mut sums = unpack(d, self.negate_c);
            for (group, sums) in sums.chunks_exact_mut(SIDE).enumerate() {
                let place = pair * (WAVE_SIZE / SIDE) + group;
                let (row, block) = (place / self.shape.blocks, place % self.shape.blocks);
                for k in 0..self.shape.depth {
                    let a = self.a[k * rows + block * SIDE + row];
                    let b = &self.b[k * rows + block * SIDE..][..SIDE];
                    for (sum, b) in sums.iter_mut().zip(b) {
                        *sum = a.mul_add(*b, *sum);
                    }
                }
            }
            for (lane, sum) in sums.iter().enumerate() {
                let bits = if sum.is_nan() { NAN } else { sum.to_bits() };
                d[0][lane] = bits as u32;
                d[1][lane] = (bits >> 32) as u32;
            }
        }
    }
}
