//! Matrix instructions of CDNA3: what they compute, and which lane holds what.
//!
//! AMD Instinct MI300 Instruction Set Architecture, 7.1.4 (layouts, for any M × N × K and number of blocks) and 7.4
//! (sparse: of each four values of A along K, two are stored, and a 2-bit index for each).

/// Lanes of a wave.
const WAVE_SIZE: usize = 64;

/// The sizes of an instruction: D is M × N, in each block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MatrixShape {
    /// Rows of A and D.
    pub m: usize,
    /// Columns of B and D.
    pub n: usize,
    /// Columns of A, those that a sparse A leaves out included, and rows of B.
    pub k: usize,
    /// Independent products.
    pub blocks: usize,
}

/// Where a value is: which of its elements a lane holds, in which lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The lane.
    pub lane: usize,
    /// Which of the lane's elements, the lowest bits of the first register first.
    pub item: usize,
}

impl MatrixShape {
    /// Elements of A, of B or of D that a lane holds, if `rows` (or columns) by `depth` are spread over the wave.
    #[must_use]
    pub fn items(self, rows: usize, depth: usize) -> usize {
        rows * depth * self.blocks / WAVE_SIZE
    }

    /// The place of A\[block, i, k\], or of B\[block, k, j\] with `rows` = N; `depth` values along K are stored.
    #[must_use]
    pub fn input(self, rows: usize, depth: usize, block: usize, i: usize, k: usize) -> Place {
        let per_lane = self.items(rows, depth);
        Place { lane: i + rows * (block + self.blocks * (k / per_lane)), item: k % per_lane }
    }

    /// The place of C\[block, i, j\] and D\[block, i, j\]. `is_f64`: rows are not grouped by four.
    ///
    /// For f64 4×4×4 of 4 blocks the manual's formula has block after block, each with its rows. AMD's matrix instruction
    /// calculator, and an example of AMD's that checks itself on hardware, have row after row, each with its blocks.
    #[must_use]
    pub fn output(self, is_f64: bool, block: usize, i: usize, j: usize) -> Place {
        if is_f64 && self.blocks > 1 {
            return Place { lane: j + self.n * (block + self.blocks * i), item: 0 };
        }
        let group = if is_f64 { 1 } else { 4 };
        let blocks_per_item = WAVE_SIZE.div_ceil(self.n * self.m / group);
        let rows_per_item = WAVE_SIZE / blocks_per_item / self.n;
        let num_groups = self.m / (group * rows_per_item);
        Place {
            lane: j + self.n
                * ((i / group) % rows_per_item + rows_per_item * (block % blocks_per_item)),
            item: i % group
                + group * (i / (group * rows_per_item) + num_groups * (block / blocks_per_item)),
        }
    }
}

/// D\[block, i, j\] = C\[block, i, j\] + Σ A\[block, i, k\] B\[block, k, j\], each matrix as a function of its indices.
/// Exact as long as every partial sum is an integer below 2⁵³.
#[must_use]
pub fn matrix_multiply_add(
    shape: MatrixShape,
    [block, i, j]: [usize; 3],
    a: impl Fn(usize, usize, usize) -> f64,
    b: impl Fn(usize, usize, usize) -> f64,
    c: impl Fn(usize, usize, usize) -> f64,
) -> f64 {
    (0..shape.k).fold(c(block, i, j), |sum, k| sum + a(block, i, k) * b(block, k, j))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn shape(m: usize, n: usize, k: usize, blocks: usize) -> MatrixShape {
        MatrixShape { m, n, k, blocks }
    }

    /// All dense shapes of gfx942.
    const SHAPES: [MatrixShape; 14] = [
        shape(32, 32, 1, 2),
        shape(16, 16, 1, 4),
        shape(4, 4, 1, 16),
        shape(32, 32, 2, 1),
        shape(16, 16, 4, 1),
        shape(32, 32, 4, 2),
        shape(16, 16, 4, 4),
        shape(4, 4, 4, 16),
        shape(32, 32, 8, 1),
        shape(16, 16, 16, 1),
        shape(32, 32, 16, 1),
        shape(16, 16, 32, 1),
        shape(32, 32, 4, 1),
        shape(16, 16, 8, 1),
    ];

    #[test]
    fn every_place_is_taken_once() {
        for shape in SHAPES {
            let MatrixShape { m, n, k, blocks } = shape;
            let mut inputs = vec![0; WAVE_SIZE * shape.items(m, k)];
            let mut outputs = vec![0; WAVE_SIZE * shape.items(m, n)];
            for block in 0..blocks {
                for i in 0..m {
                    for k_idx in 0..k {
                        let Place { lane, item } = shape.input(m, k, block, i, k_idx);
                        inputs[lane * shape.items(m, k) + item] += 1;
                    }
                    for j in 0..n {
                        let Place { lane, item } = shape.output(false, block, i, j);
                        outputs[lane * shape.items(m, n) + item] += 1;
                    }
                }
            }
            assert!(inputs.iter().chain(&outputs).all(|&count| count == 1), "{shape:?}");
        }
    }

    /// Examples worked out by hand in the manual and in AMD's matrix instruction calculator.
    #[test]
    fn places_are_those_that_the_manual_works_out() {
        let big = shape(32, 32, 8, 1);
        // Row 13 of D is the second of the second group of four rows that lanes 32 to 63 hold: 13 = 8 + 4 + 1.
        assert_eq!(big.output(false, 0, 13, 5), Place { lane: 5 + 32, item: 4 + 1 });
        assert_eq!(big.input(32, 8, 0, 7, 6), Place { lane: 7 + 32, item: 2 });
        let small = shape(4, 4, 4, 16);
        assert_eq!(small.input(4, 4, 9, 3, 2), Place { lane: 3 + 36, item: 2 });
        assert_eq!(small.output(false, 9, 3, 2), Place { lane: 2 + 36, item: 3 });
        let double = shape(16, 16, 4, 1);
        assert_eq!(double.output(true, 0, 9, 3), Place { lane: 3 + 16, item: 2 });
        let double_blocks = shape(4, 4, 4, 4);
        assert_eq!(double_blocks.output(true, 2, 3, 1), Place { lane: 1 + 8 + 48, item: 0 });
    }
}
