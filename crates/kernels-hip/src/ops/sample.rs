//! `sample`.

use std::mem::offset_of;

use bytemuck::{Pod, Zeroable};
use engine_core::limits::MAX_VOCAB_SIZE;
use engine_core::request::SamplingParams;
use engine_core::sampling::SampleKey;

use super::{WORKGROUP_SIZE, count};
use crate::buffer::Buffer;
use crate::device::Device;
use crate::launch::{Argument, Geometry};
use crate::module::{Kernel, Module};
use crate::result::{Error, Result};
use crate::stream::Stream;
use crate::variant::{Any, Variant, everything};

const NAME: &str = "sample_v1_naive";

/// What there is.
pub(super) const VARIANTS: &[Variant<Any>] = &[Variant {
    op: "sample",
    name: NAME,
    reduction_class: "engine_core::sampling: integer units, groups of 64 in 16 lanes",
    supports: everything,
}];

/// How a row is sampled; the kernel's `SampleRow`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct SampleRow {
    seed: [u32; 2],
    stream: [u32; 2],
    position: u32,
    temperature: f32,
    top_p: f32,
    min_p: f32,
    /// 0: all.
    top_k: u32,
}

const _: () = assert!(
    size_of::<SampleRow>() == 36
        && offset_of!(SampleRow, stream) == 8
        && offset_of!(SampleRow, position) == 16
        && offset_of!(SampleRow, temperature) == 20
        && offset_of!(SampleRow, top_p) == 24
        && offset_of!(SampleRow, min_p) == 28
        && offset_of!(SampleRow, top_k) == 32
);

impl SampleRow {
    /// Temperature and filters of `params`, and the random numbers of `key` at `position`. What else `params` may say
    /// (biases, penalties, tokens that may not come) is done to the logits before.
    #[must_use]
    pub fn new(params: &SamplingParams, key: SampleKey, position: usize) -> Self {
        let (seed, stream) = key.words();
        SampleRow {
            seed,
            stream,
            // As on the host: a sequence has fewer positions.
            position: position as u32,
            temperature: params.temperature,
            top_p: params.top_p,
            min_p: params.min_p,
            top_k: u32::try_from(params.top_k).unwrap_or(0),
        }
    }
}

/// A token from each row of logits: the one that [`engine_core::sampling::sample`] picks.
pub struct Sample {
    kernel: Kernel,
}

impl Sample {
    /// In the place of a token, where the row's largest logit is not finite.
    pub const NONE: u32 = u32::MAX;

    /// Loads `sample_v1_naive`.
    ///
    /// # Errors
    ///
    /// If the build has none for this device; HIP's.
    pub fn new(device: &Device) -> Result<Self> {
        Self::from_module(&device.variant(NAME)?)
    }

    /// As [`Sample::new`], of a code object from elsewhere.
    ///
    /// # Errors
    ///
    /// If it has no such kernel; HIP's.
    pub fn from_code_object(device: &Device, code_object: &[u8]) -> Result<Self> {
        Self::from_module(&device.module(code_object)?)
    }

    fn from_module(module: &Module) -> Result<Self> {
        Ok(Sample { kernel: module.kernel(NAME)? })
    }

    /// `tokens` has an element for each of `rows`; `logits` as many whole rows, and `weights`, whose contents are lost, as
    /// many elements. A row without a finite largest logit gets [`Sample::NONE`].
    ///
    /// # Errors
    ///
    /// If a length does not fit, or a row is longer than the sums are wide; HIP's.
    pub fn run(
        &self,
        stream: &Stream,
        tokens: &mut Buffer<u32>,
        weights: &mut Buffer<f32>,
        logits: &Buffer<f32>,
        rows: &Buffer<SampleRow>,
    ) -> Result<()> {
        let num_rows = rows.len();
        tokens.check_len("tokens", num_rows)?;
        weights.check_len("weights", logits.len())?;
        let num_logits = logits.len() / num_rows.max(1);
        let is_whole = num_logits * num_rows == logits.len();
        if !is_whole || num_logits > MAX_VOCAB_SIZE {
            return Err(Error::Value {
                what: "the number of logits",
                allowed: "whole rows of at most 2^22, one for each of rows",
                found: format!("{} for {num_rows} rows", logits.len()),
            });
        }
        let stride = num_logits as u64;
        let num_logits = count("the number of logits", num_logits)?;
        let args = [
            Argument::output(tokens),
            Argument::output(weights),
            Argument::input(logits),
            Argument::input(rows),
            Argument::value(&stride),
            Argument::value(&num_logits),
        ];
        let geometry = Geometry::linear(count("the number of rows", num_rows)?, WORKGROUP_SIZE);
        // SAFETY: the kernel touches rows below the number of work-groups, as many as `tokens` and `rows` have, and of each
        // `num_logits` elements of `logits` and `weights`, which is what they have.
        unsafe { self.kernel.launch(stream, geometry, &args) }
    }
}
