//! A dense layer: tiles of the output shared out over the pool.

use engine_core::device::OpError;

use crate::buffer::{AlignedBuf, Buffer, ReadPtr, SharedPtr};
use crate::matrix::Matrix;
use crate::pool::Pool;
use crate::simd::{Finish, Kernels, LANES, TILE_PANELS, TILE_ROWS, Tile};

/// Input rows of one task when there are many: with 1536 columns of bfloat16 they fill 200 KiB, so
/// they stay in a core's L2 together with the task's weight panels.
const ROWS_PER_TASK: usize = 66;

/// `out = x · wᵀ (+ bias)` over `num_rows` rows; `x` is stored as the weight's dtype asks.
pub(crate) struct Dense<'a> {
    pub(crate) x: &'a Buffer,
    pub(crate) weight: &'a Matrix,
    pub(crate) bias: Option<&'a Buffer>,
    pub(crate) num_rows: usize,
    pub(crate) out: &'a mut Buffer,
    pub(crate) finish: Finish,
}

/// Runs the layer. Row blocks of one column group are neighbouring tasks: its weights are read from
/// memory once and then from cache.
pub(crate) fn linear(kernels: &Kernels, pool: &mut Pool, dense: Dense<'_>) -> Result<(), OpError> {
    let Dense { x, weight, bias, num_rows, out, finish } = dense;
    let element_bytes = x.store.size_bytes();
    let row_bytes = weight.num_cols * element_bytes;
    // A pair that straddles the row's end would pair the last element with the next row's first.
    let padded = (!weight.num_cols.is_multiple_of(weight.group()))
        .then(|| pad_rows(x.bytes(), num_rows, row_bytes, element_bytes))
        .transpose()?;
    let (a, a_stride) = match &padded {
        Some(padded) => (padded.as_slice::<u8>(), row_bytes + element_bytes),
        None => (x.bytes(), row_bytes),
    };
    let a = ReadPtr::new(a.as_ptr());
    let panels_per_task = panels_per_task(weight.num_panels(), num_rows, pool.num_threads());
    let num_row_blocks = num_rows.div_ceil(ROWS_PER_TASK);
    let num_col_groups = weight.num_panels().div_ceil(panels_per_task);
    let tile_fn = kernels.tile(weight.dtype);
    let weights = weight.data.as_slice::<u8>();
    let bias = bias.map_or(std::ptr::null(), |bias| bias.f32().as_ptr());
    let bias = ReadPtr::new(bias);
    let c = SharedPtr::new(out.f32_mut());

    pool.run(num_col_groups * num_row_blocks, |task_idx, _| {
        let (col_group, row_block) = (task_idx / num_row_blocks, task_idx % num_row_blocks);
        let first_panel = col_group * panels_per_task;
        let first_col = first_panel * LANES;
        let cols = (panels_per_task * LANES).min(weight.num_rows - first_col);
        let mut b = [std::ptr::null(); TILE_PANELS];
        for (p, panel) in b.iter_mut().enumerate().take(cols.div_ceil(LANES)) {
            *panel = weights[(first_panel + p) * weight.panel_bytes()..].as_ptr();
        }
        let mut row = row_block * ROWS_PER_TASK;
        let end_row = (row + ROWS_PER_TASK).min(num_rows);
        while row < end_row {
            let rows = TILE_ROWS.min(end_row - row);
            let tile = Tile {
                rows,
                cols,
                steps: weight.num_groups(),
                a: a.get().wrapping_add(row * a_stride),
                a_stride,
                b,
                b_stride: weight.group_bytes(),
                // SAFETY: row < num_rows and first_col < the output's columns.
                c: unsafe { c.at(row * weight.num_rows + first_col) },
                c_stride: weight.num_rows,
                bias: if bias.get().is_null() {
                    bias.get()
                } else {
                    bias.get().wrapping_add(first_col)
                },
                finish,
            };
            // SAFETY: 1 ≤ rows ≤ 6 and 1 ≤ cols ≤ 64; the caller has checked that x, bias and out
            // hold these rows and columns; the output tile is this task's alone.
            unsafe { tile_fn(&tile) };
            row += rows;
        }
    });
    Ok(())
}

/// One column group per tile when there is work for all threads anyway, narrower ones when few rows
/// leave too few tasks to share out evenly.
fn panels_per_task(num_panels: usize, num_rows: usize, num_threads: usize) -> usize {
    let wide_tasks = num_panels.div_ceil(TILE_PANELS) * num_rows.div_ceil(ROWS_PER_TASK);
    if wide_tasks >= 16 * num_threads { TILE_PANELS } else { TILE_PANELS / 2 }
}

/// The rows with one zero element behind each.
fn pad_rows(
    bytes: &[u8],
    num_rows: usize,
    row_bytes: usize,
    element_bytes: usize,
) -> Result<AlignedBuf, OpError> {
    let padded_bytes = row_bytes + element_bytes;
    let mut padded = AlignedBuf::zeroed(num_rows * padded_bytes, "padded rows")?;
    let rows = bytes.chunks_exact(row_bytes);
    for (out, row) in padded.as_mut_slice::<u8>().chunks_exact_mut(padded_bytes).zip(rows) {
        out[..row_bytes].copy_from_slice(row);
    }
    Ok(padded)
}
