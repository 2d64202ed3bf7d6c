//! The checks on trial: each fault, put into a step or a copy of the queues that was right, must be
//! seen.

use engine_core::batch::Batch;
use engine_core::request::{Request, StopRules, TokenId};
use engine_core::scheduler::{SampledRuns, ScheduledSeq, Scheduler, SchedulerConfig};

use crate::queues::Queues;
use crate::shadow::{Shadow, TrueSeq};

const CONFIG: SchedulerConfig = SchedulerConfig {
    max_num_seqs: 4,
    max_num_batched_tokens: 16,
    max_model_len: 32,
    block_size: 4,
    num_blocks: 20,
    enable_prefix_caching: false,
    ..SchedulerConfig::DEFAULT
};

/// A step of two decodes and one prefill, checked to be right, and the state around it.
struct Scene {
    /// Before the step's rows are written.
    shadow: Shadow,
    plan: Vec<ScheduledSeq>,
    batch: Batch,
    before: Queues,
    after: Queues,
}

fn scene() -> Scene {
    let mut scheduler = Scheduler::new(CONFIG).unwrap();
    let mut shadow = Shadow::new(CONFIG);
    let mut batch = Batch::default();
    for (step, prompt_len) in [6, 7, 30, 5].into_iter().enumerate() {
        let token_ids: Vec<u32> = (0..prompt_len).map(|i| i * 3 + step as u32).collect();
        let stop_rules = StopRules {
            max_tokens: 20,
            min_tokens: 0,
            ignore_eos: true,
            eos_token_ids: Vec::new(),
            stop_token_ids: Vec::new(),
        };
        let prompt_token_ids = token_ids.iter().copied().map(TokenId).collect();
        let seq_id = scheduler.add(Request::new(prompt_token_ids, stop_rules)).unwrap();
        shadow.seqs.insert(seq_id, TrueSeq { token_ids, ..TrueSeq::default() });
        if step < 2 {
            let plan = scheduler.schedule(&mut batch).to_vec();
            let sampled = shadow.forward(&plan, &batch).unwrap();
            let tokens: SampledRuns = sampled.iter().copied().map(TokenId).collect();
            scheduler.commit(&tokens).unwrap();
            shadow.commit(&plan, &sampled);
        }
    }
    let before = Queues::of(&scheduler);
    let plan = scheduler.schedule(&mut batch).to_vec();
    let after = Queues::of(&scheduler);
    let scene = Scene { shadow, plan, batch, before, after };
    assert_eq!(scene.plan.len(), 3);
    assert_eq!(scene.step_verdict(), Ok(()));
    assert_eq!(scene.queues_verdict(), Ok(()));
    scene
}

impl Scene {
    fn step_verdict(&self) -> Result<(), String> {
        self.shadow.clone().forward(&self.plan, &self.batch).map(|_| ())
    }

    fn queues_verdict(&self) -> Result<(), String> {
        self.after.check(&self.shadow)?;
        self.after.check_scheduled(&self.before)
    }
}

#[test]
fn faults_in_a_step_are_seen() {
    // Rows: 0 and 1 decode, 2.. prefill. Columns of block_tables: `max_num_blocks` per sequence.
    type Fault = (&'static str, fn(&mut Scene));
    let faults: [Fault; 17] = [
        ("a wrong token", |s| s.batch.token_ids[5] += 1),
        ("a wrong position", |s| s.batch.positions[5] += 1),
        ("rows out of order", |s| s.batch.positions.swap(3, 4)),
        ("a slot of the wrong offset", |s| s.batch.slot_mapping[3] += 1),
        ("a write that is left out", |s| s.batch.slot_mapping[3] = -1),
        ("a slot of another sequence", |s| s.batch.slot_mapping[1] = s.batch.slot_mapping[0]),
        ("a short sequence length", |s| s.batch.seq_lens[2] -= 1),
        ("a long sequence length", |s| s.batch.seq_lens[0] += 1),
        ("a shifted row border", |s| s.batch.cu_seqlens_q[1] += 1),
        ("a missing row", |s| {
            s.batch.token_ids.pop();
        }),
        ("a block of another sequence", |s| {
            let cols = s.batch.max_num_blocks;
            s.batch.block_tables[cols] = s.batch.block_tables[0];
        }),
        ("blocks in the wrong order", |s| s.batch.block_tables.swap(0, 1)),
        ("a free block instead of the written one", |s| s.batch.block_tables[0] = 19),
        ("a block that does not exist", |s| s.batch.block_tables[0] = 20),
        ("a table whose row is cut off", |s| {
            s.batch.block_tables.pop();
        }),
        ("a sequence twice", |s| s.plan[1].seq_id = s.plan[0].seq_id),
        ("sampling from an unfinished prompt", |s| s.plan[2].samples = true),
    ];
    for (name, fault) in faults {
        let mut scene = scene();
        fault(&mut scene);
        assert!(scene.step_verdict().is_err(), "{name} goes unseen");
    }
}

#[test]
fn faults_in_the_cache_are_seen() {
    // The cache lost what an earlier step wrote: another sequence wrote over it.
    let mut scene = scene();
    let (victim, culprit) = (scene.plan[0].seq_id, scene.plan[1].seq_id);
    let truth = scene.shadow.seqs[&victim].clone();
    scene.shadow.seqs.get_mut(&victim).unwrap().token_ids[2] += 1;
    assert!(scene.step_verdict().is_err(), "stale KV goes unseen");
    scene.shadow.seqs.insert(victim, truth);
    assert_eq!(scene.step_verdict(), Ok(()));

    // The second sequence's newest row goes where the first's KV is, and its table says so too.
    let cols = scene.batch.max_num_blocks;
    let stolen = scene.batch.block_tables[0];
    scene.batch.block_tables[cols + 1] = stolen;
    let position = scene.batch.positions[1];
    scene.batch.slot_mapping[1] = i64::from(stolen * 4 + position % 4);
    scene.plan.remove(0);
    scene.batch = without_first_decode(&scene.batch);
    let verdict = scene.step_verdict();
    assert!(
        verdict.as_ref().is_err_and(|text| text.contains("overwrites")),
        "{culprit:?} writes over {victim:?}: {verdict:?}"
    );
}

/// The batch without its first sequence, which has one row.
fn without_first_decode(batch: &Batch) -> Batch {
    Batch {
        token_ids: batch.token_ids[1..].to_vec(),
        positions: batch.positions[1..].to_vec(),
        slot_mapping: batch.slot_mapping[1..].to_vec(),
        cu_seqlens_q: batch.cu_seqlens_q[1..].iter().map(|row| row - 1).collect(),
        seq_lens: batch.seq_lens[1..].to_vec(),
        block_tables: batch.block_tables[batch.max_num_blocks..].to_vec(),
        max_num_blocks: batch.max_num_blocks,
    }
}

#[test]
fn faults_in_the_queues_are_seen() {
    type Fault = (&'static str, fn(&mut Scene));
    let faults: [Fault; 16] = [
        ("a leaked block", |s| {
            s.after.free_blocks.pop();
        }),
        ("a block that is free twice", |s| s.after.free_blocks[1] = s.after.free_blocks[0]),
        ("a lent block that is free", |s| {
            s.after.free_blocks[0] = s.after.running[0].block_table[0];
        }),
        ("a block in two tables", |s| {
            s.after.running[1].block_table[0] = s.after.running[0].block_table[0];
        }),
        ("a miscounted pool", |s| s.after.num_used_blocks += 1),
        ("a table longer than needed", |s| {
            let block = s.after.free_blocks.pop().unwrap();
            s.after.running[0].block_table.push(block);
        }),
        ("a block held while waiting", |s| {
            let block = s.after.free_blocks.pop().unwrap();
            s.after.waiting[0].block_table.push(block);
        }),
        ("KV kept while waiting", |s| s.after.waiting[0].num_computed = 1),
        ("a sequence in no queue", |s| {
            s.after.waiting.pop();
        }),
        ("a sequence in both queues", |s| {
            let mut copy = s.after.running[0].clone();
            copy.block_table.clear();
            copy.num_computed = 0;
            s.after.waiting.push(copy);
        }),
        ("a queue out of order", |s| s.after.running.swap(0, 1)),
        ("a table that was rewritten", |s| s.before.running[0].block_table[0] = 19),
        ("an admission in a preempting step", |s| s.after.num_preemptions += 1),
        ("an oldest sequence left out", |s| {
            let oldest = s.after.running[0].seq_id;
            s.after.in_step.remove(&oldest);
            s.before.running[0].num_computed = 0;
        }),
        ("too many running", |s| s.after.config.max_num_seqs = 2),
        ("idle budget", |s| {
            s.after.config.max_num_batched_tokens += 1;
            s.after.waiting[0].num_tokens = 1;
            s.shadow.seqs.get_mut(&s.after.waiting[0].seq_id).unwrap().token_ids.truncate(1);
        }),
    ];
    for (name, fault) in faults {
        let mut scene = scene();
        fault(&mut scene);
        assert!(scene.queues_verdict().is_err(), "{name} goes unseen");
    }
}
