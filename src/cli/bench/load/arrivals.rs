//! When requests are sent.

use rand::rngs::StdRng;
use rand_distr::{Distribution, Gamma};

use crate::cli::error::CliError;

/// Seconds from the start until each of `num` requests is sent: `rate` a second, with gaps from a gamma distribution of
/// shape `burstiness` (1: a Poisson process; less: in bursts; more: evenly). An infinite rate sends all at once.
///
/// As vLLM does, the times are stretched so that the last is at `num / rate`: seeds then differ in the order of gaps,
/// not in the load.
///
/// # Errors
/// If there is no such distribution.
pub(crate) fn arrivals(
    num: usize,
    rate: f64,
    burstiness: f64,
    rng: &mut StdRng,
) -> Result<Vec<f64>, CliError> {
    if rate.is_infinite() {
        return Ok(vec![0.0; num]);
    }
    let gaps = Gamma::new(burstiness, 1.0 / (rate * burstiness)).map_err(|error| {
        CliError::usage(format!("--request-rate {rate} with --burstiness {burstiness}: {error}"))
            .with_hint("take numbers that are nearer to 1")
    })?;
    let mut at = 0.0;
    let mut times: Vec<f64> = (0..num)
        .map(|_| {
            at += gaps.sample(rng);
            at
        })
        .collect();
    let stretch = num as f64 / rate / at;
    if !stretch.is_finite() {
        // Gaps so small that they are no numbers any more: a burst.
        return Ok(vec![0.0; num]);
    }
    times.iter_mut().for_each(|time| *time *= stretch);
    Ok(times)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn gaps(num: usize, rate: f64, burstiness: f64, seed: u64) -> Vec<f64> {
        let times = arrivals(num, rate, burstiness, &mut StdRng::seed_from_u64(seed)).unwrap();
        assert!(times.is_sorted());
        std::iter::once(times[0]).chain(times.windows(2).map(|pair| pair[1] - pair[0])).collect()
    }

    /// Standard deviation over mean; of a gamma distribution 1/√shape.
    fn variation(gaps: &[f64]) -> f64 {
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        variance.sqrt() / mean
    }

    #[test]
    fn gaps_have_the_rate_and_the_burstiness_that_were_asked_for() {
        for (rate, burstiness) in [(5.0, 1.0), (0.5, 0.25), (100.0, 16.0)] {
            let gaps = gaps(20_000, rate, burstiness, 7);
            let total: f64 = gaps.iter().sum();
            assert!((total * rate / 20_000.0 - 1.0).abs() < 1e-9, "{rate}: {total}");
            let expected = 1.0 / f64::sqrt(burstiness);
            let found = variation(&gaps);
            // Five standard errors of the estimate at this length are below 6 %.
            assert!((found / expected - 1.0).abs() < 0.06, "{burstiness}: {found}");
        }
    }

    #[test]
    fn a_poisson_process_has_as_many_long_gaps_as_it_should() {
        let gaps = gaps(20_000, 1.0, 1.0, 3);
        for length in [0.5, 1.0, 2.0] {
            let part = gaps.iter().filter(|&&gap| gap > length).count() as f64 / 20_000.0;
            assert!((part - f64::exp(-length)).abs() < 0.02, "{length}: {part}");
        }
    }

    #[test]
    fn a_seed_gives_the_same_times_and_another_others() {
        assert_eq!(gaps(50, 2.0, 1.0, 1), gaps(50, 2.0, 1.0, 1));
        assert_ne!(gaps(50, 2.0, 1.0, 1), gaps(50, 2.0, 1.0, 2));
        assert_eq!(gaps(3, f64::INFINITY, 1.0, 1), [0.0; 3]);
        // Numbers that no distribution has are refused, or give times that a clock has.
        let tiny = arrivals(3, 1e-300, 1e-300, &mut StdRng::seed_from_u64(0));
        assert!(tiny.into_iter().flatten().all(f64::is_finite));
    }
}
