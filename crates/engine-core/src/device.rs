//! What a backend owns: memory, the KV cache, and the step's batch on the device.

use alloc::string::String;
use alloc::vec::Vec;

use crate::batch::Batch;
use crate::dtype::DType;
use crate::formats::Fp8Flavour;
use crate::kv_dtype::KvDType;
use crate::kv_run::KvRun;
use crate::kv_scales::KvScales;

/// Shape of the paged KV cache. One K and one V pool per layer; the order of elements inside a
/// kv_block is the device's own, written down once in its `KvLayout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvCacheShape {
    /// Decoder layers.
    pub num_layers: usize,
    /// kv_blocks in the pool.
    pub num_blocks: usize,
    /// Token slots of one kv_block.
    pub block_size: usize,
    /// Key and value heads.
    pub num_kv_heads: usize,
    /// Elements of one head.
    pub head_dim: usize,
    /// Storage format.
    pub dtype: KvDType,
}

impl KvCacheShape {
    /// Bytes of one kv_block over all layers, K and V together.
    pub const fn block_bytes(&self) -> u64 {
        2 * self.num_layers as u64
            * self.block_size as u64
            * self.num_kv_heads as u64
            * self.head_dim as u64
            * self.dtype.size_bytes() as u64
    }

    /// Fails unless `scales` has the cache's layers and heads: for backends, ahead of
    /// [`Device::alloc_kv_cache`].
    ///
    /// # Errors
    /// [`OpError::Shape`] names what does not fit.
    pub fn check_scales(&self, scales: &KvScales) -> Result<(), OpError> {
        let op = "alloc_kv_cache";
        for (what, found, expected) in [
            ("layers of the KV scales", scales.num_layers(), self.num_layers),
            ("heads of the KV scales", scales.num_kv_heads(), self.num_kv_heads),
        ] {
            if found != expected {
                return Err(OpError::Shape { op, what, found, expected });
            }
        }
        Ok(())
    }

    /// Fails unless a transfer of the kv_blocks `block_ids` to or from `num_bytes` bytes of host
    /// memory is possible: for backends, ahead of [`Device::read_kv_blocks`] and
    /// [`Device::write_kv_blocks`].
    ///
    /// # Errors
    /// [`OpError::Shape`] names what does not fit.
    pub fn check_transfer(
        &self,
        op: &'static str,
        block_ids: &[u32],
        num_bytes: usize,
    ) -> Result<(), OpError> {
        let bytes = (block_ids.len() as u64).saturating_mul(self.block_bytes());
        let expected = usize::try_from(bytes).unwrap_or(usize::MAX);
        if num_bytes != expected {
            return Err(OpError::Shape {
                op,
                what: "bytes on the host",
                found: num_bytes,
                expected,
            });
        }
        let (what, expected) = ("block id", self.num_blocks.saturating_sub(1));
        match block_ids.iter().map(|&id| id as usize).find(|&id| id >= self.num_blocks) {
            Some(found) => Err(OpError::Shape { op, what, found, expected }),
            None => Ok(()),
        }
    }
}

/// Memory, transfers and synchronisation of one backend.
pub trait Device {
    /// A typed device array. Activations are f32 unless [`Device::alloc_act`] made them.
    type Buffer;
    /// The paged KV cache.
    type KvCache;
    /// A [`Batch`] as the device's kernels read it.
    type Batch: Default;

    /// What computes, for logs: backend, ISA path, threads.
    fn name(&self) -> String;

    /// The numerics id: two runs with equal ids give equal bits. Backend, ISA path, compute dtype
    /// and reduction classes; never thread count or block size.
    fn numerics_id(&self) -> String;

    /// The format of weights and matrix inputs.
    fn compute_dtype(&self) -> DType;

    /// Bytes that an element of a weight matrix takes.
    fn weight_size_bytes(&self) -> usize {
        self.compute_dtype().size_bytes()
    }

    /// Bytes that an element of [`Device::alloc_act`]'s arrays takes: more than the format's where
    /// kernels read rounded numbers in f32.
    fn act_size_bytes(&self) -> usize {
        self.compute_dtype().size_bytes()
    }

    /// The flavour of FP8 that the device has in hardware, or else that files have.
    fn fp8_flavour(&self) -> Fp8Flavour;

    /// An f32 array of `len` elements; contents unspecified.
    ///
    /// # Errors
    /// [`OpError::OutOfMemory`].
    fn alloc(&mut self, len: usize) -> Result<Self::Buffer, OpError>;

    /// An array of `len` matrix inputs, which holds values rounded to [`Device::compute_dtype`];
    /// contents unspecified.
    ///
    /// # Errors
    /// [`OpError::OutOfMemory`].
    fn alloc_act(&mut self, len: usize) -> Result<Self::Buffer, OpError>;

    /// The KV pool; contents unspecified. Values are divided by `scales` when they are written,
    /// and multiplied when they are attended; 1 for formats that need none.
    ///
    /// # Errors
    /// [`OpError::OutOfMemory`]; [`OpError::Unsupported`] for a shape no kernel serves;
    /// [`OpError::Shape`] when `scales` are not of the cache's layers and heads.
    fn alloc_kv_cache(
        &mut self,
        shape: KvCacheShape,
        scales: &KvScales,
    ) -> Result<Self::KvCache, OpError>;

    /// Makes `batch` the device's, reusing the memory of `device_batch`.
    ///
    /// # Errors
    /// [`OpError::Shape`] when the batch contradicts itself; [`OpError::OutOfMemory`].
    fn upload_batch(
        &mut self,
        batch: &Batch,
        device_batch: &mut Self::Batch,
    ) -> Result<(), OpError>;

    /// Copies an f32 buffer's first `out.len()` elements to the host, after all work so far.
    ///
    /// # Errors
    /// [`OpError::Shape`] when the buffer is shorter; whatever earlier work failed with.
    fn read_f32(&mut self, buffer: &Self::Buffer, out: &mut [f32]) -> Result<(), OpError>;

    /// Copies `data` to the start of an f32 buffer.
    ///
    /// # Errors
    /// [`OpError::Shape`] when the buffer is shorter.
    fn write_f32(&mut self, data: &[f32], buffer: &mut Self::Buffer) -> Result<(), OpError>;

    /// Copies the first `out.len()` elements of a matrix-input buffer to the host, widened to f32,
    /// after all work so far. For tests and tools, not for speed.
    ///
    /// # Errors
    /// [`OpError::Shape`] when the buffer is shorter or [`Device::alloc`] made it.
    fn read_act(&mut self, buffer: &Self::Buffer, out: &mut [f32]) -> Result<(), OpError>;

    /// Copies `data` to the start of a matrix-input buffer, rounded to [`Device::compute_dtype`].
    /// For tests and tools, not for speed.
    ///
    /// # Errors
    /// [`OpError::Shape`] when the buffer is shorter or [`Device::alloc`] made it.
    fn write_act(&mut self, data: &[f32], buffer: &mut Self::Buffer) -> Result<(), OpError>;

    /// Reads the K and V vectors of one token slot and head, widened to f32: `[head_dim]` each.
    /// FP8 codes are widened as they are stored, not multiplied by their scale. For tests and tools, not for speed.
    ///
    /// # Errors
    /// [`OpError::Shape`] when the place is outside the cache.
    fn read_kv(
        &mut self,
        kv_cache: &Self::KvCache,
        layer_idx: usize,
        slot: usize,
        kv_head_idx: usize,
    ) -> Result<(Vec<f32>, Vec<f32>), OpError>;

    /// Copies the kv_blocks `block_ids`, K and V of all layers, to `out`, after all work so far:
    /// [`KvCacheShape::block_bytes`] for each, in the order of `block_ids`. The bytes of a kv_block
    /// are in the device's own order; they mean something to [`Device::write_kv_blocks`] alone, for
    /// a cache of the same shape and numerics id.
    ///
    /// # Errors
    /// [`OpError::Shape`] when `out` has another length or a kv_block is outside the cache;
    /// whatever earlier work failed with.
    fn read_kv_blocks(
        &mut self,
        kv_cache: &Self::KvCache,
        block_ids: &[u32],
        out: &mut [u8],
    ) -> Result<(), OpError>;

    /// Copies what [`Device::read_kv_blocks`] gave to the kv_blocks `block_ids`, bit for bit, what
    /// nobody has written included; ahead of all later work. Of a kv_block that is listed twice,
    /// the last copy stays.
    ///
    /// # Errors
    /// [`OpError::Shape`] when `data` has another length or a kv_block is outside the cache.
    fn write_kv_blocks(
        &mut self,
        kv_cache: &mut Self::KvCache,
        block_ids: &[u32],
        data: &[u8],
    ) -> Result<(), OpError>;

    /// Copies the keys and values of a run of tokens to `out` in the canonical form that
    /// [`kv_run`](crate::kv_run) defines, bit for bit, after all work so far.
    ///
    /// # Errors
    /// As [`KvRun::check`]; whatever earlier work failed with.
    fn read_kv_run(
        &mut self,
        kv_cache: &Self::KvCache,
        run: &KvRun<'_>,
        out: &mut [u8],
    ) -> Result<(), OpError>;

    /// Copies what [`Device::read_kv_run`] gave, on any device, to the slots of a run of tokens,
    /// bit for bit, and to no other; ahead of all later work.
    ///
    /// # Errors
    /// As [`KvRun::check`].
    fn write_kv_run(
        &mut self,
        kv_cache: &mut Self::KvCache,
        run: &KvRun<'_>,
        data: &[u8],
    ) -> Result<(), OpError>;
}

/// Why an operation was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpError {
    /// Arguments contradict each other: a bug of the caller.
    #[error("{op}: {what} is {found}, but must be {expected}")]
    Shape {
        /// The operation.
        op: &'static str,
        /// Which argument.
        what: &'static str,
        /// Its value.
        found: usize,
        /// The value that would fit.
        expected: usize,
    },
    /// No kernel of the backend takes this shape.
    #[error("{op}: no kernel takes {what}; try another --backend")]
    Unsupported {
        /// The operation.
        op: &'static str,
        /// The shape, in words.
        what: String,
    },
    /// The device failed at it, or at what it was given before.
    #[error("{op}: {what}")]
    Failed {
        /// The operation that was told.
        op: &'static str,
        /// What the device said.
        what: String,
    },
    /// The device has no room.
    #[error(
        "out of memory: {requested_bytes} bytes for {what}; lower --max-model-len or --max-num-seqs"
    )]
    OutOfMemory {
        /// What it was for.
        what: &'static str,
        /// How much it asked for.
        requested_bytes: u64,
    },
}
