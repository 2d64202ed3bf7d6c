//! One request's tokens on their way through the model, and the kv_blocks they occupy.

use alloc::vec::Vec;
use core::ops::Range;

use crate::block_pool::{BlockId, BlockPool, HostBlockId};
use crate::capacity::blocks_for_tokens;
use crate::prefix_cache::{BlockHash, Lookup};
use crate::request::{Request, SeqId, Stop, StopRules, TokenId};
use crate::scheduler::SchedulerConfig;
use crate::speculative::{NgramConfig, propose};

/// Who is served first: the lower key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeqKey {
    /// The request's.
    pub priority: i32,
    /// Among equals, the order of arrival.
    pub seq_id: SeqId,
}

/// Prompt and output tokens, how many of them have their KV computed, and where that KV is.
///
/// Between steps, `num_computed_tokens < num_tokens` always: at least the newest token's KV is
/// missing, and computing it is what gives the next token.
#[derive(Clone, Debug)]
pub struct Sequence {
    key: SeqKey,
    token_ids: Vec<TokenId>,
    num_prompt_tokens: usize,
    /// The most tokens it can come to have.
    max_num_tokens: usize,
    block_size: usize,
    num_computed_tokens: usize,
    max_num_computed_tokens: usize,
    block_table: Vec<BlockId>,
    /// Hash of each full block of `token_ids`; none without a prefix cache.
    block_hashes: Vec<BlockHash>,
    /// What the first block's hash continues; `None` without a prefix cache.
    hash_root: Option<BlockHash>,
    skip_reading_prefix_cache: bool,
    /// Leading blocks of the table that are, or could not be, published.
    num_published_blocks: usize,
    /// Where its KV is while it is swapped out, and until the step that brings it back is executed.
    pub(crate) host_blocks: Vec<HostBlockId>,
    /// Tokens whose KV is in `host_blocks`; 0 unless it is swapped out.
    num_swapped_tokens: usize,
    /// Tokens whose KV can be had from outside; empty unless it waits.
    offered_tokens: Range<usize>,
    ahead: Option<Ahead>,
    draft_token_ids: Vec<TokenId>,
    stop_rules: StopRules,
    stop: Option<Stop>,
    stats: SeqStats,
}

/// KV of a sequence that comes from outside, until the computed tokens reach it: nobody reads or finds it
/// before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// Positions of the tokens; the first is that of a kv_block.
    pub tokens: Range<usize>,
    /// All of them are there. Otherwise somebody is writing to their kv_blocks.
    pub is_loaded: bool,
}

/// What happened to a sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeqStats {
    /// Steps that computed part of the prompt, repeated work after a preemption included.
    pub num_prefill_chunks: u32,
    /// Times it lost its kv_blocks.
    pub num_preemptions: u32,
    /// Those of them that saved its KV in host memory.
    pub num_swaps: u32,
    /// Most kv_blocks held at once.
    pub peak_num_blocks: u32,
    /// Tokens of the prompt whose KV it found in the prefix cache when it first ran.
    pub num_cached_tokens: usize,
    /// Tokens found in the prefix cache in all, also after preemptions.
    pub num_hit_tokens: usize,
    /// Tokens whose KV was loaded from outside in all, also after preemptions.
    pub num_loaded_tokens: usize,
    /// Tokens guessed for it.
    pub num_draft_tokens: usize,
    /// Those that were right.
    pub num_accepted_tokens: usize,
}

impl Sequence {
    pub(crate) fn new(seq_id: SeqId, request: Request, config: &SchedulerConfig) -> Self {
        let num_prompt_tokens = request.prompt_token_ids.len();
        let max_num_tokens = num_prompt_tokens.saturating_add(request.stop_rules.max_tokens);
        let (salt, adapter) = (request.cache_salt.as_deref(), request.adapter.as_deref());
        let hash_root = config
            .enable_prefix_caching
            .then(|| BlockHash::root(&config.kv_identity, salt, adapter));
        let mut sequence = Sequence {
            key: SeqKey { priority: request.priority, seq_id },
            num_prompt_tokens,
            max_num_tokens: max_num_tokens.min(config.max_model_len),
            block_size: config.block_size,
            token_ids: request.prompt_token_ids,
            num_computed_tokens: 0,
            max_num_computed_tokens: 0,
            block_table: Vec::new(),
            block_hashes: Vec::new(),
            hash_root,
            skip_reading_prefix_cache: request.skip_reading_prefix_cache,
            num_published_blocks: 0,
            host_blocks: Vec::new(),
            num_swapped_tokens: 0,
            offered_tokens: 0..0,
            ahead: None,
            draft_token_ids: Vec::new(),
            stop_rules: request.stop_rules,
            stop: None,
            stats: SeqStats::default(),
        };
        sequence.hash_full_blocks();
        sequence
    }

    /// Who it is.
    pub fn seq_id(&self) -> SeqId {
        self.key.seq_id
    }

    /// Its place among all.
    pub fn key(&self) -> SeqKey {
        self.key
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

    /// Tokens guessed to come next, which the step in progress tries.
    pub fn draft_token_ids(&self) -> &[TokenId] {
        &self.draft_token_ids
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

    /// The most tokens it can come to have.
    pub fn max_num_tokens(&self) -> usize {
        self.max_num_tokens
    }

    /// Leading tokens whose KV is in the cache, computed or loaded; 0 after a preemption.
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

    /// The hash of each full block of its tokens; empty without a prefix cache.
    pub fn block_hashes(&self) -> &[BlockHash] {
        &self.block_hashes
    }

    /// Whether it may use KV that others computed.
    pub fn reads_prefix_cache(&self) -> bool {
        self.hash_root.is_some() && !self.skip_reading_prefix_cache
    }

    /// The host blocks that have its KV; empty unless it is swapped out or has just come back.
    pub fn host_blocks(&self) -> &[HostBlockId] {
        &self.host_blocks
    }

    /// Leading tokens whose KV waits in host memory; 0 unless it is swapped out.
    pub fn num_swapped_tokens(&self) -> usize {
        self.num_swapped_tokens
    }

    /// Tokens whose KV can be had from outside; empty unless it waits.
    pub fn offered_tokens(&self) -> Range<usize> {
        self.offered_tokens.clone()
    }

    /// What comes from outside and is not reached yet.
    pub fn ahead(&self) -> Option<&Ahead> {
        self.ahead.as_ref()
    }

    /// Whether somebody is writing to its kv_blocks.
    pub fn is_loading(&self) -> bool {
        self.ahead.as_ref().is_some_and(|ahead| !ahead.is_loaded)
    }

    /// The kv_blocks that somebody is writing to.
    pub(crate) fn loading_blocks(&self) -> &[BlockId] {
        match &self.ahead {
            Some(ahead) if !ahead.is_loaded => {
                &self.block_table[ahead.tokens.start / self.block_size..]
            }
            _ => &[],
        }
    }

    /// There is nothing to compute before its load ends.
    pub(crate) fn awaits_load(&self) -> bool {
        self.is_loading() && self.num_next_rows() == 0
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

    /// Tokens to compute before its end, or before what comes from outside.
    pub(crate) fn num_next_rows(&self) -> usize {
        let end = self.ahead.as_ref().map_or(self.token_ids.len(), |ahead| ahead.tokens.start);
        end - self.num_computed_tokens
    }

    /// Leading tokens that it has kv_blocks for between steps.
    fn num_held_tokens(&self) -> usize {
        let end = self.ahead.as_ref().map_or(0, |ahead| ahead.tokens.end);
        self.num_computed_tokens.max(end)
    }

    /// One row is all that it lacks for its next token.
    pub(crate) fn is_one_row(&self) -> bool {
        self.num_uncomputed_tokens() == 1
    }

    /// The most kv_blocks it can come to hold.
    pub(crate) fn max_num_blocks(&self) -> usize {
        blocks_for_tokens(self.max_num_tokens, self.block_size)
    }

    /// Blocks that it could find in the prefix cache: at least the last token is computed.
    pub(crate) fn max_num_hits(&self) -> usize {
        if self.reads_prefix_cache() { (self.token_ids.len() - 1) / self.block_size } else { 0 }
    }

    /// Makes room for all it can become, so that its steps allocate no memory.
    pub(crate) fn reserve(&mut self, config: &SchedulerConfig) {
        fn reserve<T>(vec: &mut Vec<T>, len: usize) {
            vec.reserve(len.saturating_sub(vec.len()));
        }
        let max_num_blocks = self.max_num_blocks();
        reserve(&mut self.token_ids, self.max_num_tokens);
        reserve(&mut self.block_table, max_num_blocks);
        if self.hash_root.is_some() {
            reserve(&mut self.block_hashes, max_num_blocks);
        }
        reserve(&mut self.host_blocks, max_num_blocks.min(config.num_host_blocks));
        let num_drafts = config.speculative.map_or(0, |ngram| ngram.num_speculative_tokens);
        reserve(&mut self.draft_token_ids, num_drafts);
    }

    fn block_tokens(&self, block_idx: usize) -> &[TokenId] {
        let start = block_idx * self.block_size;
        &self.token_ids[start..start + self.block_size]
    }

    fn hash_full_blocks(&mut self) {
        let Some(root) = self.hash_root else {
            return;
        };
        for block_idx in self.block_hashes.len()..self.token_ids.len() / self.block_size {
            let parent = self.block_hashes.last().unwrap_or(&root);
            let hash = parent.child(self.block_tokens(block_idx));
            self.block_hashes.push(hash);
        }
    }

    /// Writes to `hits` the published blocks that hold its first tokens, as many as there are and
    /// it may use. Answers whether a block with the right hash had other tokens.
    pub(crate) fn find_hits(&self, block_pool: &BlockPool, hits: &mut Vec<BlockId>) -> bool {
        hits.clear();
        for block_idx in 0..self.max_num_hits() {
            let tokens = self.block_tokens(block_idx);
            match block_pool.lookup(&self.block_hashes[block_idx], tokens) {
                Lookup::Hit(block) => hits.push(block),
                Lookup::Miss => return false,
                Lookup::Mismatch => return true,
            }
        }
        false
    }

    /// Begins to run with the blocks `hits` and new ones, in all for `num_tokens` tokens, of which
    /// the first `num_computed_tokens` count as computed. There are enough free blocks.
    pub(crate) fn admit(
        &mut self,
        hits: &[BlockId],
        num_tokens: usize,
        num_computed_tokens: usize,
        block_pool: &mut BlockPool,
    ) {
        let num_new = blocks_for_tokens(num_tokens, self.block_size) - hits.len();
        let has_blocks = block_pool.allocate(hits, num_new, &mut self.block_table);
        debug_assert!(has_blocks, "an admitted sequence fits");
        self.num_computed_tokens = num_computed_tokens;
        self.num_published_blocks = hits.len();
        self.num_swapped_tokens = 0;
        self.offered_tokens = 0..0;
        let num_hit_tokens = hits.len() * self.block_size;
        self.stats.num_hit_tokens += num_hit_tokens;
        if self.max_num_computed_tokens == 0 && self.stats.num_preemptions == 0 {
            self.stats.num_cached_tokens = num_hit_tokens;
        }
        self.count_blocks();
    }

    /// Takes note of what can be had from outside, if it may use it.
    pub(crate) fn offer(&mut self, tokens: Range<usize>) -> bool {
        if self.skip_reading_prefix_cache {
            return false;
        }
        self.offered_tokens = tokens;
        true
    }

    /// Gets the blocks `hits` and new ones up to the end of `tokens`, which are to be loaded.
    pub(crate) fn begin_load(
        &mut self,
        hits: &[BlockId],
        tokens: Range<usize>,
        block_pool: &mut BlockPool,
    ) {
        self.admit(hits, tokens.end, hits.len() * self.block_size, block_pool);
        self.ahead = Some(Ahead { tokens, is_loaded: false });
    }

    /// Index and hash of each full block that comes from outside and is not reached yet.
    pub(crate) fn blocks_ahead(&self) -> impl Iterator<Item = (usize, &BlockHash)> {
        let tokens = self.ahead.as_ref().map_or(0..0, |ahead| ahead.tokens.clone());
        let (start, end) = (tokens.start / self.block_size, tokens.end / self.block_size);
        self.block_hashes.iter().enumerate().take(end).skip(start)
    }

    /// Of what it loads, the KV up to token `end` is there; blocks beyond it are given back. Answers how many
    /// tokens came.
    pub(crate) fn end_load(&mut self, end: usize, block_pool: &mut BlockPool) -> usize {
        let Some(ahead) = &mut self.ahead else {
            return 0;
        };
        ahead.tokens.end = end.clamp(ahead.tokens.start, ahead.tokens.end);
        ahead.is_loaded = true;
        let num_loaded = ahead.tokens.len();
        self.stats.num_loaded_tokens += num_loaded;
        self.reach_load();
        self.publish(block_pool);
        self.trim(block_pool);
        num_loaded
    }

    /// What was loaded counts as computed once all before it is.
    fn reach_load(&mut self) {
        let num_computed_tokens = self.num_computed_tokens;
        let is_reached =
            |ahead: &mut Ahead| ahead.is_loaded && ahead.tokens.start == num_computed_tokens;
        if let Some(ahead) = self.ahead.take_if(is_reached) {
            self.num_computed_tokens = ahead.tokens.end;
        }
    }

    /// Leaves the blocks that are being loaded into, if there are, to whoever writes to them.
    pub(crate) fn abandon_load(&mut self) -> Option<(Range<usize>, Vec<BlockId>)> {
        let Ahead { tokens, .. } = self.ahead.take_if(|ahead| !ahead.is_loaded)?;
        let first_block = tokens.start / self.block_size;
        Some((tokens, self.block_table.split_off(first_block)))
    }

    /// What was loaded and is not reached is given back.
    pub(crate) fn forget_ahead(&mut self, block_pool: &mut BlockPool) {
        self.ahead = None;
        self.trim(block_pool);
    }

    /// Gets the kv_blocks for its next `num_rows` rows; `false`, and nothing changed, when too few
    /// are free.
    #[must_use]
    pub(crate) fn grow(&mut self, num_rows: usize, block_pool: &mut BlockPool) -> bool {
        let needed = blocks_for_tokens(self.num_computed_tokens + num_rows, self.block_size);
        let num_new = needed.saturating_sub(self.block_table.len());
        let has_grown = block_pool.allocate(&[], num_new, &mut self.block_table);
        self.count_blocks();
        has_grown
    }

    fn count_blocks(&mut self) {
        self.stats.peak_num_blocks = self.stats.peak_num_blocks.max(self.block_table.len() as u32);
    }

    /// The rows that its blocks, and `num_free` more, have room for.
    pub(crate) fn max_num_rows(&self, num_free: usize) -> usize {
        (self.block_table.len() + num_free) * self.block_size - self.num_computed_tokens
    }

    /// Guesses at most `max_num_tokens` of the tokens that come next; answers how many.
    pub(crate) fn guess(&mut self, config: &NgramConfig, max_num_tokens: usize) -> usize {
        self.draft_token_ids.clear();
        self.draft_token_ids.extend_from_slice(propose(&self.token_ids, config, max_num_tokens));
        self.draft_token_ids.len()
    }

    /// Gives back what a step that was not committed, or guesses that were wrong, had it take.
    pub(crate) fn trim(&mut self, block_pool: &mut BlockPool) {
        self.draft_token_ids.clear();
        let num_kept = blocks_for_tokens(self.num_held_tokens(), self.block_size);
        block_pool.truncate(&mut self.block_table, num_kept);
    }

    /// Gives its kv_blocks back and forgets what was in them.
    pub(crate) fn release(&mut self, block_pool: &mut BlockPool) {
        self.draft_token_ids.clear();
        block_pool.truncate(&mut self.block_table, 0);
        self.ahead = None;
        self.num_computed_tokens = 0;
        self.num_published_blocks = 0;
    }

    /// [`Sequence::release`], to be computed again later or, if its KV was copied to host blocks,
    /// brought back.
    pub(crate) fn preempt(&mut self, block_pool: &mut BlockPool) {
        self.stats.num_preemptions += 1;
        if !self.host_blocks.is_empty() {
            self.stats.num_swaps += 1;
            self.num_swapped_tokens = self.num_computed_tokens;
        }
        self.release(block_pool);
    }

    /// Its KV in host memory is lost.
    pub(crate) fn forget_swapped(&mut self) {
        self.num_swapped_tokens = 0;
    }

    /// The KV of the next `num_rows` tokens has been computed.
    pub(crate) fn advance(&mut self, num_rows: usize) {
        if self.num_computed_tokens < self.num_prompt_tokens {
            self.stats.num_prefill_chunks += 1;
        }
        self.num_computed_tokens += num_rows;
        self.max_num_computed_tokens = self.max_num_computed_tokens.max(self.num_computed_tokens);
        self.reach_load();
    }

    /// Appends a generated token; says whether it was the last.
    pub(crate) fn append(&mut self, token_id: TokenId) -> Option<Stop> {
        self.token_ids.push(token_id);
        self.hash_full_blocks();
        let is_full = self.token_ids.len() >= self.max_num_tokens;
        self.stop = self.stop_rules.check(token_id, self.num_output_tokens(), is_full);
        self.stop
    }

    /// Counts guesses.
    pub(crate) fn count_drafts(&mut self, num_drafts: usize, num_accepted: usize) {
        self.stats.num_draft_tokens += num_drafts;
        self.stats.num_accepted_tokens += num_accepted;
    }

    /// Makes its computed full blocks findable for others.
    pub(crate) fn publish(&mut self, block_pool: &mut BlockPool) {
        for block_idx in self.unpublished_blocks() {
            let (block, hash) = (self.block_table[block_idx], self.block_hashes[block_idx]);
            block_pool.publish(block, hash, self.block_tokens(block_idx));
            self.num_published_blocks = block_idx + 1;
        }
    }

    fn unpublished_blocks(&self) -> Range<usize> {
        let num_full = self.num_computed_tokens / self.block_size;
        self.num_published_blocks..num_full.min(self.block_hashes.len())
    }

    /// Why its last token ended it, if it did.
    pub(crate) fn stop(&self) -> Option<Stop> {
        self.stop
    }
}
