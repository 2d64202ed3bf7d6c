//! The checks on trial: each fault, put into a step or a copy of the queues that was right, must be
//! seen.

use engine_core::batch::Batch;
use engine_core::request::{Request, StopRules, TokenId};
use engine_core::scheduler::{SampledRuns, ScheduledSeq, Scheduler, SchedulerConfig};

use crate::changes;
use crate::queues::Queues;
use crate::shadow::{Shadow, TrueSeq};

const CONFIG: SchedulerConfig = SchedulerConfig {
    num_host_blocks: 3,
    max_num_seqs: 4,
    max_num_batched_tokens: 16,
    max_model_len: 32,
    block_size: 4,
    num_blocks: 20,
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
        shadow.register(seq_id, scheduler.sequence(seq_id).unwrap().block_hashes()).unwrap();
        if step < 2 {
            let plan = scheduler.schedule(&mut batch).to_vec();
            let sampled = shadow.forward(&plan, &batch).unwrap();
            let tokens: SampledRuns = sampled.iter().map(|run| TokenId(run[0])).collect();
            scheduler.commit(&tokens).unwrap();
            let ids = plan.iter().filter(|scheduled| scheduled.samples).map(|s| s.seq_id);
            shadow.commit(&plan, &ids.zip(sampled).collect());
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
        self.after.check_writable()?;
        changes::check(&self.before, &self.after)
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
    let victim = scene.plan[0].seq_id;
    let truth = scene.shadow.seqs[&victim].clone();
    scene.shadow.seqs.get_mut(&victim).unwrap().token_ids[2] += 1;
    assert!(scene.step_verdict().is_err(), "stale KV goes unseen");
    scene.shadow.seqs.insert(victim, truth);
    assert_eq!(scene.step_verdict(), Ok(()));

    // A row goes to a block that another sequence has too, or that others can find.
    let block = scene.after.running[0].block_table[1] as usize;
    scene.after.ref_counts[block] = 2;
    assert!(scene.after.check_writable().is_err(), "a write to a shared block goes unseen");
    scene.after.ref_counts[block] = 1;
    assert_eq!(scene.queues_verdict(), Ok(()));
    scene.after.hashes[block] = scene.after.hashes[0];
    assert!(scene.after.check_writable().is_err(), "a write to a published block goes unseen");
}

#[test]
fn a_hash_of_two_contents_is_seen() {
    let mut scene = scene();
    let (first, second) = (scene.after.running[0].clone(), scene.after.running[1].clone());
    let seq_id = second.key.seq_id;
    assert_eq!(scene.shadow.register(seq_id, &second.block_hashes), Ok(()));
    assert!(scene.shadow.register(seq_id, &first.block_hashes).is_err());
    assert!(scene.shadow.register(seq_id, &[]).is_err());
    // Another tenant's KV of the same tokens.
    scene.shadow.seqs.get_mut(&seq_id).unwrap().tenant = 1;
    assert!(scene.shadow.register(seq_id, &second.block_hashes).is_err());
}

#[test]
fn faults_in_the_queues_are_seen() {
    type Fault = (&'static str, fn(&mut Scene));
    let faults: [Fault; 30] = [
        ("a leaked block", |s| {
            s.after.free_blocks.pop();
        }),
        ("a block that is free twice", |s| s.after.free_blocks[1] = s.after.free_blocks[0]),
        ("a lent block that is free", |s| {
            s.after.free_blocks[0] = s.after.running[0].block_table[0];
        }),
        ("a free list that differs from back to front", |s| s.after.free_blocks_back.swap(0, 1)),
        ("a block in an uncounted table", |s| {
            s.after.running[1].block_table[0] = s.after.running[0].block_table[0];
        }),
        ("a block twice in a table", |s| {
            s.after.running[0].block_table[1] = s.after.running[0].block_table[0];
        }),
        ("a count too high", |s| s.after.ref_counts[0] += 1),
        ("a miscounted pool", |s| s.after.num_used_blocks += 1),
        ("a hash that leads nowhere", |s| {
            s.after.found.values_mut().for_each(|block| *block = None);
        }),
        ("a hash that leads elsewhere", |s| {
            s.after.found.values_mut().for_each(|block| *block = Some(19));
        }),
        ("a hash that only the map has", |s| s.after.num_published_blocks += 1),
        ("a block under another's hash", |s| s.after.hashes.swap(0, 2)),
        ("a block published too early", |s| {
            let seq = &s.after.running[2];
            let (block, hash) = (seq.block_table[0], seq.block_hashes[0]);
            s.after.hashes[block as usize] = Some(hash);
            s.after.found.insert(hash, Some(block));
            s.after.num_published_blocks += 1;
        }),
        ("a lost host block", |s| {
            s.after.free_host_blocks.pop();
        }),
        ("host blocks without KV", |s| {
            let block = s.after.free_host_blocks.pop().unwrap();
            s.after.waiting[0].host_blocks.push(block);
        }),
        ("a table longer than needed", |s| {
            let block = s.after.free_blocks.pop().unwrap();
            s.after.free_blocks_back.remove(0);
            s.after.ref_counts[block as usize] = 1;
            s.after.num_used_blocks += 1;
            s.after.running[0].block_table.push(block);
        }),
        ("a block held while waiting", |s| {
            let block = s.after.free_blocks.pop().unwrap();
            s.after.free_blocks_back.remove(0);
            s.after.ref_counts[block as usize] = 1;
            s.after.num_used_blocks += 1;
            s.after.waiting[0].block_table.push(block);
        }),
        ("KV kept while waiting", |s| s.after.waiting[0].num_computed = 1),
        ("a reader that must not read", |s| s.after.running[0].reads_cache = false),
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
        ("a preemption without a victim", |s| s.after.num_preemptions += 1),
        ("an admission in a preempting step", |s| {
            let mut victim = s.after.waiting[0].clone();
            victim.num_tokens = 1;
            s.before.running.push(victim);
            s.after.num_preemptions += 1;
        }),
        ("a hit that was missed", |s| {
            let hash = s.after.running[2].block_hashes[0];
            s.before.found.insert(hash, Some(19));
            s.after.found.insert(hash, Some(19));
        }),
        ("a hit that is none", |s| {
            s.after.running[2].num_computed = 4;
            let seq_id = s.after.running[2].key.seq_id;
            s.after.plan.get_mut(&seq_id).unwrap().num_scheduled_tokens -= 4;
            s.shadow.seqs.get_mut(&seq_id).unwrap().num_computed = 4;
        }),
        ("a first sequence left out", |s| {
            let first = s.after.running[0].key.seq_id;
            s.after.plan.remove(&first);
            s.before.running[0].num_computed = 0;
        }),
        ("too many running", |s| s.after.config.max_num_seqs = 2),
        ("idle budget", |s| {
            s.after.config.max_num_batched_tokens += 1;
            s.after.waiting[0].num_tokens = 1;
            s.shadow.seqs.get_mut(&s.after.waiting[0].key.seq_id).unwrap().token_ids.truncate(1);
        }),
    ];
    for (name, fault) in faults {
        let mut scene = scene();
        fault(&mut scene);
        assert!(scene.queues_verdict().is_err(), "{name} goes unseen");
    }
}

/// Faults in the order of eviction, the choice of victims and the sizes of chunks, which only
/// `changes` sees.
#[test]
fn faults_in_a_change_are_seen() {
    type Fault = (&'static str, fn(&mut Scene));
    let faults: [Fault; 7] = [
        ("a victim before others in order", |s| {
            let mut victim = s.after.running.remove(0);
            s.after.plan.remove(&victim.key.seq_id);
            victim.block_table.clear();
            s.after.waiting.insert(0, victim);
            s.after.num_preemptions += 1;
        }),
        ("a scheduled sequence that waits", |s| {
            let scheduled = s.plan[0];
            s.after.plan.insert(s.after.waiting[0].key.seq_id, scheduled);
        }),
        ("published blocks that changed their order", |s| {
            s.publish_free([18, 19]);
            s.after.free_blocks.swap(10, 11);
        }),
        ("an eviction out of order", |s| {
            s.publish_free([18, 19]);
            s.after.hashes[19] = None;
        }),
        ("a chunk over the threshold", |s| s.after.config.long_prefill_token_threshold = 3),
        ("a chunk where there are none", |s| s.after.config.enable_chunked_prefill = false),
        ("a decode that stalls", |s| {
            let second = s.after.running[1].key.seq_id;
            s.after.plan.remove(&second);
        }),
    ];
    for (name, fault) in faults {
        let mut scene = scene();
        fault(&mut scene);
        assert!(changes::check(&scene.before, &scene.after).is_err(), "{name} goes unseen");
    }
    let mut scene = scene();
    scene.publish_free([18, 19]);
    assert_eq!(changes::check(&scene.before, &scene.after), Ok(()));
}

impl Scene {
    /// As if these blocks, last in the free list, were published.
    fn publish_free(&mut self, blocks: [usize; 2]) {
        for queues in [&mut self.before, &mut self.after] {
            let hash = queues.hashes[0];
            blocks.iter().for_each(|&block| queues.hashes[block] = hash);
        }
    }
}
