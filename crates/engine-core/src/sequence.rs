//! One request's tokens on their way through the model, and the kv_blocks they occupy.

use alloc::vec::Vec;

use crate::block_pool::{BlockId, BlockPool};
use crate::capacity::blocks_for_tokens;
use crate::request::{Request, SeqId, Stop, StopRules, TokenId};

/// Prompt and output tokens, how many of them have their KV computed, and where that KV is.
///
/// Between steps, `num_computed_tokens < num_tokens` always: at least the newest token's KV is
/// missing, and computing it is what gives the next token.
#[derive(Clone, Debug)]
pub struct Sequence {
    seq_id: SeqId,
    token_ids: Vec<TokenId>,
    num_prompt_tokens: usize,
    num_computed_tokens: usize,
    max_num_computed_tokens: usize,
    block_table: Vec<BlockId>,
    stop_rules: StopRules,
    stop: Option<Stop>,
    stats: SeqStats,
}

/// What happened to a sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeqStats {
    /// Steps that computed part of the prompt, repeated work after a preemption included.
    pub num_prefill_chunks: u32,
    /// Times it lost its kv_blocks and was computed again.
    pub num_preemptions: u32,
    /// Most kv_blocks held at once.
    pub peak_num_blocks: u32,
}

impl Sequence {
    pub(crate) fn new(seq_id: SeqId, request: Request) -> Self {
        Sequence {
            seq_id,
            num_prompt_tokens: request.prompt_token_ids.len(),
            token_ids: request.prompt_token_ids,
            num_computed_tokens: 0,
            max_num_computed_tokens: 0,
            block_table: Vec::new(),
            stop_rules: request.stop_rules,
            stop: None,
            stats: SeqStats::default(),
        }
    }

    /// Who it is.
    pub fn seq_id(&self) -> SeqId {
        self.seq_id
    }

    /// Prompt and output, in order.
    pub fn token_ids(&self) -> &[TokenId] {
        &self.token_ids
    }

    /// The prompt.
    pub fn prompt_token_ids(&self) -> &[TokenId] {
        &self.token_ids[..self.num_prompt_tokens]
    }

    /// What was generated so far, the token that stopped it included.
    pub fn output_token_ids(&self) -> &[TokenId] {
        &self.token_ids[self.num_prompt_tokens..]
    }

    /// Tokens of prompt and output.
    pub fn num_tokens(&self) -> usize {
        self.token_ids.len()
    }

    /// Tokens of the prompt.
    pub fn num_prompt_tokens(&self) -> usize {
        self.num_prompt_tokens
    }

    /// Tokens of the output.
    pub fn num_output_tokens(&self) -> usize {
        self.token_ids.len() - self.num_prompt_tokens
    }

    /// Leading tokens whose KV is in the cache; 0 after a preemption.
    pub fn num_computed_tokens(&self) -> usize {
        self.num_computed_tokens
    }

    /// The most tokens whose KV was ever in the cache: what a preemption lost lies below it.
    pub fn max_num_computed_tokens(&self) -> usize {
        self.max_num_computed_tokens
    }

    /// Its kv_blocks in position order; empty unless it runs.
    pub fn block_table(&self) -> &[BlockId] {
        &self.block_table
    }

    /// When it ends.
    pub fn stop_rules(&self) -> &StopRules {
        &self.stop_rules
    }

    /// What happened to it.
    pub fn stats(&self) -> SeqStats {
        self.stats
    }

    /// Tokens whose KV is missing.
    pub(crate) fn num_uncomputed_tokens(&self) -> usize {
        self.token_ids.len() - self.num_computed_tokens
    }

    /// The most tokens it can come to have.
    fn max_num_tokens(&self, max_model_len: usize) -> usize {
        self.num_prompt_tokens.saturating_add(self.stop_rules.max_tokens).min(max_model_len)
    }

    /// The most kv_blocks it can come to hold.
    pub(crate) fn max_num_blocks(&self, max_model_len: usize, block_size: usize) -> usize {
        blocks_for_tokens(self.max_num_tokens(max_model_len), block_size)
    }

    /// Makes room for all it can become, so that its steps allocate no memory.
    pub(crate) fn reserve(&mut self, max_model_len: usize, block_size: usize) {
        let num_more = self.max_num_tokens(max_model_len).saturating_sub(self.token_ids.len());
        self.token_ids.reserve(num_more);
        let num_blocks = self.max_num_blocks(max_model_len, block_size);
        self.block_table.reserve(num_blocks.saturating_sub(self.block_table.len()));
    }

    /// Gets the kv_blocks for its next `num_new_tokens` tokens; `false`, and nothing changed, when
    /// too few are free.
    #[must_use]
    pub(crate) fn grow(
        &mut self,
        num_new_tokens: usize,
        block_size: usize,
        block_pool: &mut BlockPool,
    ) -> bool {
        let needed = blocks_for_tokens(self.num_computed_tokens + num_new_tokens, block_size);
        let num_missing = needed.saturating_sub(self.block_table.len());
        if !block_pool.allocate(num_missing, &mut self.block_table) {
            return false;
        }
        self.stats.peak_num_blocks = self.stats.peak_num_blocks.max(self.block_table.len() as u32);
        true
    }

    /// Gives its kv_blocks back and forgets what was in them.
    pub(crate) fn release(&mut self, block_pool: &mut BlockPool) {
        block_pool.free(&mut self.block_table);
        self.num_computed_tokens = 0;
    }

    /// [`Sequence::release`], to be computed again later.
    pub(crate) fn preempt(&mut self, block_pool: &mut BlockPool) {
        self.release(block_pool);
        self.stats.num_preemptions += 1;
    }

    /// The KV of the next `num_new_tokens` tokens has been computed.
    pub(crate) fn advance(&mut self, num_new_tokens: usize) {
        if self.num_computed_tokens < self.num_prompt_tokens {
            self.stats.num_prefill_chunks += 1;
        }
        self.num_computed_tokens += num_new_tokens;
        self.max_num_computed_tokens = self.max_num_computed_tokens.max(self.num_computed_tokens);
    }

    /// Appends a generated token; says whether it was the last.
    pub(crate) fn append(&mut self, token_id: TokenId, max_model_len: usize) -> Option<Stop> {
        self.token_ids.push(token_id);
        let num_output_tokens = self.num_output_tokens();
        let is_full = self.token_ids.len() >= max_model_len;
        self.stop = self.stop_rules.check(token_id, num_output_tokens, is_full);
        self.stop
    }

    /// Why its last token ended it, if it did.
    pub(crate) fn stop(&self) -> Option<Stop> {
        self.stop
    }
}
