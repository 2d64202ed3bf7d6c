//! Attention over pages: `paged_attention` for decode rows, `prefill_attention` for chunks. Both serve any row; what
//! they compute stands in `kernels/include/attention_args.h`.

mod args;
mod mapping;
mod repack;
mod shape;
mod split;
mod work;

use std::collections::BTreeMap;
use std::sync::Arc;

use engine_core::dtype::DType;
use engine_core::ops::Cols;

use self::args::AttentionArgs;
use self::mapping::Mapping;
use self::repack::Pages;
pub use self::shape::AttentionShape;
pub(super) use self::shape::{MERGE, PAGED, PREFILL, REPACK};
use self::shape::{ONE_SHOT, SPLIT};
use self::split::{AttentionSplit, WAVES_PER_COMPUTE_UNIT, Workspace, partitions_per_workgroup};
use self::work::{AttentionWork, Heads, Limit, WorkLists};
use super::paged_batch::PagedBatch;
use super::{check_view, count};
use crate::buffer::Buffer;
use crate::device::Device;
use crate::kv_layout::{KvLayout, require_kernel_name};
use crate::launch::Argument;
use crate::module::{Kernel, Module};
use crate::result::{Error, Result};
use crate::stream::Stream;
use crate::variant::{Choices, Variant, choose};

/// One of the two ops, on a device.
pub struct Attention {
    device: Device,
    variants: &'static [Variant<AttentionShape>],
    source: Source,
    modules: BTreeMap<&'static str, Module>,
    kernels: BTreeMap<String, Kernel>,
    workspace: Workspace,
    work: WorkLists,
    pages: Pages,
    /// Instead of the cost model's choice.
    partitions_per_workgroup: Option<usize>,
}

/// Where code comes from.
enum Source {
    /// The build, by choice.
    Registry(Arc<Choices>),
    /// Someone who brought the code object of this variant.
    Given(&'static str),
}

/// What attention reads. Heads are adjacent in a row, elements in a head.
pub struct AttentionInputs<'a> {
    /// Queries as bits, `[num_tokens, num_qo_heads * head_dim]`, already rotated.
    pub q: Cols<&'a Buffer<u16>>,
    /// The format of queries and results.
    pub q_dtype: DType,
    /// Query heads.
    pub num_qo_heads: usize,
    /// One layer's keys, in `layout`'s order.
    pub k_pool: &'a Buffer<u8>,
    /// One layer's values.
    pub v_pool: &'a Buffer<u8>,
    /// The order of elements in pools.
    pub layout: &'a KvLayout,
    /// Each KV head's scale of keys.
    pub k_scales: &'a Buffer<f32>,
    /// Each KV head's scale of values.
    pub v_scales: &'a Buffer<f32>,
    /// FP8 only: the scales of keys and of values of every token slot and KV head, in [`KvLayout::token_scale`]'s order.
    pub token_scales: Option<[&'a Buffer<f32>; 2]>,
    /// The sequences.
    pub batch: &'a PagedBatch,
    /// Factor on the scores.
    pub scale: f32,
    /// Tokens that a row attends, itself included; `None`: all.
    pub window: Option<u32>,
    /// Scores x become cap * tanh(x / cap).
    pub soft_cap: Option<f32>,
    /// Each query head's slope of a bias linear in distance.
    pub alibi_slopes: Option<&'a Buffer<f32>>,
    /// Each query head's logit that takes weight and has no value.
    pub sinks: Option<&'a Buffer<f32>>,
}

/// What attention writes.
pub struct AttentionOutputs<'a> {
    /// Results as bits, `[num_tokens, num_qo_heads * head_dim]`.
    pub out: &'a mut Buffer<u16>,
    /// The logarithm of each row's and head's sum of exponentials, `[num_tokens, num_qo_heads]`.
    pub lse: Option<&'a mut Buffer<f32>>,
}

impl Attention {
    /// `paged_attention`, variants as `choices` has them.
    #[must_use]
    pub fn paged(device: &Device, choices: Arc<Choices>) -> Self {
        Self::new(device, PAGED, Source::Registry(choices))
    }

    /// `prefill_attention`, variants as `choices` has them.
    #[must_use]
    pub fn prefill(device: &Device, choices: Arc<Choices>) -> Self {
        Self::new(device, PREFILL, Source::Registry(choices))
    }

    /// The variant `name` of either op, of `attention_merge` or of `attention_repack`, with the code object `file` instead
    /// of the build's: for whoever compiled it another way.
    ///
    /// # Errors
    ///
    /// If there is no such variant, or the file is no code object; HIP's.
    pub fn from_code_object(device: &Device, name: &str, file: &[u8]) -> Result<Self> {
        let tables = [PAGED, PREFILL, MERGE, REPACK].into_iter();
        let mut rows = tables.flat_map(|table| table.iter().map(move |row| (table, row)));
        let (table, row) = rows.find(|(_, row)| row.name == name).ok_or_else(|| Error::Value {
            what: "the variant",
            allowed: "one of paged_attention, prefill_attention, attention_merge or attention_repack",
            found: name.to_owned(),
        })?;
        let mut attention = match row.op {
            op if op == MERGE[0].op => Self::new(device, PAGED, Source::Given(SPLIT)),
            op if op == REPACK[0].op => Self::new(device, PAGED, Source::Given(ONE_SHOT)),
            _ => Self::new(device, table, Source::Given(row.name)),
        };
        attention.modules.insert(row.name, device.module(file)?);
        Ok(attention)
    }

    fn new(device: &Device, variants: &'static [Variant<AttentionShape>], source: Source) -> Self {
        let device = device.clone();
        Attention {
            device,
            variants,
            source,
            modules: BTreeMap::new(),
            kernels: BTreeMap::new(),
            workspace: Workspace::default(),
            work: WorkLists::default(),
            pages: Pages::default(),
            partitions_per_workgroup: None,
        }
    }

    /// Variants that split sequences give a work-group this many partitions (or as much as that, of several sequences),
    /// instead of what the cost model says; results do not change. `None`: the model's.
    ///
    /// # Errors
    ///
    /// If it is 0.
    pub fn set_partitions_per_workgroup(&mut self, count: Option<usize>) -> Result<()> {
        if count == Some(0) {
            let (what, allowed) = ("partitions per work-group", "at least 1");
            return Err(Error::Value { what, allowed, found: "0".to_owned() });
        }
        self.partitions_per_workgroup = count;
        Ok(())
    }

    /// Deals the work of `batch` as that of the last batch was dealt, for every kind of layer that there was: layers of
    /// those kinds will not wait for a copy to the device.
    ///
    /// # Errors
    ///
    /// HIP's.
    pub fn prepare(&mut self, stream: &Stream, batch: &PagedBatch) -> Result<()> {
        self.work.prepare((&self.device, stream), batch.lens())
    }

    /// Attends every row of the batch.
    ///
    /// # Errors
    ///
    /// If no variant serves the shape, or a length, format or number does not fit; HIP's.
    pub fn run(
        &mut self,
        stream: &Stream,
        outputs: AttentionOutputs<'_>,
        inputs: &AttentionInputs<'_>,
    ) -> Result<()> {
        let shape = inputs.check(&outputs)?;
        let mut args = inputs.args(&outputs)?;
        let variant = self.variant(&shape)?;
        let mut work = AttentionWork::default();
        let mapping = match Mapping::of(variant) {
            Mapping::Split(_) => Mapping::Split(self.partitions(&shape, inputs)),
            Mapping::Work(_) => {
                let num_workgroups;
                (num_workgroups, work) = self.make_work(stream, &shape, inputs)?;
                Mapping::Work(num_workgroups)
            }
            mapping => mapping,
        };
        if mapping != Mapping::RowHead && !shape.has_even_blocks() {
            args = self.repack(stream, &shape, &args)?;
        }
        let kernel = self.kernel(variant, mapping.symbol(variant, &shape)?)?;
        let (num_tokens, num_seqs) = (inputs.batch.num_tokens(), inputs.batch.num_seqs());
        let geometry = mapping.geometry(&shape, num_tokens, num_seqs)?;
        let partitions = match mapping {
            Mapping::Split(partitions) => partitions,
            Mapping::Work(_) => 0,
            _ => {
                // SAFETY: a work-group reads and writes rows and heads of one sequence of the batch, of buffers that `check`
                // found to have that many; it follows the sequence's block table through entries of attended positions,
                // which `check` found to be kv_blocks of both pools, and reads scales of heads below the counts. What it
                // writes is borrowed mutably by `outputs`.
                return unsafe { kernel.launch(stream, geometry, &[Argument::value(&args)]) };
            }
        };
        let split = self.workspace.split(&self.device, &shape, num_tokens, partitions)?;
        let arguments = [Argument::value(&args), Argument::value(&split), Argument::value(&work)];
        let has_list = matches!(mapping, Mapping::Work(_));
        let arguments = if has_list { &arguments } else { &arguments[..2] };
        // SAFETY: as above; partial results go to places of rows, heads and partitions, for as many of which the workspace
        // has room. Items of a list are of this batch, and of a work-group that is launched. Later work on both is behind
        // this on the stream, or nobody's promise.
        unsafe { kernel.launch(stream, geometry, arguments) }?;
        self.merge(stream, &shape, &args, &split)
    }

    /// Copies what the batch attends to kv_blocks of another size, and gives the arguments to read them.
    fn repack(
        &mut self,
        stream: &Stream,
        shape: &AttentionShape,
        args: &AttentionArgs,
    ) -> Result<AttentionArgs> {
        let variant = self.helper(REPACK, shape)?;
        let bits = 8 * shape.kv_dtype.size_bytes();
        let kernel = self.kernel(variant, format!("{variant}__u{bits}"))?;
        let repack = self.pages.repack(&self.device, shape, args.num_seqs as usize)?;
        let geometry = repack.geometry(args)?;
        // SAFETY: a work-group reads tokens of a sequence that some row attends, through entries of its block table that
        // `check` found to be kv_blocks, and writes one kv_block and head of pages that have room for every sequence's.
        unsafe {
            kernel.launch(stream, geometry, &[Argument::value(args), Argument::value(&repack)])
        }?;
        Ok(repack.read_by(args))
    }

    /// The variant of an op that goes with attention.
    fn helper(
        &self,
        table: &'static [Variant<AttentionShape>],
        shape: &AttentionShape,
    ) -> Result<&'static str> {
        let arch = &self.device.info().arch;
        Ok(match &self.source {
            Source::Registry(choices) => choices.choose(table, arch, shape)?.name,
            Source::Given(_) => choose(table, arch, shape, None)?.name,
        })
    }

    /// Merges what a split wrote.
    fn merge(
        &mut self,
        stream: &Stream,
        shape: &AttentionShape,
        args: &AttentionArgs,
        split: &AttentionSplit,
    ) -> Result<()> {
        let variant = self.helper(MERGE, shape)?;
        let q = require_kernel_name(shape.q_dtype.into())?;
        let kernel = self.kernel(variant, format!("{variant}__{q}"))?;
        let geometry = Mapping::RowHead.geometry(shape, args.num_tokens as usize, 0)?;
        // SAFETY: a work-group reads the partial results of a row and head, of every partition that the row attends, which
        // the launch before wrote, and writes the row's results to buffers that `check` found to have room.
        unsafe { kernel.launch(stream, geometry, &[Argument::value(args), Argument::value(split)]) }
    }

    /// Partitions of a work-group.
    fn partitions(&self, shape: &AttentionShape, inputs: &AttentionInputs<'_>) -> usize {
        self.partitions_per_workgroup.unwrap_or_else(|| {
            let num_compute_units = self.device.info().num_compute_units as usize;
            partitions_per_workgroup(shape, inputs.batch.lens(), num_compute_units)
        })
    }

    /// Deals the batch's partitions to as many work-groups as the device runs at once.
    fn make_work(
        &mut self,
        stream: &Stream,
        shape: &AttentionShape,
        inputs: &AttentionInputs<'_>,
    ) -> Result<(usize, AttentionWork)> {
        let num_compute_units = self.device.info().num_compute_units as usize;
        let limit = match self.partitions_per_workgroup {
            Some(count) => Limit::Partitions(count),
            None => Limit::Workgroups(num_compute_units * WAVES_PER_COMPUTE_UNIT),
        };
        let AttentionShape { num_qo_heads, num_kv_heads, .. } = *shape;
        let window = inputs.window;
        let heads = Heads { group: num_qo_heads / num_kv_heads, num_kv_heads, window };
        self.work.make((&self.device, stream), (heads, limit), inputs.batch.lens())
    }

    fn variant(&self, shape: &AttentionShape) -> Result<&'static str> {
        match &self.source {
            Source::Registry(choices) => {
                let arch = &self.device.info().arch;
                Ok(choices.choose(self.variants, arch, shape)?.name)
            }
            Source::Given(name) => {
                Ok(choose(self.variants, &self.device.info().arch, shape, Some(name))?.name)
            }
        }
    }

    fn kernel(&mut self, variant: &'static str, symbol: String) -> Result<Kernel> {
        if let Some(kernel) = self.kernels.get(&symbol) {
            return Ok(kernel.clone());
        }
        if !self.modules.contains_key(variant) {
            self.modules.insert(variant, self.device.variant(variant)?);
        }
        let kernel = self.modules[variant].kernel(&symbol)?;
        self.kernels.insert(symbol, kernel.clone());
        Ok(kernel)
    }
}

impl AttentionInputs<'_> {
    /// The launch's shape, if everything that a kernel relies on holds.
    fn check(&self, outputs: &AttentionOutputs<'_>) -> Result<AttentionShape> {
        let layout = self.layout;
        let (num_kv_heads, head_dim, dtype) =
            (layout.num_kv_heads(), layout.head_dim(), layout.dtype());
        let refused = |what, allowed, found| Err(Error::Value { what, allowed, found });
        if self.num_qo_heads == 0 || !self.num_qo_heads.is_multiple_of(num_kv_heads) {
            let found = format!("{} for {num_kv_heads} KV heads", self.num_qo_heads);
            return refused("num_qo_heads", "a multiple of the KV heads", found);
        }
        if !self.scale.is_finite() {
            return refused("scale", "finite", self.scale.to_string());
        }
        if let Some(cap) = self.soft_cap.filter(|cap| !(*cap > 0.0 && cap.is_finite())) {
            return refused("soft_cap", "positive and finite", cap.to_string());
        }
        if self.window == Some(0) {
            return refused("window", "at least 1", "0".to_owned());
        }
        self.check_pools(dtype)?;
        let num_tokens = self.batch.num_tokens();
        let width = self.num_qo_heads.saturating_mul(head_dim);
        check_view("q", &self.q, num_tokens, width)?;
        outputs.out.check_at_least("out", num_tokens.saturating_mul(width))?;
        if let Some(lse) = &outputs.lse {
            lse.check_at_least("lse", num_tokens.saturating_mul(self.num_qo_heads))?;
        }
        for (what, per_head) in [("alibi_slopes", self.alibi_slopes), ("sinks", self.sinks)] {
            if let Some(per_head) = per_head {
                per_head.check_at_least(what, self.num_qo_heads)?;
            }
        }
        Ok(AttentionShape {
            q_dtype: self.q_dtype,
            kv_dtype: dtype,
            num_qo_heads: self.num_qo_heads,
            num_kv_heads,
            head_dim,
            block_size: layout.block_size(),
            has_token_scales: self.token_scales.is_some(),
            max_num_rows: self
                .batch
                .lens()
                .map(|(num_rows, _)| num_rows as usize)
                .max()
                .unwrap_or(0),
            max_seq_len: self.batch.lens().map(|(_, seq_len)| seq_len as usize).max().unwrap_or(0),
        })
    }

    /// Pools are whole kv_blocks, scales reach to their end, and block tables stay inside.
    fn check_pools(&self, dtype: engine_core::kv_dtype::KvDType) -> Result<()> {
        self.v_pool.check_len("the pool of values", self.k_pool.len())?;
        let block_bytes = self.layout.pool_bytes(1).unwrap_or(usize::MAX);
        if !self.k_pool.len().is_multiple_of(block_bytes) {
            let found = format!("{} bytes for kv_blocks of {block_bytes}", self.k_pool.len());
            let (what, allowed) = ("the pool of keys", "whole kv_blocks");
            return Err(Error::Value { what, allowed, found });
        }
        let num_blocks = self.k_pool.len() / block_bytes;
        self.k_scales.check_at_least("k_scales", self.layout.num_kv_heads())?;
        self.v_scales.check_at_least("v_scales", self.layout.num_kv_heads())?;
        for scales in self.token_scales.iter().flatten() {
            if dtype.fp8().is_none() {
                let (what, allowed) = ("the format of a cache with token scales", "FP8");
                return Err(Error::Value { what, allowed, found: dtype.to_string() });
            }
            scales.check_at_least("token_scales", self.layout.token_scale(num_blocks, 0, 0))?;
        }
        self.batch.check_blocks(self.layout.block_size(), num_blocks, self.window)
    }

    fn args(&self, outputs: &AttentionOutputs<'_>) -> Result<AttentionArgs> {
        let or_null = |buffer: Option<&Buffer<f32>>| buffer.map_or(0, Buffer::address);
        let [k_token_scales, v_token_scales] = match self.token_scales {
            Some([k, v]) => [Some(k), Some(v)],
            None => [None; 2],
        };
        Ok(AttentionArgs {
            q: self.q.buffer.address_of(self.q.first_col),
            out: outputs.out.address(),
            lse: or_null(outputs.lse.as_deref()),
            k_pool: self.k_pool.address(),
            v_pool: self.v_pool.address(),
            k_scales: self.k_scales.address(),
            v_scales: self.v_scales.address(),
            k_token_scales: or_null(k_token_scales),
            v_token_scales: or_null(v_token_scales),
            block_tables: self.batch.block_tables.address(),
            cu_seqlens_q: self.batch.cu_seqlens_q.address(),
            seq_lens: self.batch.seq_lens.address(),
            alibi_slopes: or_null(self.alibi_slopes),
            sinks: or_null(self.sinks),
            q_stride: self.q.stride as u64,
            num_tokens: count("num_tokens", self.batch.num_tokens())?,
            num_seqs: count("num_seqs", self.batch.num_seqs())?,
            num_qo_heads: count("num_qo_heads", self.num_qo_heads)?,
            num_kv_heads: count("num_kv_heads", self.layout.num_kv_heads())?,
            head_dim: count("head_dim", self.layout.head_dim())?,
            block_size: count("block_size", self.layout.block_size())?,
            max_num_blocks: count("max_num_blocks", self.batch.max_num_blocks())?,
            window: self.window.unwrap_or(0),
            scale: self.scale,
            soft_cap: self.soft_cap.unwrap_or(0.0),
        })
    }
}
