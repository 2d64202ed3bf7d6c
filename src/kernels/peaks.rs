//! What an MI300X reaches: at most, by its data sheet, and in the best that was published.

use serde::Serialize;

/// What memory moves at most, TB/s.
pub const PEAK_TB_PER_S: f64 = 5.3;
/// What stream kernels reach of it, TB/s (arXiv 2510.27583).
pub const ACHIEVABLE_TB_PER_S: f64 = 4.3;

/// TFLOP/s of the matrix units at one precision.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Peaks {
    /// By the data sheet.
    pub peak_tflops: f64,
    /// By the best matrix product that AMD has published.
    pub achievable_tflops: f64,
}

/// With 16 bits.
pub const BF16: Peaks = Peaks { peak_tflops: 1307.4, achievable_tflops: 708.0 };
/// With FP8.
pub const FP8: Peaks = Peaks { peak_tflops: 2614.9, achievable_tflops: 1273.0 };
