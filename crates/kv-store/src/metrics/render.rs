//! Two ways to write the same figures: Prometheus' text format 0.0.4, and the recipe's JSON.

use std::fmt::Write as _;

use super::Snapshot;

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
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
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
    let mut text = format!(
        "{{\"cache_hit_rate\":{},\"bytes_saved\":{},\"compute_time_saved_sec\":{},\"requests\":{},\"hits\":{},\
         \"tokens\":{},\"cached_tokens\":{},\"tiers\":{{",
        served.hit_rate(),
        served.bytes_saved,
        served.compute_time_saved.as_secs_f64(),
        served.requests,
        served.hits,
        served.tokens,
        served.cached_tokens,
    );
    for (i, (kind, usage, stats)) in snapshot.tiers.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        // Names and numbers: there is nothing to escape, and writing to a string cannot fail.
        let _ = write!(
            text,
            "{comma}\"{}\":{{\"chunks\":{},\"bytes\":{},\"cap_bytes\":{},\"hits\":{},\"misses\":{},\"corrupt\":{},\
             \"stored\":{},\"evicted\":{}}}",
            kind.name(),
            usage.num_chunks,
            usage.bytes,
            usage.cap_bytes,
            stats.hits,
            stats.misses,
            stats.corrupt,
            stats.stored,
            stats.evicted,
        );
    }
    text.push_str("}}\n");
    text
}

/// Prometheus' text format.
pub fn prometheus(snapshot: &Snapshot) -> String {
    let mut page = Page(String::new());
    let served = &snapshot.served;
    page.one(
        "cache_hit_rate",
        "gauge",
        "Share of prompt tokens whose KV came from the store.",
        served.hit_rate(),
    );
    page.one(
        "bytes_saved",
        "counter",
        "Bytes of KV that were loaded, not computed.",
        served.bytes_saved as f64,
    );
    let saved_s = served.compute_time_saved.as_secs_f64();
    page.one("compute_time_saved_sec", "counter", "Seconds of computation saved.", saved_s);
    page.one(
        "cache_requests_total",
        "counter",
        "Requests that asked the store.",
        served.requests as f64,
    );
    page.one("cache_hits_total", "counter", "Requests that got something.", served.hits as f64);
    page.one(
        "cache_misses_total",
        "counter",
        "Requests that got nothing.",
        (served.requests - served.hits.min(served.requests)) as f64,
    );
    if let Some(error) = &snapshot.prediction {
        page.one(
            "planner_prediction_error",
            "gauge",
            "Mean relative error of the planner's predicted times.",
            error.mean,
        );
    }
    tiers(&mut page, snapshot);
    page.0
}

fn tiers(page: &mut Page, snapshot: &Snapshot) {
    type Of =
        fn(&(crate::outcome::TierKind, crate::tier::Usage, crate::counters::TierStats)) -> f64;
    let families: [(&str, &str, &str, Of); 14] = [
        ("tier_chunks", "gauge", "Chunks that the tier knows of.", |t| t.1.num_chunks as f64),
        ("tier_bytes", "gauge", "Bytes of them.", |t| t.1.bytes as f64),
        ("tier_cap_bytes", "gauge", "The tier's cap.", |t| t.1.cap_bytes as f64),
        ("tier_hits_total", "counter", "Reads that gave verified bytes.", |t| t.2.hits as f64),
        ("tier_misses_total", "counter", "Reads of what is not there.", |t| t.2.misses as f64),
        ("tier_expired_total", "counter", "Reads of what is too old.", |t| t.2.expired as f64),
        ("tier_io_misses_total", "counter", "Reads that storage failed.", |t| t.2.io_misses as f64),
        ("tier_corrupt_total", "counter", "Reads that found other bytes.", |t| t.2.corrupt as f64),
        ("tier_quarantined_total", "counter", "Records put aside.", |t| t.2.quarantined as f64),
        ("tier_read_bytes_total", "counter", "Bytes of hits.", |t| t.2.read_bytes as f64),
        ("tier_read_seconds_total", "counter", "Time of hits.", |t| t.2.read_us as f64 / 1e6),
        ("tier_stored_total", "counter", "Chunks written.", |t| t.2.stored as f64),
        ("tier_written_bytes_total", "counter", "Bytes written.", |t| t.2.written_bytes as f64),
        ("tier_evicted_total", "counter", "Chunks that made room.", |t| t.2.evicted as f64),
    ];
    for (name, kind, help, of) in families {
        page.head(name, kind, help);
        for tier in &snapshot.tiers {
            let _ = writeln!(page.0, "kvasir_{name}{{tier=\"{}\"}} {}", tier.0.name(), of(tier));
        }
    }
}

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP kvasir_{name} {help}\n# TYPE kvasir_{name} {kind}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.head(name, kind, help);
        let _ = writeln!(self.0, "kvasir_{name} {value}");
    }
}
