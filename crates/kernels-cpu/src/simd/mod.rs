//! The kernels of one ISA path as a table of functions: one tile product, and work on one row.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use engine_core::dtype::DType;

use crate::buffer::Store;
use crate::fp8::Widen;
use crate::isa::CpuIsa;

/// Weight rows (or KV positions, or V elements) of one panel: one AVX-512 register of f32.
pub(crate) const LANES: usize = 16;
/// Most rows of a tile product: 6 × 4 accumulators leave registers for the operands.
pub(crate) const TILE_ROWS: usize = 6;
/// Most panels of a tile product.
pub(crate) const TILE_PANELS: usize = 4;
/// Most columns of a tile product.
pub(crate) const TILE_COLS: usize = TILE_PANELS * LANES;

/// What a tile product does with its sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    /// `c = a·b (+ bias)`.
    Store,
    /// `c = c + (a·b (+ bias))`: the chain is summed first, so the residual costs one rounding.
    AddTo,
    /// `c` is where the chain starts: the product continues an earlier one.
    Continue,
}

/// `c[rows, cols] = a[rows, k] · b[k, cols]`, each element one chain over k in order.
///
/// `b` is up to four panels of 16 columns; a panel's step over k is one line at `b[p] + step · b_stride`.
/// A step is one k, or a pair of bfloat16. `a` holds `a_stride` bytes per row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) steps: usize,
    pub(crate) a: *const u8,
    pub(crate) a_stride: usize,
    pub(crate) b: [*const u8; TILE_PANELS],
    pub(crate) b_stride: usize,
    pub(crate) c: *mut f32,
    /// Elements from one row of `c` to the next.
    pub(crate) c_stride: usize,
    /// `[cols]`, or null.
    pub(crate) bias: *const f32,
    pub(crate) finish: Finish,
}

impl Tile {
    /// Panels that `cols` spans.
    fn panels(&self) -> usize {
        self.cols.div_ceil(LANES)
    }

    /// Columns of panel `p` that exist.
    fn panel_cols(&self, p: usize) -> usize {
        (self.cols - p * LANES).min(LANES)
    }
}

/// # Safety of every `TileFn`
/// `1 ≤ rows ≤ TILE_ROWS`, `1 ≤ cols ≤ TILE_COLS`; `a` is readable for `rows` rows of `steps` steps,
/// each used `b[p]` for `steps` lines of a full panel, `c` is writable for `rows × cols` and not
/// shared, `bias` is null or readable for `cols` rounded up to a full panel. The CPU has the path's
/// features.
pub(crate) type TileFn = unsafe fn(&Tile);

/// One row of one KV tile in the online softmax, in base 2. `scores` are scaled to log₂ units here.
#[derive(Debug)]
pub(crate) struct SoftmaxRow<'a> {
    /// Raw q·k in, probabilities (relative to the new maximum) out; 0 outside `valid`.
    pub(crate) scores: &'a mut [f32; TILE_COLS],
    /// Columns that the row attends.
    pub(crate) valid: core::ops::Range<usize>,
    /// `scale · log₂ e`.
    pub(crate) scale_log2: f32,
    /// Running maximum, in log₂ units.
    pub(crate) max: &'a mut f32,
    /// Running sum of probabilities.
    pub(crate) sum: &'a mut f32,
    /// The row's output so far, rescaled to the new maximum.
    pub(crate) out: &'a mut [f32],
}

/// The kernels of one ISA path. Functions are unsafe for one common reason: the CPU must have the
/// path's features, which [`Kernels::of`] establishes through [`CpuIsa::require`].
#[derive(Clone, Copy)]
pub(crate) struct Kernels {
    /// Matrix inputs of bfloat16 compute are stored as bfloat16, not as rounded f32.
    pub(crate) native_bf16: bool,
    tile_f32: TileFn,
    tile_f16: TileFn,
    tile_bf16: TileFn,
    /// One row of one tile; see [`SoftmaxRow`].
    pub(crate) softmax_row: unsafe fn(SoftmaxRow<'_>),
    /// `out[i] = x[i] · scale(x) · weight[i]`, with scale = 1 / rms.
    pub(crate) rms_norm_row: unsafe fn(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]),
    /// `out[i] = silu(gate[i]) · up[i]`.
    pub(crate) silu_mul_row: unsafe fn(gate: &[f32], up: &[f32], out: &mut [f32]),
    /// `out[i] = x[i]` rounded to bfloat16.
    pub(crate) store_bf16: unsafe fn(x: &[f32], out: &mut [u16]),
    /// `out[i]` = the 16 bits that the table has for `codes[i]`; equally many.
    pub(crate) widen_fp8: unsafe fn(table: &Widen, codes: &[u8], out: &mut [u16]),
    /// `x[i]` rounded to binary16 and widened, in place.
    pub(crate) round_f16: unsafe fn(x: &mut [f32]),
    /// Where it has them.
    pub(crate) place_kv: Option<PlaceKv>,
}

/// A storage code of 16 bits.
type Code = [u8; 2];

/// Copies from canonical rows to a kv_block that go past the caches: what is written is much, and not read soon.
/// Unsafe for the features of the path, and for what is written to: whole lines, aligned, inside the kv_block.
#[derive(Clone, Copy)]
pub(crate) struct PlaceKv {
    /// 16 rows of `num_groups` groups, a multiple of 16, to the column of `head` that they are in each line of
    /// `block_size` groups.
    pub(crate) keys:
        unsafe fn(rows: &[[u8; 4]], num_groups: usize, block_size: usize, head: *mut [u8; 4]),
    /// Two rows, of a multiple of 32 elements, by turns.
    pub(crate) values: unsafe fn(first: &[Code], second: &[Code], out: *mut Code),
    /// Behind the last copy: lets other threads see all.
    pub(crate) finish: fn(),
}

impl Kernels {
    /// The kernels of a path that [`CpuIsa::is_available`].
    pub(crate) fn of(isa: CpuIsa) -> Kernels {
        assert!(isa.is_available(), "{isa:?} kernels on a CPU without it");
        match isa {
            #[cfg(target_arch = "x86_64")]
            CpuIsa::Avx512 => avx512::KERNELS,
            #[cfg(target_arch = "x86_64")]
            CpuIsa::Avx2 => avx2::KERNELS,
            _ => portable::KERNELS,
        }
    }

    /// How matrix inputs (activations, q, probabilities) of `dtype` are stored.
    pub(crate) fn store_of(&self, dtype: DType) -> Store {
        match dtype {
            DType::F32 => Store::F32,
            DType::BF16 if self.native_bf16 => Store::Bf16,
            rounded => Store::Rounded(rounded),
        }
    }

    /// The tile product for `b` of `dtype` and `a` stored as [`Kernels::store_of`] says.
    pub(crate) fn tile(&self, dtype: DType) -> TileFn {
        match dtype {
            DType::F32 => self.tile_f32,
            DType::F16 => self.tile_f16,
            DType::BF16 => self.tile_bf16,
        }
    }

    /// Stores a row of f32 as `store` asks; `out` has `row.len()` elements of it.
    pub(crate) fn store_row(&self, row: &[f32], store: Store, out: &mut [u8]) {
        match store {
            Store::F32 => bytemuck::cast_slice_mut::<u8, f32>(out).copy_from_slice(row),
            // SAFETY: `self` exists, so the CPU has the features.
            Store::Bf16 => unsafe { (self.store_bf16)(row, bytemuck::cast_slice_mut(out)) },
            Store::Rounded(dtype) => {
                let out: &mut [f32] = bytemuck::cast_slice_mut(out);
                out.copy_from_slice(row);
                match dtype {
                    // SAFETY: as above.
                    DType::F16 => unsafe { (self.round_f16)(out) },
                    _ => out.iter_mut().for_each(|x| *x = round_bf16(*x)),
                }
            }
        }
    }
}

fn round_bf16(x: f32) -> f32 {
    f32::from_bits(u32::from(crate::matrix::bf16_bits(x)) << 16)
}

/// Expands to a match over every tile size, so that each has its accumulators in registers.
macro_rules! dispatch_tile {
    ($tile:expr, $kernel:ident, [$($rows:literal)*], $panels:tt) => {
        match $tile.rows {
            $($rows => dispatch_tile!(@panels $tile, $kernel, $rows, $panels),)*
            rows => unreachable!("a tile of {rows} rows"),
        }
    };
    (@panels $tile:expr, $kernel:ident, $rows:literal, [$($panels:literal)*]) => {
        match $tile.panels() {
            // SAFETY: the caller's contract is the kernel's.
            $($panels => unsafe { $kernel::<$rows, $panels>($tile) },)*
            panels => unreachable!("a tile of {panels} panels"),
        }
    };
}
pub(crate) use dispatch_tile;

/// Coefficients of a polynomial for 2^f, |f| ≤ ½, lowest power first: the Taylor series of
/// exp(f ln 2) to the 7th power, whose remainder there is below 2⁻²⁷.
pub(crate) const EXP2_POLY: [f32; 8] = [
    1.0,
    std::f32::consts::LN_2,
    0.240_226_5,
    0.055_504_11,
    0.009_618_129,
    0.001_333_355_8,
    0.000_154_035_3,
    0.000_015_252_734,
];

#[cfg(test)]
mod tests {
    use super::*;
    use engine_core::formats::Fp8Format;

    #[test]
    fn every_path_widens_every_code_by_the_table() {
        // Longer than a vector and no multiple of one.
        let codes: Vec<u8> = (0..=u8::MAX).chain(0..=u8::MAX).chain(100..201).collect();
        for isa in CpuIsa::ALL.into_iter().filter(|isa| isa.is_available()) {
            let kernels = Kernels::of(isa);
            for format in Fp8Format::ALL {
                for dtype in [DType::F16, DType::BF16] {
                    let table = Widen::new(format, dtype);
                    let mut got = vec![0; codes.len()];
                    // SAFETY: `kernels` exists, so the CPU has the features.
                    unsafe { (kernels.widen_fp8)(&table, &codes, &mut got) };
                    let want = codes.iter().map(|&code| table.bits[usize::from(code)]);
                    assert_eq!(got, want.collect::<Vec<_>>(), "{isa:?} {format:?} {dtype}");
                }
            }
        }
    }
}
