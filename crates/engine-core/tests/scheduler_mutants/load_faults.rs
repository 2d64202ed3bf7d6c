//! Faults of loading KV from outside.

use super::faults::{Fault, RUNNING, SCHEDULER, SEQUENCE, Texts, WAITING, edit};

const LOAD: &str = "scheduler/load.rs";

pub const LOAD_FAULTS: &[Fault] = &[
    Fault {
        name: "what is being loaded can be found",
        edits: &[edit(
            SEQUENCE,
            r"self.load_end = end;",
            r"self.load_end = end; let before = core::mem::replace(&mut self.num_computed_tokens, end); self.publish(block_pool); self.num_computed_tokens = before;",
        )],
        texts: Texts::Usual,
        seen_by: &["14"],
    },
    Fault {
        name: "blocks are lent again while they are loaded into",
        edits: &[edit(LOAD, r"seq.abandon_load()", r"Vec::new()")],
        texts: Texts::Usual,
        seen_by: &["2"],
    },
    Fault {
        name: "an aborted load is forgotten",
        edits: &[edit(SCHEDULER, r"sequence.load_end() > 0", r"false")],
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
        seen_by: &["6"],
    },
    Fault {
        name: "the sequence of a load is lost when it ends",
        edits: &[edit(
            LOAD,
            r"self.running.insert(running_idx, seq);",
            r"drop((running_idx, seq));",
        )],
        texts: Texts::Usual,
        seen_by: &["19"],
    },
    Fault {
        name: "a load writes to what was found",
        edits: &[edit(LOAD, r"num_hit_tokens..end", r"0..end")],
        texts: Texts::Usual,
        seen_by: &["load"],
    },
    Fault {
        name: "a load leaves nothing to compute",
        edits: &[edit(
            LOAD,
            r"seq.num_offered_tokens().min(seq.num_tokens() - 1)",
            r"seq.num_offered_tokens().min(seq.num_tokens())",
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
        self.num_offered_tokens = 0;",
            r"self.num_swapped_tokens = 0;",
        )],
        texts: Texts::Usual,
        seen_by: &["load"],
    },
    Fault {
        name: "what is in host memory is loaded from outside",
        edits: &[edit(LOAD, r"seq.num_swapped_tokens() == 0", r"true")],
        texts: Texts::Usual,
        seen_by: &["swap"],
    },
    Fault {
        name: "two sequences load the same",
        edits: &[edit(LOAD, r"self.in_the_making.extend(made);", r"let _ = made.count();")],
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
        edits: &[edit(
            RUNNING,
            r"self.running.len() == 1 && self.has_loads()",
            r"self.has_loads()",
        )],
        texts: Texts::Usual,
        seen_by: &["25"],
    },
    Fault {
        name: "a load is listed in every step",
        edits: &[edit(SCHEDULER, r"self.loads.clear();", r"")],
        texts: Texts::Usual,
        seen_by: &["load"],
    },
];
