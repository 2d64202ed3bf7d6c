//! The part of a model that one of several devices has.

use engine_core::config::ModelConfig;

/// Numbers of devices that are tried, from the fewest on.
pub(super) const COUNTS: [usize; 6] = [1, 2, 4, 8, 16, 32];

/// A model that cannot be shared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} of {count} cannot be shared among {tp} devices; take a --tp that divides it, over a preset's too"
)]
pub struct ShardError {
    /// What is shared.
    pub what: &'static str,
    /// How many there are.
    pub count: usize,
    /// Devices.
    pub tp: usize,
}

/// The widest of `tp` devices' parts. Query heads and intermediate rows are dealt out; of KV heads each device has
/// at least one, which several then share; the vocabulary's rows are dealt out with the last device short of some.
pub(super) fn shard(config: &ModelConfig, tp: usize) -> Result<ModelConfig, ShardError> {
    let part = |what, count: usize| match count.checked_rem(tp) {
        Some(0) => Ok(count / tp),
        _ => Err(ShardError { what, count, tp }),
    };
    let num_kv_heads = match config.num_kv_heads {
        count if tp <= count => part("a number of KV heads", count)?,
        count if tp.is_multiple_of(count) => 1,
        count => return Err(ShardError { what: "a number of KV heads", count, tp }),
    };
    Ok(ModelConfig {
        num_qo_heads: part("a number of query heads", config.num_qo_heads)?,
        intermediate_size: part("an intermediate size", config.intermediate_size)?,
        vocab_size: config.vocab_size.div_ceil(tp),
        num_kv_heads,
        ..config.clone()
    })
}
