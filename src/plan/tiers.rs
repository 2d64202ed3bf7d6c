//! Loading KV instead of computing it.

use serde::Serialize;

use super::{DeviceProfile, Estimate, PlanRequest};

/// A place that KV is kept in, by the recipe's figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// What it is called.
    pub name: &'static str,
    /// Bytes in a second.
    pub bytes_per_s: f64,
    /// Before the first byte, seconds.
    pub latency_s: f64,
}

/// From the nearest on. Bandwidths are those that the recipe names for memory, a local drive and shared storage, and
/// a network of 100 Gb/s for buckets.
pub const PLACES: [Place; 4] = [
    Place { name: "host memory", bytes_per_s: 200e9, latency_s: 10e-6 },
    Place { name: "local drive", bytes_per_s: 7e9, latency_s: 100e-6 },
    Place { name: "shared storage", bytes_per_s: 21e9, latency_s: 1e-3 },
    Place { name: "bucket", bytes_per_s: 10e9, latency_s: 30e-3 },
];

/// What loading takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TierLoad {
    /// From where.
    pub place: &'static str,
    /// All of the prompt's KV, seconds.
    pub seconds: f64,
    /// Prompts of at least so many tokens are loaded faster than computed, up to the asked context; `None`: none is,
    /// or the device's rates are not known.
    pub break_even_tokens: Option<usize>,
}

pub(super) fn loads(
    device: &DeviceProfile,
    request: &PlanRequest,
    kv_bytes_per_token: u64,
    prefill_of: &dyn Fn(usize) -> Option<Estimate>,
    step_of: &dyn Fn(usize) -> Option<Estimate>,
) -> Vec<TierLoad> {
    let link = device.rates.as_ref().map_or(f64::INFINITY, |rates| rates.host_link_bytes_per_s);
    let load = |place: &Place| {
        // Every device has its own link, and takes its part.
        let rate = place.bytes_per_s.min(link * request.tp as f64);
        let seconds_of = |num_tokens: usize| {
            place.latency_s + num_tokens as f64 * kv_bytes_per_token as f64 / rate
        };
        // Who loads a prompt's KV still computes its last token.
        let is_faster = |num_tokens: usize| match (prefill_of(num_tokens), step_of(num_tokens)) {
            (Some(prefill), Some(step)) => seconds_of(num_tokens) + step.seconds <= prefill.seconds,
            _ => false,
        };
        TierLoad {
            place: place.name,
            seconds: seconds_of(request.context),
            break_even_tokens: first(request.context, is_faster),
        }
    };
    PLACES.iter().map(load).collect()
}

/// The least number from 1 to `last` from which on `is` holds. It does not stop to hold: loading and a step take times
/// that grow as lines and begin above prefill's, and prefill's is convex, so they cross once.
fn first(last: usize, is: impl Fn(usize) -> bool) -> Option<usize> {
    if last == 0 || !is(last) {
        return None;
    }
    let (mut no, mut yes) = (0, last);
    while yes - no > 1 {
        let middle = no + (yes - no) / 2;
        if is(middle) { yes = middle } else { no = middle }
    }
    Some(yes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_found() {
        for least in 1..=50 {
            assert_eq!(first(50, |n| n >= least), Some(least));
        }
        assert_eq!(first(50, |_| false), None);
        assert_eq!(first(0, |_| true), None);
    }
}
