//! Two ways to write the same figures: Prometheus' text format 0.0.4, and the recipe's JSON.

use prometheus::proto::MetricType::{self, COUNTER, GAUGE};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily};
use prometheus::{TEXT_FORMAT, TextEncoder};
use serde_json::{Map, Value, json};

use super::Snapshot;
use crate::counters::TierStats;
use crate::outcome::TierKind;
use crate::tier::Usage;

/// How figures are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Text for Prometheus.
    Prometheus,
    /// One JSON object; also for whoever has no wish, as the recipe's client.
    #[default]
    Json,
}

impl Format {
    /// What an `Accept` header asks for: of what can be given, what it names with the highest quality; Prometheus names
    /// text or OpenMetrics, of which text is the part that is spoken here.
    pub fn accepted(accept: &str) -> Format {
        let ranges = accept.split(',').filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next()?.to_ascii_lowercase();
            let format = match media.as_str() {
                "text/plain" | "text/*" | "application/openmetrics-text" => Format::Prometheus,
                "application/json" | "application/*" | "*/*" => Format::Json,
                _ => return None,
            };
            let quality = parts.find_map(|part| part.strip_prefix("q=")).unwrap_or("1");
            let quality = quality.parse::<f64>().ok().filter(|q| (0.0..=1.0).contains(q))?;
            (quality > 0.0).then_some((quality, media != "*/*", format))
        });
        let mut best: Option<(f64, bool, Format)> = None;
        for range in ranges {
            // The first of equals; a name before a wildcard.
            if best.is_none_or(|best| (range.0, range.1) > (best.0, best.1)) {
                best = Some(range);
            }
        }
        best.map_or(Format::Json, |(_, _, format)| format)
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => TEXT_FORMAT,
            Format::Json => "application/json",
        }
    }

    pub(super) fn write(self, snapshot: &Snapshot) -> String {
        match self {
            Format::Prometheus => prometheus(snapshot),
            Format::Json => json(snapshot),
        }
    }
}

/// The recipe's object, with its three names first.
pub fn json(snapshot: &Snapshot) -> String {
    let served = &snapshot.served;
    let tier = |(kind, usage, stats): &OfTier| {
        let figures = json!({
            "chunks": usage.num_chunks,
            "bytes": usage.bytes,
            "cap_bytes": usage.cap_bytes,
            "hits": stats.hits,
            "misses": stats.misses,
            "corrupt": stats.corrupt,
            "stored": stats.stored,
            "evicted": stats.evicted,
        });
        (kind.name().to_owned(), figures)
    };
    let page = json!({
        "cache_hit_rate": served.hit_rate(),
        "bytes_saved": served.bytes_saved,
        "compute_time_saved_sec": served.compute_time_saved.as_secs_f64(),
        "requests": served.requests,
        "hits": served.hits,
        "tokens": served.tokens,
        "cached_tokens": served.cached_tokens,
        "tiers": snapshot.tiers.iter().map(tier).collect::<Map<String, Value>>(),
    });
    format!("{page}\n")
}

/// Prometheus' text format.
pub fn prometheus(snapshot: &Snapshot) -> String {
    let families = Vec::from_iter(requests(snapshot).into_iter().chain(tiers(&snapshot.tiers)));
    let encoded = TextEncoder::new().encode_to_string(&families);
    encoded.expect("each family has a name and a figure")
}

fn requests(snapshot: &Snapshot) -> Vec<MetricFamily> {
    let served = &snapshot.served;
    let misses = served.requests.saturating_sub(served.hits);
    let saved_s = served.compute_time_saved.as_secs_f64();
    let share = "Share of prompt tokens whose KV came from the store.";
    let mut families = vec![
        family(GAUGE, "cache_hit_rate", share, [(None, served.hit_rate())]),
        one(
            "bytes_saved",
            "Bytes of KV that were loaded, not computed.",
            served.bytes_saved as f64,
        ),
        one("compute_time_saved_sec", "Seconds of computation saved.", saved_s),
        one("cache_requests_total", "Requests that asked the store.", served.requests as f64),
        one("cache_hits_total", "Requests that got something.", served.hits as f64),
        one("cache_misses_total", "Requests that got nothing.", misses as f64),
    ];
    if let Some(error) = &snapshot.prediction {
        let help = "Mean relative error of the planner's predicted times.";
        families.push(family(GAUGE, "planner_prediction_error", help, [(None, error.mean)]));
    }
    families
}

type OfTier = (TierKind, Usage, TierStats);

fn tiers(of_tiers: &[OfTier]) -> Vec<MetricFamily> {
    type Of = fn(&OfTier) -> f64;
    let rows: [(MetricType, &str, &str, Of); 16] = [
        (GAUGE, "tier_chunks", "Chunks that the tier knows of.", |t| t.1.num_chunks as f64),
        (GAUGE, "tier_bytes", "Bytes of them.", |t| t.1.bytes as f64),
        (GAUGE, "tier_cap_bytes", "The tier's cap.", |t| t.1.cap_bytes as f64),
        (COUNTER, "tier_hits_total", "Reads that gave verified bytes.", |t| t.2.hits as f64),
        (COUNTER, "tier_misses_total", "Reads of what is not there.", |t| t.2.misses as f64),
        (COUNTER, "tier_expired_total", "Reads of what is too old.", |t| t.2.expired as f64),
        (COUNTER, "tier_io_misses_total", "Reads that storage failed.", |t| t.2.io_misses as f64),
        (COUNTER, "tier_corrupt_total", "Reads that found other bytes.", |t| t.2.corrupt as f64),
        (COUNTER, "tier_quarantined_total", "Records put aside.", |t| t.2.quarantined as f64),
        (COUNTER, "tier_read_bytes_total", "Bytes of hits.", |t| t.2.read_bytes as f64),
        (COUNTER, "tier_read_seconds_total", "Time of hits.", |t| t.2.read_us as f64 / 1e6),
        (COUNTER, "tier_stored_total", "Chunks written.", |t| t.2.stored as f64),
        (COUNTER, "tier_failed_total", "Writes that storage failed.", |t| t.2.failed as f64),
        (COUNTER, "tier_written_bytes_total", "Bytes written.", |t| t.2.written_bytes as f64),
        (COUNTER, "tier_written_seconds_total", "Time of writes.", |t| t.2.write_us as f64 / 1e6),
        (COUNTER, "tier_evicted_total", "Chunks that made room.", |t| t.2.evicted as f64),
    ];
    // A family without a figure is none.
    let rows = rows.into_iter().filter(|_| !of_tiers.is_empty());
    rows.map(|(kind, name, help, of)| {
        family(kind, name, help, of_tiers.iter().map(|tier| (Some(tier.0), of(tier))))
    })
    .collect()
}

fn one(name: &str, help: &str, count: f64) -> MetricFamily {
    family(COUNTER, name, help, [(None, count)])
}

fn family(
    kind: MetricType,
    name: &str,
    help: &str,
    figures: impl IntoIterator<Item = (Option<TierKind>, f64)>,
) -> MetricFamily {
    let metric = |(tier, figure): (Option<TierKind>, f64)| {
        let mut metric = Metric::default();
        if kind == GAUGE {
            let mut gauge = Gauge::default();
            gauge.set_value(figure);
            metric.set_gauge(gauge);
        } else {
            let mut counter = Counter::default();
            counter.set_value(figure);
            metric.set_counter(counter);
        }
        let label = tier.map(|tier| {
            let mut label = LabelPair::default();
            label.set_name("tier".to_owned());
            label.set_value(tier.name().to_owned());
            label
        });
        metric.set_label(label.into_iter().collect());
        metric
    };
    let mut family = MetricFamily::default();
    family.set_name(format!("kvasir_{name}"));
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(figures.into_iter().map(metric).collect());
    family
}
