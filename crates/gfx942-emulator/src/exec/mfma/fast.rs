//! Fast accumulation: D = C, then for each k in order D = fma(A, B, D), rounded to f32 each time; for integers,
//! wrapping at 32 bits.

use super::instruction::{Shape, Tile};
use super::operands::Panel;
use crate::exec::Lanes;
use crate::simd;

/// What D is, while A and B are always f32.
pub(super) trait Sum: Copy {
    /// What the chains of FMAs start from, given the bits of C.
    fn load(self, c: &[u32], sums: &mut [f32]);
    /// The ends of the chains, where the bits of C are.
    fn store(self, sums: &[f32], d: &mut [u32]);
    /// What is left to do to D as a whole.
    fn finish(self, d: &mut [Lanes]);
}

/// The results are f32.
#[derive(Clone, Copy)]
pub(super) struct Float;

impl Sum for Float {
    #[inline(always)]
    fn load(self, c: &[u32], sums: &mut [f32]) {
        sums.copy_from_slice(bytemuck::must_cast_slice(c));
    }

    #[inline(always)]
    fn store(self, sums: &[f32], d: &mut [u32]) {
        d.copy_from_slice(bytemuck::must_cast_slice(sums));
    }

    #[inline(always)]
    fn finish(self, d: &mut [Lanes]) {
        for bits in d.as_flattened_mut() {
            *bits = if *bits & 0x7fff_ffff > 0x7f80_0000 { super::NAN } else { *bits };
        }
    }
}

/// The results are 32-bit integers. A and B have 8 bits, and there are at most 32 products: their sum is exact in f32.
#[derive(Clone, Copy)]
pub(super) struct Integer;

impl Sum for Integer {
    #[inline(always)]
    fn load(self, _c: &[u32], sums: &mut [f32]) {
        sums.fill(0.0);
    }

    #[inline(always)]
    fn store(self, sums: &[f32], d: &mut [u32]) {
        // Added to a number whose last place is 1, an integer is in the lowest bits.
        const ONES: f32 = 12_582_912.0;
        for (sum, d) in sums.iter().zip(d) {
            *d = d.wrapping_add((sum + ONES).to_bits().wrapping_sub(ONES.to_bits()));
        }
    }

    #[inline(always)]
    fn finish(self, _d: &mut [Lanes]) {}
}

/// The k of B's row that meets the element of A: the same for all rows of A, or looked up.
pub(super) trait Pairing: Copy {
    fn depth(self, row: usize, k: usize) -> usize;
}

/// A and B are dense.
#[derive(Clone, Copy)]
pub(super) struct Same;

impl Pairing for Same {
    #[inline(always)]
    fn depth(self, _row: usize, k: usize) -> usize {
        k
    }
}

/// D += A × B.
pub(super) struct Accumulate<'a, S, P> {
    pub shape: Shape,
    pub a: &'a Panel,
    pub b: &'a Panel,
    pub pairing: P,
    pub sum: S,
    pub d: &'a mut [Lanes],
}

impl<S: Sum, P: Pairing> simd::Job for Accumulate<'_, S, P> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        match self.shape.side {
            4 => self.tiles::<4>(),
            _ => self.tiles::<16>(),
        }
    }
}

impl<S: Sum, P: Pairing> Accumulate<'_, S, P> {
    /// All tiles, `WIDTH` columns at a time: four rows of sixteen fit the registers of any SIMD.
    #[inline(always)]
    fn tiles<const WIDTH: usize>(self) {
        for tile in self.shape.tiles() {
            for column in (0..self.shape.side).step_by(WIDTH) {
                let lane = tile.lane + column;
                let d = &mut self.d[tile.register..][..4];
                let mut sums = [[0.0; WIDTH]; 4];
                for (sums, d) in sums.iter_mut().zip(&*d) {
                    self.sum.load(&d[lane..][..WIDTH], sums);
                }
                let column = tile.block * self.shape.side + column;
                product(&mut sums, self.a, self.b, self.pairing, self.shape, tile, column);
                for (sums, d) in sums.iter().zip(d) {
                    self.sum.store(sums, &mut d[lane..][..WIDTH]);
                }
            }
        }
        self.sum.finish(self.d);
    }
}

/// Adds A × B to four rows of `sums`.
#[inline(always)]
fn product<P: Pairing, const WIDTH: usize>(
    sums: &mut [[f32; WIDTH]; 4],
    a: &Panel,
    b: &Panel,
    pairing: P,
    shape: Shape,
    tile: Tile,
    column: usize,
) {
    let row = tile.block * shape.side + tile.row;
    let mut acc = *sums;
    for (k, a) in a.by_depth().enumerate() {
        let a: &[f32; 4] = a[row..row + 4].try_into().unwrap();
        for r in 0..4 {
            let b: &[f32; WIDTH] =
                b.at(pairing.depth(row + r, k))[column..column + WIDTH].try_into().unwrap();
            for j in 0..WIDTH {
                acc[r][j] = a[r].mul_add(b[j], acc[r][j]);
            }
        }
    }
    *sums = acc;
}
