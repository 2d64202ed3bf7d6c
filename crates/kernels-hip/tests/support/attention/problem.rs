//! What is asked of a kernel.

use engine_core::batch::Batch;
use engine_core::device::KvCacheShape;
use engine_core::dtype::DType;
use engine_core::kv_dtype::KvDType;
use kernels_hip::kv_layout::KvLayout;
use reference_cpu::inputs::Rng;

/// Rows and tokens of a sequence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seq {
    pub num_rows: usize,
    pub len: usize,
}

/// What the numbers look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fixture {
    /// N(0, 1).
    Normal,
    /// N(0, 1) with outliers of 100: logits far above 100, one token takes all.
    Peaked,
    /// One token of each head has almost all the weight.
    Needle,
    /// One token of each row and head has all the weight, to the last bit, and values say where they lie.
    Fingerprint,
}

/// A launch of attention.
#[derive(Clone, PartialEq, Debug)]
pub struct Problem {
    pub q_dtype: DType,
    pub kv_dtype: KvDType,
    pub num_qo_heads: usize,
    pub num_kv_heads: usize,
    pub head_dim: usize,
    pub block_size: usize,
    pub seqs: Vec<Seq>,
    pub window: Option<u32>,
    pub soft_cap: Option<f32>,
    pub alibi: bool,
    pub sinks: bool,
    pub token_scales: bool,
    pub fixture: Fixture,
    /// kv_blocks that nobody has.
    pub num_free_blocks: usize,
    /// Where the kv_blocks of sequences lie, `None`: anywhere.
    pub first_block: Option<usize>,
    /// Of the numbers.
    pub seed: u64,
    /// Of the order of kv_blocks.
    pub placement: u64,
}

impl Problem {
    /// A small one, to change.
    pub fn new(seqs: &[(usize, usize)]) -> Self {
        Problem {
            q_dtype: DType::BF16,
            kv_dtype: DType::BF16.into(),
            num_qo_heads: 4,
            num_kv_heads: 2,
            head_dim: 64,
            block_size: 16,
            seqs: seqs.iter().map(|&(num_rows, len)| Seq { num_rows, len }).collect(),
            window: None,
            soft_cap: None,
            alibi: false,
            sinks: false,
            token_scales: false,
            fixture: Fixture::Normal,
            num_free_blocks: 3,
            first_block: None,
            seed: 1,
            placement: 1,
        }
    }

    pub fn layout(&self) -> KvLayout {
        KvLayout::new(&KvCacheShape {
            num_layers: 1,
            num_blocks: self.num_blocks(),
            block_size: self.block_size,
            num_kv_heads: self.num_kv_heads,
            head_dim: self.head_dim,
            dtype: self.kv_dtype,
        })
        .unwrap()
    }

    pub fn num_tokens(&self) -> usize {
        self.seqs.iter().map(|seq| seq.num_rows).sum()
    }

    /// Query heads per KV head.
    pub fn group(&self) -> usize {
        self.num_qo_heads / self.num_kv_heads
    }

    fn num_used_blocks(&self) -> usize {
        self.seqs.iter().map(|seq| seq.len.div_ceil(self.block_size)).sum()
    }

    /// kv_blocks of the pool.
    pub fn num_blocks(&self) -> usize {
        self.first_block.unwrap_or(0) + self.num_used_blocks() + self.num_free_blocks
    }

    /// Positions that row `row` of a sequence attends.
    pub fn attended(&self, seq: Seq, row: usize) -> std::ops::Range<usize> {
        let position = seq.len - seq.num_rows + row;
        let window = self.window.map_or(usize::MAX, |window| window as usize);
        (position + 1).saturating_sub(window)..position + 1
    }

    /// The first position of a sequence that any row attends.
    pub fn first_attended(&self, seq: Seq) -> usize {
        if seq.num_rows == 0 { seq.len } else { self.attended(seq, 0).start }
    }

    /// The step. Tables have two columns too many; what no row reads is the largest id.
    pub fn batch(&self) -> Batch {
        let mut ids: Vec<u32> = (0..self.num_blocks() as u32).collect();
        match self.first_block {
            Some(first) => drop(ids.drain(..first)),
            None => Rng::new(self.placement).shuffle(&mut ids),
        }
        let mut ids = ids.into_iter();
        let longest = self.seqs.iter().map(|seq| seq.len).max().unwrap_or(0);
        let max_num_blocks = longest.div_ceil(self.block_size) + 2;
        let mut batch = Batch { max_num_blocks, cu_seqlens_q: vec![0], ..Batch::default() };
        for &seq in &self.seqs {
            let num_rows = seq.num_rows as u32;
            batch.cu_seqlens_q.push(batch.cu_seqlens_q.last().unwrap() + num_rows);
            batch.seq_lens.push(seq.len as u32);
            let first_block = self.first_attended(seq) / self.block_size;
            for block in 0..max_num_blocks {
                let id =
                    if block * self.block_size < seq.len { ids.next().unwrap() } else { u32::MAX };
                batch.block_tables.push(if block < first_block { u32::MAX } else { id });
            }
            for row in 0..seq.num_rows {
                batch.positions.push((seq.len - seq.num_rows + row) as u32);
            }
        }
        batch.token_ids = vec![0; batch.positions.len()];
        batch.slot_mapping = vec![-1; batch.positions.len()];
        batch
    }
}
