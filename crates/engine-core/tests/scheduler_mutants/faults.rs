//! The faults: what is right in the sources, and what is put in its place.

use mutation::Edit;

/// Which worlds a fault is looked for in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Texts {
    /// Texts repeat themselves and others.
    Usual,
    /// Each token says what is before it, and hashes may collide.
    Distinct,
}

impl Texts {
    pub fn name(self) -> &'static str {
        match self {
            Texts::Usual => "usual",
            Texts::Distinct => "distinct",
        }
    }
}

/// A fault of the scheduler.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub name: &'static str,
    pub edits: &'static [Edit<'static>],
    pub texts: Texts,
    /// The invariants of `docs/invariants.md` by which it may be seen; an empty name: by none.
    pub seen_by: &'static [&'static str],
}

pub const fn edit(file: &'static str, right: &'static str, wrong: &'static str) -> Edit<'static> {
    Edit { file, find: right, replace: wrong }
}

const POOL: &str = "block_pool/mod.rs";
const CACHE: &str = "prefix_cache.rs";
pub const SEQUENCE: &str = "sequence.rs";
pub const SCHEDULER: &str = "scheduler/mod.rs";
pub const WAITING: &str = "scheduler/waiting.rs";
pub const RUNNING: &str = "scheduler/running.rs";
pub const ROOM: &str = "scheduler/room.rs";
pub const PREEMPT: &str = "scheduler/preempt.rs";
const DRAFT: &str = "scheduler/draft.rs";
pub const COMMIT: &str = "scheduler/commit.rs";
const STEP: &str = "scheduler/step.rs";
const CONFIG: &str = "scheduler/config.rs";
const REQUEST: &str = "request.rs";
const FREE_LIST: &str = "block_pool/free_list.rs";

pub const FAULTS: &[Fault] = &[
    Fault {
        name: "a shared block is freed by its first holder",
        edits: &[edit(
            POOL,
            r"if *ref_count > 0 {
                continue;
            }",
            r"*ref_count = 0;",
        )],
        texts: Texts::Usual,
        seen_by: &["2", "panic"],
    },
    Fault {
        name: "a block is freed twice",
        edits: &[edit(
            POOL,
            r"*ref_count -= 1;",
            r"*ref_count -= 1; if *ref_count > 0 { *ref_count -= 1; }",
        )],
        texts: Texts::Usual,
        seen_by: &["2"],
    },
    Fault {
        name: "a block leaks",
        edits: &[edit(POOL, r"self.free_list.push_front(block);", r"")],
        texts: Texts::Usual,
        seen_by: &["1"],
    },
    Fault {
        name: "lost blocks go behind cached ones",
        edits: &[edit(
            POOL,
            r"self.free_list.push_front(block);",
            r"self.free_list.push_back(block);",
        )],
        texts: Texts::Usual,
        seen_by: &["16"],
    },
    Fault {
        name: "cached blocks are lent first",
        edits: &[edit(
            POOL,
            r"self.free_list.push_back(block);",
            r"self.free_list.push_front(block);",
        )],
        texts: Texts::Usual,
        seen_by: &["16"],
    },
    Fault {
        name: "the start of a table is given back before its end",
        edits: &[edit(POOL, r"block_table.pop()", r"Some(block_table.remove(num_kept))")],
        texts: Texts::Usual,
        seen_by: &["16"],
    },
    Fault {
        name: "a lent block can still be found",
        edits: &[edit(POOL, r"self.evict(block);", r"")],
        texts: Texts::Usual,
        seen_by: &["8"],
    },
    Fault {
        name: "a hit stays in the free list",
        edits: &[edit(POOL, r"self.free_list.remove(block);", r"")],
        texts: Texts::Usual,
        seen_by: &["1"],
    },
    Fault {
        name: "hits in the free list count twice",
        edits: &[edit(
            POOL,
            r"num_free_hits + num_new <= self.num_free()",
            r"num_new <= self.num_free()",
        )],
        texts: Texts::Usual,
        seen_by: &["panic"],
    },
    Fault {
        name: "a failed allocation keeps a block",
        edits: &[edit(
            POOL,
            r"if !self.can_lend(hits, num_new) {
            return false;
        }",
            r"if !self.can_lend(hits, num_new) { self.free_list.pop_front(); return false; }",
        )],
        texts: Texts::Usual,
        seen_by: &["1"],
    },
    Fault {
        name: "an allocation evicts what it has just found",
        edits: &[edit(
            POOL,
            r"if !self.can_lend(hits, num_new) {
            return false;
        }",
            r"if !self.can_lend(hits, num_new) { return false; }
        for &hit in hits { if self.ref_counts[hit.0 as usize] == 0 && num_new > 0 && self.free_list.len() > hits.len() + num_new { self.evict(hit); } }",
        )],
        texts: Texts::Usual,
        seen_by: &["16"],
    },
    Fault {
        name: "the cache is reset while sequences run",
        edits: &[edit(
            POOL,
            r"if self.num_used() > 0 {
            return false;
        }",
            r"",
        )],
        texts: Texts::Usual,
        seen_by: &["10"],
    },
    Fault {
        name: "a reset keeps what is swapped out",
        edits: &[edit(
            SCHEDULER,
            r"if has_reset {
            for seq in &mut self.waiting {
                self.host_pool.free(&mut seq.host_blocks);
                seq.forget_swapped();
            }
        }",
            r"",
        )],
        texts: Texts::Usual,
        seen_by: &["6"],
    },
    Fault {
        name: "the free list loses its way back",
        edits: &[edit(FREE_LIST, r"self.links[next as usize].prev = prev;", r"")],
        texts: Texts::Usual,
        seen_by: &["panic"],
    },
    Fault {
        name: "the salt is ignored",
        edits: &[edit(CACHE, r"[cache_salt, adapter]", r"[None, adapter]")],
        texts: Texts::Usual,
        seen_by: &["13"],
    },
    Fault {
        name: "the adapter is ignored",
        edits: &[edit(CACHE, r"[cache_salt, adapter]", r"[cache_salt, None]")],
        texts: Texts::Usual,
        seen_by: &["13"],
    },
    Fault {
        name: "a block's hash forgets what is before it",
        edits: &[edit(CACHE, r"hasher.update(&self.0);", r"")],
        texts: Texts::Usual,
        seen_by: &["13"],
    },
    Fault {
        name: "two blocks under one hash",
        edits: &[edit(
            CACHE,
            r"self.hash_of(block).is_some() || self.block(&hash).is_some()",
            r"self.hash_of(block).is_some()",
        )],
        texts: Texts::Usual,
        seen_by: &["10"],
    },
    Fault {
        name: "a withdrawn block stays in the table",
        edits: &[edit(CACHE, r"entry.remove();", r"drop(entry);")],
        texts: Texts::Usual,
        seen_by: &["10"],
    },
    Fault {
        name: "no fault: hashes collide, tokens are compared",
        edits: &[edit(
            CACHE,
            r"&bytes[..4 * token_ids.len()]",
            r"&bytes[..4 * (token_ids.len() - 1)]",
        )],
        texts: Texts::Distinct,
        seen_by: &[""],
    },
    Fault {
        name: "hashes collide, tokens are not compared",
        edits: &[
            edit(CACHE, r"&bytes[..4 * token_ids.len()]", r"&bytes[..4 * (token_ids.len() - 1)]"),
            edit(CACHE, r"self.token_ids(block) == token_ids", r"true"),
        ],
        texts: Texts::Distinct,
        seen_by: &["11"],
    },
    Fault {
        name: "a hit of all tokens",
        edits: &[edit(
            SEQUENCE,
            r"(self.token_ids.len() - 1) / self.block_size",
            r"self.token_ids.len() / self.block_size",
        )],
        texts: Texts::Usual,
        seen_by: &["25", "21"],
    },
    Fault {
        name: "a hit too few",
        edits: &[edit(
            SEQUENCE,
            r"0..self.max_num_hits()",
            r"0..self.max_num_hits().saturating_sub(1)",
        )],
        texts: Texts::Usual,
        seen_by: &["12"],
    },
    Fault {
        name: "who may not read the cache does",
        edits: &[edit(SEQUENCE, r"self.reads_prefix_cache()", r"self.hash_root.is_some()")],
        texts: Texts::Usual,
        seen_by: &["12"],
    },
    Fault {
        name: "a partial block is published",
        edits: &[edit(
            SEQUENCE,
            r"self.num_computed_tokens / self.block_size",
            r"self.num_computed_tokens.div_ceil(self.block_size)",
        )],
        texts: Texts::Usual,
        seen_by: &["11"],
    },
    Fault {
        name: "blocks are published before they are computed",
        edits: &[edit(
            RUNNING,
            r"self.plan.push(ScheduledSeq::new(seq, num_rows));",
            r"self.plan.push(ScheduledSeq::new(seq, num_rows));
            let size = self.config.block_size;
            for idx in 0..((seq.num_computed_tokens() + num_rows) / size).min(seq.block_hashes().len()) {
                let tokens = &seq.token_ids()[idx * size..(idx + 1) * size];
                self.block_pool.publish(seq.block_table()[idx], seq.block_hashes()[idx], tokens);
            }",
        )],
        texts: Texts::Usual,
        seen_by: &["14"],
    },
    Fault {
        name: "a computed count forgets the row before a right guess",
        edits: &[edit(COMMIT, r"num_accepted > 0", r"num_accepted > 1")],
        texts: Texts::Usual,
        seen_by: &["6"],
    },
    Fault {
        name: "wrong guesses count as computed",
        edits: &[edit(
            COMMIT,
            r"seq.advance(scheduled.num_scheduled_tokens - num_drafts);",
            r"seq.advance(scheduled.num_scheduled_tokens);",
        )],
        texts: Texts::Usual,
        seen_by: &["6"],
    },
    Fault {
        name: "a run goes on behind the end",
        edits: &[edit(
            COMMIT,
            r"if stop.is_some() {
            return num_accepted;
        }",
            r"",
        )],
        texts: Texts::Usual,
        seen_by: &["27"],
    },
    Fault {
        name: "wrong guesses keep their blocks",
        edits: &[edit(COMMIT, r"seq.trim(&mut self.block_pool);", r"")],
        texts: Texts::Usual,
        seen_by: &["6"],
    },
    Fault {
        name: "an ended sequence keeps its blocks",
        edits: &[edit(COMMIT, r"sequence.release(&mut self.block_pool);", r"")],
        texts: Texts::Usual,
        seen_by: &["5"],
    },
    Fault {
        name: "the wrong victim",
        edits: &[edit(
            PREEMPT,
            r"self.running.remove(victim_idx)",
            r"self.running.remove(victim_idx.saturating_sub(1))",
        )],
        texts: Texts::Usual,
        seen_by: &["20", "23"],
    },
    Fault {
        name: "a victim loses its place",
        edits: &[edit(PREEMPT, r"self.enqueue(victim);", r"self.waiting.push_back(victim);")],
        texts: Texts::Usual,
        seen_by: &["19"],
    },
    Fault {
        name: "preemption goes on when there is room",
        edits: &[edit(
            RUNNING,
            r"self.preempt_last(room);",
            r"self.preempt_last(room); if self.running.len() > seq_idx + 2 { self.preempt_last(room); }",
        )],
        texts: Texts::Usual,
        seen_by: &["23"],
    },
    Fault {
        name: "rows are not counted",
        edits: &[edit(ROOM, r"self.num_rows -= num_rows;", r"")],
        texts: Texts::Usual,
        seen_by: &["18"],
    },
    Fault {
        name: "no rows are kept for decodes",
        edits: &[edit(ROOM, r"self.num_rows.saturating_sub(self.num_kept)", r"self.num_rows")],
        texts: Texts::Usual,
        seen_by: &["25"],
    },
    Fault {
        name: "kept rows are never given away",
        edits: &[edit(ROOM, r"self.num_kept -= usize::from(seq.is_one_row());", r"")],
        texts: Texts::Usual,
        seen_by: &["25"],
    },
    Fault {
        name: "the threshold is not looked at",
        edits: &[edit(
            ROOM,
            r"num_rows.min(self.max_chunk).min(self.num_extra_rows_left())",
            r"num_rows.min(self.num_extra_rows_left())",
        )],
        texts: Texts::Usual,
        seen_by: &["18"],
    },
    Fault {
        name: "a chunk where there are none",
        edits: &[edit(ROOM, r"if num_rows < num_uncomputed { 0 } else { num_rows }", r"num_rows")],
        texts: Texts::Usual,
        seen_by: &["18"],
    },
    Fault {
        name: "the target is not looked at",
        edits: &[edit(ROOM, r"self.max_num_extra_rows(num_one_row)", r"usize::MAX")],
        texts: Texts::Usual,
        seen_by: &["tpot"],
    },
    Fault {
        name: "admitted decodes take no time",
        edits: &[edit(
            WAITING,
            r"num_uncomputed == 1 && !self.make_room_for_decode(room)",
            r"false",
        )],
        texts: Texts::Usual,
        seen_by: &["tpot"],
    },
    Fault {
        name: "admission in a step that preempts",
        edits: &[edit(SCHEDULER, r"!has_preempted", r"!has_preempted || self.plan.len() == 1")],
        texts: Texts::Usual,
        seen_by: &["14", "22"],
    },
    Fault {
        name: "who finds no room is passed over",
        edits: &[edit(
            WAITING,
            r"!self.admit(seq_idx, room)",
            r"{ if !self.admit(seq_idx, room) { seq_idx += 1; } false }",
        )],
        texts: Texts::Usual,
        seen_by: &["21"],
    },
    Fault {
        name: "waits for a block that nobody computes",
        edits: &[edit(RUNNING, r"self.in_the_making.clear();", r"")],
        texts: Texts::Usual,
        seen_by: &["21", "25"],
    },
    Fault {
        name: "nobody waits for a block in the making",
        edits: &[edit(WAITING, r"self.is_in_the_making(&self.waiting[seq_idx])", r"false")],
        texts: Texts::Usual,
        seen_by: &["once"],
    },
    Fault {
        name: "waits for blocks that are there",
        edits: &[edit(RUNNING, r"is_unpublished(hash)", r"true")],
        texts: Texts::Usual,
        seen_by: &["21", "25"],
    },
    Fault {
        name: "one too many run",
        edits: &[edit(
            WAITING,
            r"self.running.len() + self.loading.len() < self.config.max_num_seqs",
            r"self.running.len() + self.loading.len() <= self.config.max_num_seqs",
        )],
        texts: Texts::Usual,
        seen_by: &["18"],
    },
    Fault {
        name: "running sequences are in order of admission",
        edits: &[edit(
            WAITING,
            r"self.running.insert(running_idx, seq);",
            r"self.running.push(seq);",
        )],
        texts: Texts::Usual,
        seen_by: &["19"],
    },
    Fault {
        name: "blocks for the first chunk only are asked for",
        edits: &[edit(
            WAITING,
            r"self.block_pool.can_lend(&self.hits, num_new)",
            r"self.block_pool.can_lend(&[], num_new)",
        )],
        texts: Texts::Usual,
        seen_by: &["panic"],
    },
    Fault {
        name: "priorities are turned round",
        edits: &[edit(SEQUENCE, r"request.priority", r"-request.priority")],
        texts: Texts::Usual,
        seen_by: &["19"],
    },
    Fault {
        name: "a chunk samples a row too early",
        edits: &[edit(
            STEP,
            r"num_computed_tokens + num_scheduled_tokens == seq.num_tokens()",
            r"num_computed_tokens + num_scheduled_tokens + 1 >= seq.num_tokens()",
        )],
        texts: Texts::Usual,
        seen_by: &["20"],
    },
    Fault {
        name: "a host block is freed before it is read",
        edits: &[edit(
            PREEMPT,
            r"self.stats.num_swaps_out += 1;",
            r"self.stats.num_swaps_out += 1; self.host_pool.free(&mut victim.host_blocks.clone());",
        )],
        texts: Texts::Usual,
        seen_by: &["swap"],
    },
    Fault {
        name: "host blocks are not given back after a swap in",
        edits: &[edit(
            PREEMPT,
            r"for seq in &mut self.running {
            self.host_pool.free(&mut seq.host_blocks);
        }",
            r"",
        )],
        texts: Texts::Usual,
        seen_by: &["5", "swap"],
    },
    Fault {
        name: "host blocks of an aborted sequence are lost",
        edits: &[edit(SCHEDULER, r"self.host_pool.free(&mut sequence.host_blocks);", r"")],
        texts: Texts::Usual,
        seen_by: &["5"],
    },
    Fault {
        name: "the last block is not swapped in",
        edits: &[edit(
            WAITING,
            r"num_hit_tokens / block_size..blocks_for_tokens(num_computed, block_size)",
            r"num_hit_tokens / block_size..num_computed / block_size",
        )],
        texts: Texts::Usual,
        seen_by: &["swap"],
    },
    Fault {
        name: "hits are written over by a swap in",
        edits: &[edit(
            WAITING,
            r"num_hit_tokens / block_size..blocks_for_tokens(num_computed, block_size)",
            r"0..blocks_for_tokens(num_computed, block_size)",
        )],
        texts: Texts::Usual,
        seen_by: &["swap"],
    },
    Fault {
        name: "the last block is not swapped out",
        edits: &[edit(
            PREEMPT,
            r"self.push_copies(CopyDirection::Out, victim, 0..num_blocks);",
            r"self.push_copies(CopyDirection::Out, victim, 0..num_blocks - 1);",
        )],
        texts: Texts::Usual,
        seen_by: &["swap"],
    },
    Fault {
        name: "copies are made again in the next step",
        edits: &[edit(PREEMPT, r"self.copies.clear();", r"")],
        texts: Texts::Usual,
        seen_by: &["swap"],
    },
    Fault {
        name: "copies are forgotten before they are made",
        edits: &[edit(
            SCHEDULER,
            r"batch::fill(batch, &self.plan, [&self.running, &self.loading], &self.config);",
            r"batch::fill(batch, &self.plan, [&self.running, &self.loading], &self.config); self.copies.clear();",
        )],
        texts: Texts::Usual,
        seen_by: &["swap"],
    },
    Fault {
        name: "KV that was lost counts as swapped out",
        edits: &[edit(PREEMPT, r"seq.forget_swapped();", r"")],
        texts: Texts::Usual,
        seen_by: &["6"],
    },
    Fault {
        name: "a token more comes back than was swapped out",
        edits: &[edit(
            SEQUENCE,
            r"self.num_swapped_tokens = self.num_computed_tokens;",
            r"self.num_swapped_tokens = self.num_computed_tokens + 1;",
        )],
        texts: Texts::Usual,
        seen_by: &["6"],
    },
    Fault {
        name: "a dropped step keeps its blocks",
        edits: &[edit(SCHEDULER, r"self.running[seq_idx].trim(&mut self.block_pool);", r"")],
        texts: Texts::Usual,
        seen_by: &["6"],
    },
    Fault {
        name: "an aborted sequence keeps its blocks",
        edits: &[edit(SCHEDULER, r"sequence.release(&mut self.block_pool);", r"")],
        texts: Texts::Usual,
        seen_by: &["5"],
    },
    Fault {
        name: "a failed step spares its first sequence",
        edits: &[edit(
            SCHEDULER,
            r"0..self.plan.len()",
            r"1.min(self.plan.len())..self.plan.len()",
        )],
        texts: Texts::Usual,
        seen_by: &["27"],
    },
    Fault {
        name: "the queue takes one too many",
        edits: &[edit(
            CONFIG,
            r"num_waiting >= max_num_queued_reqs",
            r"num_waiting > max_num_queued_reqs",
        )],
        texts: Texts::Usual,
        seen_by: &["26"],
    },
    Fault {
        name: "a prompt without room for an answer is taken",
        edits: &[edit(CONFIG, r"num_tokens >= max_model_len", r"num_tokens > max_model_len")],
        texts: Texts::Usual,
        seen_by: &["26"],
    },
    Fault {
        name: "guesses past the end",
        edits: &[edit(
            DRAFT,
            r"seq.max_num_tokens() - seq.num_tokens() - 1",
            r"seq.max_num_tokens() - seq.num_tokens()",
        )],
        texts: Texts::Usual,
        seen_by: &["18"],
    },
    Fault {
        name: "guesses beyond the budget",
        edits: &[edit(
            DRAFT,
            r"num_wanted.min(num_rows).min(room.num_rows).min(room.num_extra_rows_left())",
            r"num_wanted.min(num_rows)",
        )],
        texts: Texts::Usual,
        seen_by: &["18"],
    },
    Fault {
        name: "guesses in a prefill",
        edits: &[edit(DRAFT, r"scheduled.is_prefill", r"!scheduled.samples")],
        texts: Texts::Usual,
        seen_by: &["panic"],
    },
    Fault {
        name: "preemptions are not counted",
        edits: &[edit(PREEMPT, r"self.stats.num_preemptions += 1;", r"")],
        texts: Texts::Usual,
        seen_by: &["31"],
    },
    Fault {
        name: "an end of sequence counts one token late",
        edits: &[edit(
            REQUEST,
            r"num_output_tokens >= self.min_tokens",
            r"num_output_tokens > self.min_tokens",
        )],
        texts: Texts::Usual,
        seen_by: &["27"],
    },
];
