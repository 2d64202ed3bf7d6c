//! What the store did for requests, as its metrics tell it.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kv_store::chunk::ChunkShape;
use kv_store::metrics::{Gauge, MetricsServer, Served, Service, Snapshot};
use kv_store::outcome::TierKind;
use kv_store::planner::{Load, Plan, Planner, PredictionError, StoredChunk};
use kv_store::store::{Hits, Store};

use super::SeqState;
use crate::error::LlmError;

/// Fewer rows than these are not what a prompt costs: a step has costs of its own.
const MIN_MEASURED_ROWS: usize = 16;

/// What is measured, and whom it is shown to.
pub(super) struct Report {
    served: Served,
    planner: Planner,
    /// The planner's, for the page.
    prediction: Arc<Mutex<PredictionError>>,
    /// Until the engine ends.
    _server: Option<MetricsServer>,
}

impl Report {
    /// Serves metrics of `store` on a port, if there is one.
    pub(super) fn start(store: &Arc<Store>, port: Option<u16>) -> Result<Self, LlmError> {
        let served = Served::default();
        let prediction = Arc::<Mutex<PredictionError>>::default();
        let gauge: Gauge = {
            let prediction = Arc::clone(&prediction);
            let (store, served) = (Arc::clone(store), served.clone());
            Arc::new(move || Snapshot {
                served: served.sums(),
                tiers: store.stats(),
                prediction: Some(*prediction.lock().unwrap_or_else(PoisonError::into_inner)),
            })
        };
        let server = port.map(|port| MetricsServer::start(port, gauge)).transpose()?;
        Ok(Report { served, planner: Planner::new(), prediction, _server: server })
    }

    /// A step computed nothing but these tokens of one prompt.
    pub(super) fn measured_prefill(&mut self, tokens: Range<usize>, time: Duration) {
        if tokens.len() >= MIN_MEASURED_ROWS {
            self.planner.measured_prefill(tokens, time.as_secs_f64());
        }
    }

    /// A tier gave so many bytes.
    pub(super) fn measured_load(&mut self, tier: TierKind, num_bytes: u64, time: Duration) {
        self.planner.measured_load(tier, num_bytes, time.as_secs_f64());
    }

    /// The same, if nobody looked when the last of them came: it was not later than that.
    pub(super) fn measured_load_at_most(&mut self, tier: TierKind, num_bytes: u64, most: Duration) {
        let expected_s = self
            .planner
            .tier_speed(tier)
            .map(|(bytes_per_s, per_call_s)| num_bytes as f64 / bytes_per_s + per_call_s);
        if expected_s.is_none_or(|expected_s| most.as_secs_f64() < expected_s) {
            self.measured_load(tier, num_bytes, most);
        }
    }

    /// A prompt was there so long after its load began.
    pub(super) fn measured_plan(&mut self, plan: &Plan, time: Duration) {
        self.planner.measured_plan(plan, time.as_secs_f64());
        let mut prediction = self.prediction.lock().unwrap_or_else(PoisonError::into_inner);
        *prediction = self.planner.prediction_error();
    }

    /// What of that which the store has for a prompt is loaded, while so many bytes are being loaded for others.
    pub(super) fn plan(
        &self,
        num_tokens: usize,
        hits: &Hits,
        shape: &ChunkShape,
        queued: impl Iterator<Item = (TierKind, u64)>,
        may_split: bool,
    ) -> Plan {
        let stored: Vec<StoredChunk> = hits
            .chunks
            .iter()
            .map(|hit| StoredChunk {
                tokens: hit.tokens.clone(),
                bytes: shape.chunk_bytes(hit.tokens.len()) as u64,
                tier: hit.tier,
            })
            .collect();
        let mut load = Load::default();
        queued.for_each(|(tier, bytes)| *load.queued_bytes.entry(tier).or_default() += bytes);
        let first_chunks = self.planner.plan_prefix(num_tokens, &stored, &load);
        let last_chunks = self.planner.plan(num_tokens, &stored, &load);
        match (first_chunks.predicted_s, last_chunks.predicted_s) {
            (Some(first_s), Some(last_s)) if may_split && last_s < first_s => last_chunks,
            _ => first_chunks,
        }
    }

    /// What a load of these tokens saved for which their prompt waited so long.
    pub(super) fn saved(&self, tokens: Range<usize>, waited: Duration) -> Duration {
        let computed_s = self.planner.prefill_s(tokens).unwrap_or_default();
        Duration::try_from_secs_f64(computed_s).unwrap_or_default().saturating_sub(waited)
    }

    /// A request has ended.
    pub(super) fn count(&self, num_prompt_tokens: usize, token_bytes: u64, state: &SeqState) {
        let num_cached_tokens = state.loaded.total() as u64;
        self.served.count(&Service {
            num_tokens: num_prompt_tokens as u64,
            num_cached_tokens,
            bytes: num_cached_tokens * token_bytes,
            compute_time_saved: state.saved,
        });
    }
}
