//! Weights in panels: what a tile product reads is contiguous.

use engine_core::checkpoint::RowSource;
use engine_core::device::OpError;
use engine_core::dtype::DType;
use half::f16;

use crate::buffer::{AlignedBuf, SharedPtr};
use crate::pool::Pool;
use crate::simd::LANES;

/// Rows that one task packs: enough to hide the task's cost, few enough to share out.
const PANELS_PER_TASK: usize = 2;

/// A `[num_rows, num_cols]` weight as panels of 16 rows:
/// `[num_rows / 16][num_cols / group][16][group]`, zero-filled at the ends, with `group` = 2 for
/// bfloat16 and 1 otherwise. A step over k reads one line of a panel: 16 rows at once.
pub struct Matrix {
    pub(crate) num_rows: usize,
    pub(crate) num_cols: usize,
    pub(crate) dtype: DType,
    pub(crate) data: AlignedBuf,
}

impl Matrix {
    /// Neighbouring columns that are stored together.
    pub(crate) fn group(&self) -> usize {
        if self.dtype == DType::BF16 { 2 } else { 1 }
    }

    /// Steps over k of one panel.
    pub(crate) fn num_groups(&self) -> usize {
        self.num_cols.div_ceil(self.group())
    }

    /// Panels of 16 rows.
    pub(crate) fn num_panels(&self) -> usize {
        self.num_rows.div_ceil(LANES)
    }

    /// Bytes from one step over k to the next.
    pub(crate) fn group_bytes(&self) -> usize {
        LANES * self.group() * self.dtype.size_bytes()
    }

    /// Bytes of one panel.
    pub(crate) fn panel_bytes(&self) -> usize {
        self.num_groups() * self.group_bytes()
    }

    /// Reads and packs the rows of `parts`, one below the other.
    pub(crate) fn pack(
        pool: &mut Pool,
        parts: &[&dyn RowSource],
        dtype: DType,
    ) -> Result<Matrix, OpError> {
        let num_cols = parts.first().map_or(0, |part| part.num_cols());
        for part in parts {
            if part.num_cols() != num_cols {
                let (what, found) = ("width of a part", part.num_cols());
                return Err(OpError::Shape { op: "load_matrix", what, found, expected: num_cols });
            }
        }
        let num_rows = parts.iter().map(|part| part.num_rows()).sum();
        let mut matrix = Matrix { num_rows, num_cols, dtype, data: AlignedBuf::zeroed(0, "")? };
        let size_bytes = matrix.num_panels() * matrix.panel_bytes();
        matrix.data = AlignedBuf::zeroed(size_bytes, "a weight matrix")?;
        matrix.fill(pool, parts);
        Ok(matrix)
    }

    fn fill(&mut self, pool: &mut Pool, parts: &[&dyn RowSource]) {
        let (num_rows, num_cols) = (self.num_rows, self.num_cols);
        let (num_panels, panel_bytes, dtype) = (self.num_panels(), self.panel_bytes(), self.dtype);
        let panels = SharedPtr::new(self.data.as_mut_slice::<u8>());
        pool.run(num_panels.div_ceil(PANELS_PER_TASK), |task_idx, _| {
            let mut rows = vec![0.0; LANES * num_cols];
            let first_panel = task_idx * PANELS_PER_TASK;
            for panel_idx in first_panel..(first_panel + PANELS_PER_TASK).min(num_panels) {
                let first_row = panel_idx * LANES;
                let panel_rows = LANES.min(num_rows - first_row);
                for (lane, row) in
                    rows.chunks_exact_mut(num_cols.max(1)).take(panel_rows).enumerate()
                {
                    read_stacked_row(parts, first_row + lane, row);
                }
                // SAFETY: panel `panel_idx` lies inside the matrix and belongs to this task alone.
                let panel = unsafe { panels.part(panel_idx * panel_bytes, panel_bytes) };
                pack_panel(&rows, num_cols, panel_rows, dtype, panel);
            }
        });
    }

    /// Writes row `row_idx`, widened to f32.
    pub(crate) fn read_row(&self, row_idx: usize, out: &mut [f32]) {
        let group = self.group();
        let panel_len = self.num_groups() * LANES * group;
        let first = row_idx / LANES * panel_len + row_idx % LANES * group;
        let place = |col: usize| first + col / group * LANES * group + col % group;
        match self.dtype {
            DType::F32 => {
                let data = self.data.as_slice::<f32>();
                out.iter_mut().enumerate().for_each(|(col, x)| *x = data[place(col)]);
            }
            DType::F16 => {
                let data = self.data.as_slice::<f16>();
                out.iter_mut().enumerate().for_each(|(col, x)| *x = data[place(col)].to_f32());
            }
            DType::BF16 => {
                let data = self.data.as_slice::<u16>();
                let widen = |bits: u16| f32::from_bits(u32::from(bits) << 16);
                out.iter_mut().enumerate().for_each(|(col, x)| *x = widen(data[place(col)]));
            }
        }
    }
}

fn read_stacked_row(parts: &[&dyn RowSource], row: usize, out: &mut [f32]) {
    let mut row = row;
    for part in parts {
        if row < part.num_rows() {
            return part.read_row(row, out);
        }
        row -= part.num_rows();
    }
}

/// Packs `num_rows` rows of `num_cols` f32 into one zeroed panel.
fn pack_panel(rows: &[f32], num_cols: usize, num_rows: usize, dtype: DType, panel: &mut [u8]) {
    let rows = rows.chunks_exact(num_cols.max(1)).take(num_rows).enumerate();
    match dtype {
        DType::F32 => {
            let panel: &mut [[f32; LANES]] = bytemuck::cast_slice_mut(panel);
            for (lane, row) in rows {
                panel.iter_mut().zip(row).for_each(|(group, &x)| group[lane] = x);
            }
        }
        DType::F16 => {
            let panel: &mut [[f16; LANES]] = bytemuck::cast_slice_mut(panel);
            for (lane, row) in rows {
                panel.iter_mut().zip(row).for_each(|(group, &x)| group[lane] = f16::from_f32(x));
            }
        }
        DType::BF16 => {
            let panel: &mut [[[u16; 2]; LANES]] = bytemuck::cast_slice_mut(panel);
            for (lane, row) in rows {
                for (group, pair) in panel.iter_mut().zip(row.chunks(2)) {
                    let second = pair.get(1).map_or(0, |&x| bf16_bits(x));
                    group[lane] = [bf16_bits(pair[0]), second];
                }
            }
        }
    }
}

/// `x` rounded to bfloat16, to nearest even; NaN stays NaN. Branch-free, so that loops vectorise.
pub(crate) fn bf16_bits(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    let quiet_nan = (bits >> 16) | 0x40;
    (if x.is_nan() { quiet_nan } else { rounded }) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;

    struct Counting(usize, usize);

    impl RowSource for Counting {
        fn num_rows(&self) -> usize {
            self.0
        }
        fn num_cols(&self) -> usize {
            self.1
        }
        fn read_row(&self, row: usize, out: &mut [f32]) {
            out.iter_mut().enumerate().for_each(|(col, x)| *x = (row * 31 + col) as f32);
        }
    }

    #[test]
    fn packing_keeps_every_element() {
        let mut pool = Pool::new(2).unwrap();
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            for (top_rows, bottom_rows, num_cols) in [(1, 0, 1), (15, 2, 3), (16, 40, 8), (0, 3, 5)]
            {
                let (top, bottom) = (Counting(top_rows, num_cols), Counting(bottom_rows, num_cols));
                let matrix = Matrix::pack(&mut pool, &[&top, &bottom], dtype).unwrap();
                let mut row = vec![0.0; num_cols];
                let mut expected = row.clone();
                for row_idx in 0..top_rows + bottom_rows {
                    matrix.read_row(row_idx, &mut row);
                    read_stacked_row(&[&top, &bottom], row_idx, &mut expected);
                    expected.iter_mut().for_each(|x| *x = dtype.round(*x));
                    assert_eq!(row, expected, "{dtype} row {row_idx}");
                }
            }
        }
    }

    #[test]
    fn parts_of_different_width_are_refused() {
        let mut pool = Pool::new(1).unwrap();
        let parts: [&dyn RowSource; 2] = [&Counting(1, 4), &Counting(1, 5)];
        assert!(Matrix::pack(&mut pool, &parts, DType::F32).is_err());
    }

    #[test]
    fn bf16_bits_rounds_as_half_does() {
        for bits in (0..=u32::MAX).step_by(65_521) {
            let x = f32::from_bits(bits);
            assert_eq!(bf16_bits(x), bf16::from_f32(x).to_bits(), "{x}");
        }
    }
}
