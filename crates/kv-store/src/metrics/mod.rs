//! What the store did, for people and for Prometheus; with the feature `metrics` also as text, and over HTTP.

#[cfg(feature = "metrics")]
mod render;
#[cfg(feature = "metrics")]
mod serve;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

#[cfg(feature = "metrics")]
pub use render::{Format, json, prometheus};
#[cfg(feature = "metrics")]
pub use serve::{MetricsServer, ServeError};

use crate::counters::TierStats;
use crate::outcome::TierKind;
use crate::planner::PredictionError;
use crate::tier::Usage;

/// What requests got from the store; clones count together.
#[derive(Clone, Debug, Default)]
pub struct Served(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    hits: AtomicU64,
    tokens: AtomicU64,
    cached_tokens: AtomicU64,
    bytes: AtomicU64,
    saved_us: AtomicU64,
}

/// What one request got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Tokens of its prompt.
    pub num_tokens: u64,
    /// Those whose KV came from the store.
    pub num_cached_tokens: u64,
    /// Bytes of that KV.
    pub bytes: u64,
    /// What computing them would have taken, less what loading took; by the planner's curve.
    pub compute_time_saved: Duration,
}

impl Served {
    /// Counts a request.
    pub fn count(&self, service: &Service) {
        let counts = &*self.0;
        let saved_us = u64::try_from(service.compute_time_saved.as_micros()).unwrap_or(u64::MAX);
        counts.requests.fetch_add(1, Relaxed);
        counts.hits.fetch_add(u64::from(service.num_cached_tokens > 0), Relaxed);
        counts.tokens.fetch_add(service.num_tokens, Relaxed);
        counts.cached_tokens.fetch_add(service.num_cached_tokens, Relaxed);
        counts.bytes.fetch_add(service.bytes, Relaxed);
        counts.saved_us.fetch_add(saved_us, Relaxed);
    }

    /// The sums so far.
    pub fn sums(&self) -> ServedSums {
        let counts = &*self.0;
        ServedSums {
            requests: counts.requests.load(Relaxed),
            hits: counts.hits.load(Relaxed),
            tokens: counts.tokens.load(Relaxed),
            cached_tokens: counts.cached_tokens.load(Relaxed),
            bytes_saved: counts.bytes.load(Relaxed),
            compute_time_saved: Duration::from_micros(counts.saved_us.load(Relaxed)),
        }
    }
}

/// Sums of [`Service`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServedSums {
    /// Requests.
    pub requests: u64,
    /// Those that got something.
    pub hits: u64,
    /// Tokens of their prompts.
    pub tokens: u64,
    /// Those that came from the store.
    pub cached_tokens: u64,
    /// Bytes of KV that were not computed.
    pub bytes_saved: u64,
    /// Time that was not spent on them.
    pub compute_time_saved: Duration,
}

impl ServedSums {
    /// Tokens from the store among all tokens of prompts; 0 before the first.
    pub fn hit_rate(&self) -> f64 {
        if self.tokens == 0 { 0.0 } else { self.cached_tokens as f64 / self.tokens as f64 }
    }
}

/// Everything at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// What requests got.
    pub served: ServedSums,
    /// Each tier, from the nearest on.
    pub tiers: Vec<(TierKind, Usage, TierStats)>,
    /// How far the planner was off, where there is one.
    pub prediction: Option<PredictionError>,
}

/// Where a server takes what it tells.
pub type Gauge = Arc<dyn Fn() -> Snapshot + Send + Sync>;
