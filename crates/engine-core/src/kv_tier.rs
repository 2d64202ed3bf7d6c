//! KV that somebody keeps outside the device: the words in which the scheduler and whoever drives it
//! speak of it.
//!
//! 1. While a request waits, the driver says which tokens can be had from outside
//!    ([`Scheduler::offer`](crate::scheduler::Scheduler::offer)): the first ones, or some that others come
//!    before.
//! 2. When its turn comes and that is more than the prefix cache has, `schedule` gives it kv_blocks and
//!    lists a [`KvLoad`] ([`Scheduler::loads`](crate::scheduler::Scheduler::loads)). What comes before the
//!    load is computed meanwhile, for it needs nothing of it; behind that the sequence takes no rows, and
//!    others run.
//! 3. The driver writes the KV into those kv_blocks, after the step's copies, and reports once how many
//!    leading tokens now are there and verified
//!    ([`Scheduler::end_load`](crate::scheduler::Scheduler::end_load)): all of them, some, or no more
//!    than before. Once all before them is computed, they count as computed too, and the rest is computed.
//!    Not before that does anybody read or find what was loaded.
//!
//! A sequence that ends while it loads leaves the kv_blocks of the load to it until that is reported:
//! somebody may still be writing to them. For the same reason it is not preempted.
//!
//! Offers and reports are inputs, so that a run that repeats them repeats its steps.

use core::ops::Range;

use crate::request::SeqId;

/// KV to be loaded into the kv_blocks of a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvLoad {
    /// Whose.
    pub seq_id: SeqId,
    /// Positions of the tokens; the first is that of a kv_block. Slots before it are shared and must not
    /// be written.
    pub tokens: Range<usize>,
}

/// Why a report was not taken; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// No load of this sequence is in progress, or it was reported before.
    #[error("sequence {} loads nothing", seq_id.0)]
    NotLoading {
        /// Whose.
        seq_id: SeqId,
    },
    /// More than was asked for.
    #[error("sequence {} loads up to token {max}, but {found} were reported", seq_id.0)]
    TooManyTokens {
        /// Whose.
        seq_id: SeqId,
        /// Leading tokens reported.
        found: usize,
        /// The most there can be.
        max: usize,
    },
}
