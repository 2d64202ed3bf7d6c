//! Whether results are right.

use reference_cpu::ops::WeightRounding;
use reference_cpu::{bounds, check};

use super::data::Data;
use super::problem::Problem;
use super::run::Got;

/// What a variant promises.
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    /// The format of weights when they meet values.
    pub weights: engine_core::dtype::DType,
    /// Tiles and partitions of variants that round weights: they are within a unit of a reference that does the same.
    pub rounding: Option<(usize, usize)>,
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
                let oracle = data.row(problem, seq_idx, row, head);
                let exact = oracle.attend(head_dim);
                let errors = bounds::attention_row(&oracle, bar.weights, &exact.out);
                let head_idx = (data.batch.rows(seq_idx).start + row) * problem.num_qo_heads + head;
                let out = &values[head_idx * head_dim..][..head_dim];
                let place = format!("sequence {seq_idx} of {seq:?}, row {row}, head {head}");
                let want: Vec<f32> = exact.out.iter().map(|&x| x as f32).collect();
                let report = check::compare(problem.q_dtype, out, &want, &errors.out);
                if !report.is_ok() {
                    return Err(format!("{place}: {report}"));
                }
                let lse = f64::from(got.lse[head_idx]);
                let is_right = (lse - exact.lse).abs() <= errors.lse;
                if !is_right && lse != exact.lse {
                    return Err(format!(
                        "{place}: lse {lse} for {}, {:e} allowed",
                        exact.lse, errors.lse
                    ));
                }
                if let Some((tile_len, partition_len)) = bar.rounding {
                    let first_position = problem.attended(seq, row).start;
                    let rounding = WeightRounding {
                        dtype: bar.weights,
                        tile_len,
                        partition_len,
                        first_position,
                    };
                    let rounded = oracle.attend_rounded(head_dim, rounding);
                    near_twin(problem, &oracle, &rounded.out, out)
                        .map_err(|error| format!("{place}: {error}"))?;
                }
            }
        }
    }
    Ok(())
}

/// At most a unit of the storage format at the scale of the sum of magnitudes from the reference that rounds alike.
fn near_twin(
    problem: &Problem,
    oracle: &reference_cpu::ops::AttentionRow<'_>,
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
    let mantissa_bits = if problem.q_dtype == engine_core::dtype::DType::F16 { 10 } else { 7 };
    let exponent = value.max(problem.q_dtype.least_normal()).log2().floor();
    f64::from(exponent - mantissa_bits as f32).exp2()
}
