//! `/kvasir/state`: what the engine does at one moment, for the page and for operators.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use engine::{BlockMap, BlockState, EngineStatus, Llm, TierReport};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::error::ApiError;

/// Most cells of the map of kv_blocks: what a screen has room for, and at most 4 KiB of an answer.
const MAX_NUM_CELLS: usize = 4096;

/// One moment between two steps, so that all of it fits together.
///
/// Costs the engine's thread a look at each kv_block, which is less than a millisecond for a pool of 100 000, and the
/// asker the rest of the step in progress.
pub(crate) async fn answer(State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    let mut state = app.llm.with(|llm| of_engine(llm)).await?;
    state["model"] = app.model_name().into();
    state["version"] = env!("CARGO_PKG_VERSION").into();
    Ok(Json(state))
}

fn of_engine(llm: &Llm) -> Value {
    let (status, config) = (llm.status(), llm.scheduler_config());
    let mut blocks = block_json(&llm.block_map(MAX_NUM_CELLS));
    blocks["total"] = status.num_blocks.into();
    blocks["block_size"] = config.block_size.into();
    blocks["block_bytes"] = (config.block_size as u64 * llm.kv_bytes_per_token()).into();
    let tiers: Vec<Value> = llm.kv_store_stats().iter().map(tier_json).collect();
    json!({
        "device": llm.device_name(),
        "max_model_len": config.max_model_len,
        "scheduler": scheduler_json(&status),
        "kv_blocks": blocks,
        "prompt_tokens": prompt_json(llm, &status),
        "kv_store": if status.has_kv_store { Value::from(tiers) } else { Value::Null },
    })
}

fn scheduler_json(status: &EngineStatus) -> Value {
    let stats = &status.stats;
    json!({
        "running": status.num_running,
        "waiting": status.num_waiting,
        "loading": status.num_loading,
        "steps": stats.num_steps,
        "scheduled_tokens": stats.num_scheduled_tokens,
        "preemptions": stats.num_preemptions,
        "last_step_s": status.last_step_time.as_secs_f64(),
        "total_step_s": status.total_step_time.as_secs_f64(),
    })
}

/// Each state's blocks, and the map with the state's first letter for each cell.
fn block_json(map: &BlockMap) -> Value {
    let counts =
        BlockState::ALL.map(|state| (name(state).to_owned(), map.num_blocks(state).into()));
    let cells: String = map.cells.iter().filter_map(|&state| name(state).chars().next()).collect();
    let mut blocks = Map::from_iter(counts);
    blocks.insert("blocks_per_cell".to_owned(), map.blocks_per_cell.into());
    blocks.insert("map".to_owned(), cells.into());
    Value::Object(blocks)
}

/// Each begins with another letter.
fn name(state: BlockState) -> &'static str {
    match state {
        BlockState::Free => "free",
        BlockState::Cached => "cached",
        BlockState::Active => "active",
        BlockState::Shared => "shared",
        BlockState::Pinned => "pinned",
    }
}

/// Where the KV of prompts came from, in tokens since the start.
fn prompt_json(llm: &Llm, status: &EngineStatus) -> Value {
    let loaded = llm.kv_tier_stats().unwrap_or_default().loaded_tokens;
    json!({
        "queried": status.stats.num_prefix_query_tokens,
        "device": status.stats.num_prefix_hit_tokens,
        "host": loaded.host,
        "disk": loaded.disk,
        "object": loaded.object,
    })
}

fn tier_json(tier: &TierReport) -> Value {
    let TierReport { kind, usage, stats } = tier;
    json!({
        "tier": kind.name(),
        "chunks": usage.num_chunks,
        "bytes": usage.bytes,
        "cap_bytes": usage.cap_bytes,
        "hits": stats.hits,
        "misses": stats.misses + stats.expired + stats.io_misses + stats.corrupt,
        "stored": stats.stored,
        "evicted": stats.evicted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_tell_states_apart() {
        let mut letters = BlockState::ALL.map(|state| name(state).chars().next());
        letters.sort_unstable();
        assert!(letters.windows(2).all(|pair| pair[0] != pair[1]), "{letters:?}");
    }
}
