//! Whether results are right.

use engine_core::dtype::DType;
use engine_core::formats::Fp8Format;
use reference_cpu::ops::{AttentionRow, WeightRounding, fp8_quantize, fp8_row_scale};
use reference_cpu::{bounds, check};

use super::data::Data;
use super::problem::Problem;
use super::run::Got;

/// What a variant promises.
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    /// The format of weights when they meet values.
    pub weights: DType,
    /// Tiles and partitions of variants that round weights: they are within a unit of a reference that does the same.
    pub rounding: Option<(usize, usize)>,
    /// Whether queries are rounded to e4m3fnuz, with a scale of each row and head.
    pub fp8_query: bool,
}

impl Bar {
    /// Of the reduction class of the naive variants.
    pub const NAIVE: Bar = Bar { weights: DType::F32, rounding: None, fp8_query: false };

    /// Of the classes of those with matrix instructions.
    pub fn mfma(q_dtype: DType, fp8_query: bool) -> Bar {
        Bar { weights: q_dtype, rounding: Some((64, 512)), fp8_query }
    }

    /// What a reduction class says.
    pub fn of_class(class: &str, q_dtype: DType) -> Bar {
        match class.contains("f32 weights") {
            true => Bar::NAIVE,
            false => Bar::mfma(q_dtype, class.contains("queries in fp8")),
        }
    }
}

/// Nothing, or the first thing that is wrong.
pub fn verdict(problem: &Problem, data: &Data, got: &Got, bar: Bar) -> Result<(), String> {
    if !got.guards_hold {
        return Err("wrote behind its results".to_owned());
    }
    let head_dim = problem.head_dim;
    let values = got.values(problem.q_dtype);
    for (seq_idx, &seq) in problem.seqs.iter().enumerate() {
        for row in 0..seq.num_rows {
            for head in 0..problem.num_qo_heads {
                let exact = data.row(problem, seq_idx, row, head);
                let head_idx = (data.batch.rows(seq_idx).start + row) * problem.num_qo_heads + head;
                let out = &values[head_idx * head_dim..][..head_dim];
                let got = (problem.q_dtype, out, got.lse[head_idx]);
                let place = format!("sequence {seq_idx} of {seq:?}, row {row}, head {head}");
                let at_place = |error: String| format!("{place}: {error}");
                let none = vec![0.0; head_dim];
                let (oracle, query_errors) = match bar.fp8_query {
                    false => (exact, none),
                    true => {
                        let errors = bounds::fp8_query_errors(&exact.query);
                        within(&exact, &errors, bar.weights, got).map_err(at_place)?;
                        // The scale rounds once more.
                        let errors = exact.query.iter().map(|q| q.abs() * bounds::U).collect();
                        (with_fp8_query(exact), errors)
                    }
                };
                within(&oracle, &query_errors, bar.weights, got).map_err(at_place)?;
                if let Some((tile_len, partition_len)) = bar.rounding {
                    let first_position = problem.attended(seq, row).start;
                    let rounding = WeightRounding {
                        dtype: bar.weights,
                        tile_len,
                        partition_len,
                        first_position,
                    };
                    let rounded = oracle.attend_rounded(head_dim, rounding);
                    near_twin(problem, &oracle, &rounded.out, out).map_err(at_place)?;
                }
            }
        }
    }
    Ok(())
}

/// Whether a result, in its format, and its lse are within the bounds of an oracle.
fn within(
    oracle: &AttentionRow<'_>,
    query_errors: &[f64],
    weights: DType,
    (dtype, out, lse): (DType, &[f32], f32),
) -> Result<(), String> {
    let exact = oracle.attend(out.len());
    let errors = bounds::attention_row(oracle, query_errors, weights, &exact.out);
    let want: Vec<f32> = exact.out.iter().map(|&x| x as f32).collect();
    let report = check::compare(dtype, out, &want, &errors.out);
    if !report.is_ok() {
        return Err(report.to_string());
    }
    let lse = f64::from(lse);
    let is_right = (lse - exact.lse).abs() <= errors.lse;
    if !is_right && lse != exact.lse {
        return Err(format!("lse {lse} for {}, {:e} allowed", exact.lse, errors.lse));
    }
    Ok(())
}

/// The row with its query as a kernel rounds it.
fn with_fp8_query(row: AttentionRow<'_>) -> AttentionRow<'_> {
    const FORMAT: Fp8Format = Fp8Format::E4m3Fnuz;
    let query: Vec<f32> = row.query.iter().map(|&q| q as f32).collect();
    let scale = fp8_row_scale(&query, FORMAT);
    let mut codes = vec![0; query.len()];
    fp8_quantize(&query, scale, FORMAT, &mut codes);
    let decoded = codes.into_iter().map(|code| f64::from(FORMAT.decode(code)) * f64::from(scale));
    AttentionRow { query: decoded.collect(), ..row }
}

/// At most a unit of the storage format at the scale of the sum of magnitudes from the reference that rounds alike.
fn near_twin(
    problem: &Problem,
    oracle: &AttentionRow<'_>,
    want: &[f64],
    got: &[f32],
) -> Result<(), String> {
    let mut magnitudes = oracle.clone();
    let absolute: Vec<Vec<f32>> =
        oracle.tokens.iter().map(|token| token.value.iter().map(|v| v.abs()).collect()).collect();
    for (token, value) in magnitudes.tokens.iter_mut().zip(&absolute) {
        token.value = value;
    }
    let scale = magnitudes.attend(problem.head_dim).out;
    for (d, ((got, want), scale)) in got.iter().zip(want).zip(scale).enumerate() {
        let unit = unit_in_last_place(problem, scale);
        let error = (f64::from(*got) - want).abs();
        // Half a unit more: the store rounds, the reference does not.
        let is_near = error <= 1.5 * unit;
        if !is_near {
            return Err(format!("element {d}: {got} for {want}, {} units", error / unit));
        }
    }
    Ok(())
}

fn unit_in_last_place(problem: &Problem, magnitude: f64) -> f64 {
    let value = problem.q_dtype.round(magnitude as f32).abs();
    let mantissa_bits = if problem.q_dtype == DType::F16 { 10 } else { 7 };
    let exponent = value.max(problem.q_dtype.least_normal()).log2().floor();
    f64::from(exponent - mantissa_bits as f32).exp2()
}
