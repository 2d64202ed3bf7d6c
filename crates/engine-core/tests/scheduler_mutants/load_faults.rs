//! Faults of loading KV from outside.

use super::faults::{
    COMMIT, Fault, PREEMPT, ROOM, RUNNING, SCHEDULER, SEQUENCE, Texts, WAITING, edit,
};

const LOAD: &str = "scheduler/load.rs";

pub const LOAD_FAULTS: &[Fault] = &[
    Fault {
        name: "what is being loaded can be found",
        edits: &[edit(
            SEQUENCE,
            r"self.ahead = Some(Ahead { tokens, is_loaded: false });",
            r"let end = tokens.end; self.ahead = Some(Ahead { tokens, is_loaded: false }); let before = core::mem::replace(&mut self.num_computed_tokens, end); self.publish(block_pool); self.num_computed_tokens = before;",
        )],
        texts: Texts::Usual,
        seen_by: &["14", "11"],
    },
    Fault {
        name: "blocks are lent again while they are loaded into",
        edits: &[edit(
            SEQUENCE,
            r"self.block_table.split_off(first_block)",
            r"self.block_table.split_off(self.block_table.len().max(first_block))",
        )],
        texts: Texts::Usual,
        seen_by: &["2"],
    },
    Fault {
        name: "an aborted load is forgotten",
        edits: &[edit(SCHEDULER, r"self.drain(&mut sequence);", r"")],
        texts: Texts::Usual,
        seen_by: &["load"],
    },
    Fault {
        name: "what was not loaded counts as computed",
        edits: &[edit(
            LOAD,
            r"seq.end_load(num_tokens, &mut self.block_pool)",
            r"seq.end_load(max, &mut self.block_pool)",
        )],
        texts: Texts::Usual,
        seen_by: &["6", "load"],
    },
    Fault {
        name: "the sequence of a load is lost when it ends",
        edits: &[edit(
            LOAD,
            r"let seq = self.loading.remove(idx);
            let (Ok(idx) | Err(idx)) = find(&self.running, seq.key());
            self.running.insert(idx, seq);",
            r"drop(self.loading.remove(idx));",
        )],
        texts: Texts::Usual,
        seen_by: &["19"],
    },
    Fault {
        name: "a load writes to what was found",
        edits: &[edit(
            LOAD,
            r"self.loads.push(KvLoad { seq_id: seq.seq_id(), tokens });",
            r"self.loads.push(KvLoad { seq_id: seq.seq_id(), tokens: 0..tokens.end });",
        )],
        texts: Texts::Usual,
        seen_by: &["load"],
    },
    Fault {
        name: "a load leaves nothing to compute",
        edits: &[edit(
            LOAD,
            r"offered.end.min(seq.num_tokens() - 1)",
            r"offered.end.min(seq.num_tokens())",
        )],
        texts: Texts::Usual,
        seen_by: &["load"],
    },
    Fault {
        name: "who computes all on purpose is loaded",
        edits: &[edit(
            SEQUENCE,
            r"if self.skip_reading_prefix_cache {
            return false;
        }",
            r"",
        )],
        texts: Texts::Usual,
        seen_by: &["load"],
    },
    Fault {
        name: "the blocks of an aborted load never come back",
        edits: &[edit(
            LOAD,
            r"self.block_pool.truncate(&mut drain.block_table, 0);",
            r"drain.block_table.clear();",
        )],
        texts: Texts::Usual,
        seen_by: &["2"],
    },
    Fault {
        name: "an offer outlives the admission",
        edits: &[edit(
            SEQUENCE,
            r"self.num_swapped_tokens = 0;
        self.offered_tokens = 0..0;",
            r"self.num_swapped_tokens = 0;",
        )],
        texts: Texts::Usual,
        seen_by: &["load"],
    },
    Fault {
        name: "what is in host memory is loaded from outside",
        edits: &[edit(LOAD, r"seq.num_swapped_tokens() == 0", r"true")],
        texts: Texts::Usual,
        seen_by: &["swap", "load"],
    },
    Fault {
        name: "two sequences load the same",
        edits: &[edit(
            LOAD,
            r"self.in_the_making.extend(ahead.filter_map(|seq| first_missing(seq, block_pool)));",
            r"let _ = ahead.filter_map(|seq| first_missing(seq, block_pool)).count();",
        )],
        texts: Texts::Usual,
        seen_by: &["once"],
    },
    Fault {
        name: "who loads is not counted",
        edits: &[edit(
            WAITING,
            r"self.running.len() + self.loading.len() < self.config.max_num_seqs",
            r"self.running.len() < self.config.max_num_seqs",
        )],
        texts: Texts::Usual,
        seen_by: &["18"],
    },
    Fault {
        name: "nobody is preempted while there are loads",
        edits: &[edit(RUNNING, r"self.is_short_of_loads()", r"self.has_loads()")],
        texts: Texts::Usual,
        seen_by: &["25"],
    },
    Fault {
        name: "a load is listed in every step",
        edits: &[edit(SCHEDULER, r"self.loads.clear();", r"")],
        texts: Texts::Usual,
        seen_by: &["load"],
    },
    Fault {
        name: "what is being loaded is computed as well",
        edits: &[edit(
            ROOM,
            r"self.rows_for_waiting(seq.num_next_rows())",
            r"self.rows_for_waiting(seq.num_uncomputed_tokens())",
        )],
        texts: Texts::Usual,
        seen_by: &["load"],
    },
    Fault {
        name: "who has reached its load does not wait for its end",
        edits: &[edit(
            SEQUENCE,
            r"ahead.is_loaded && ahead.tokens.start == num_computed_tokens",
            r"ahead.tokens.start == num_computed_tokens",
        )],
        texts: Texts::Usual,
        seen_by: &["load", "6", "19"],
    },
    Fault {
        name: "what is loaded counts before all ahead of it is computed",
        edits: &[edit(
            SEQUENCE,
            r"ahead.is_loaded && ahead.tokens.start == num_computed_tokens",
            r"ahead.is_loaded && ahead.tokens.start >= num_computed_tokens",
        )],
        texts: Texts::Usual,
        seen_by: &["load", "6", "8", "11"],
    },
    Fault {
        name: "a token more than was loaded counts as computed",
        edits: &[edit(
            SEQUENCE,
            r"self.num_computed_tokens = ahead.tokens.end;",
            r"self.num_computed_tokens = (ahead.tokens.end + 1).min(self.token_ids.len() - 1);",
        )],
        texts: Texts::Usual,
        seen_by: &["6"],
    },
    Fault {
        name: "what did not come counts as loaded",
        edits: &[edit(
            SEQUENCE,
            r"ahead.tokens.end = end.clamp(ahead.tokens.start, ahead.tokens.end);",
            r"let _ = end;",
        )],
        texts: Texts::Usual,
        seen_by: &["6", "load"],
    },
    Fault {
        name: "what is loaded can be found before it is reached",
        edits: &[edit(
            SEQUENCE,
            r"self.reach_load();
        self.publish(block_pool);
        self.trim(block_pool);",
            r"let before = core::mem::replace(&mut self.num_computed_tokens, ahead.tokens.end); self.publish(block_pool); self.num_computed_tokens = before; self.reach_load(); self.trim(block_pool);",
        )],
        texts: Texts::Usual,
        seen_by: &["8", "11"],
    },
    Fault {
        name: "who is being loaded is preempted",
        edits: &[edit(
            PREEMPT,
            r"self.running.iter().rposition(|seq| !seq.is_loading())",
            r"self.running.len().checked_sub(1)",
        )],
        texts: Texts::Usual,
        seen_by: &["load"],
    },
    Fault {
        name: "what was loaded and not reached is swapped out",
        edits: &[edit(PREEMPT, r"victim.forget_ahead(&mut self.block_pool);", r"")],
        texts: Texts::Usual,
        seen_by: &["swap"],
    },
    Fault {
        name: "blocks that are loaded into are given back with those of a step",
        edits: &[edit(
            SEQUENCE,
            r"blocks_for_tokens(self.num_held_tokens(), self.block_size)",
            r"blocks_for_tokens(self.num_computed_tokens, self.block_size)",
        )],
        texts: Texts::Usual,
        seen_by: &["6", "load", "2"],
    },
    Fault {
        name: "a load begins within a block",
        edits: &[edit(
            LOAD,
            r"offered.start.min(end).next_multiple_of(self.config.block_size)",
            r"offered.start.min(end)",
        )],
        texts: Texts::Usual,
        seen_by: &["load"],
    },
    Fault {
        name: "a prompt that is computed at once is computed in parts",
        edits: &[edit(
            LOAD,
            r"start == num_hit_tokens || self.config.enable_chunked_prefill",
            r"true",
        )],
        texts: Texts::Usual,
        seen_by: &["load"],
    },
    Fault {
        name: "who has computed all before its load runs on",
        edits: &[edit(COMMIT, r"self.await_loads();", r"")],
        texts: Texts::Usual,
        seen_by: &["19", "load"],
    },
    Fault {
        name: "computed blocks stay with an aborted load",
        edits: &[edit(
            SEQUENCE,
            r"self.block_table.split_off(first_block)",
            r"self.block_table.split_off(first_block.min(0))",
        )],
        texts: Texts::Usual,
        seen_by: &["2", "8"],
    },
];
