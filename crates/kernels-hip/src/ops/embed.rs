//! `embed`.

use engine_core::dtype::DType;

use super::{WORKGROUP_SIZE, count, format_name, plain};
use crate::buffer::Buffer;
use crate::device::Device;
use crate::launch::{Argument, Geometry};
use crate::module::Kernel;
use crate::result::Result;
use crate::stream::Stream;
use crate::variant::{Any, Variant};

const NAME: &str = "embed_v1_naive";

/// What there is.
pub(super) const VARIANTS: &[Variant<Any>] = &[plain("embed", NAME, "none")];

/// Rows of a table of 16-bit numbers, widened: [`engine_core::ops::Ops::embed`].
pub struct Embed {
    kernel: Kernel,
}

impl Embed {
    /// Loads `embed_v1_naive` for a table of `dtype`.
    ///
    /// # Errors
    ///
    /// If `dtype` has not 16 bits, or the build has none for this device; HIP's.
    pub fn new(device: &Device, dtype: DType) -> Result<Self> {
        let kernel = format!("{NAME}__{}", format_name(dtype)?);
        Ok(Embed { kernel: device.variant(NAME)?.kernel(&kernel)? })
    }

    /// out\[t\] = table\[token_ids\[t\]\] for `num_tokens` rows of `hidden_size`. Rows of tokens that the table does not have
    /// stay as they are.
    ///
    /// # Errors
    ///
    /// If a buffer is too short; HIP's.
    pub fn run(
        &self,
        stream: &Stream,
        out: &mut Buffer<f32>,
        table: &Buffer<u16>,
        token_ids: &Buffer<u32>,
        [num_tokens, hidden_size]: [usize; 2],
    ) -> Result<()> {
        out.check_at_least("out", num_tokens.saturating_mul(hidden_size))?;
        token_ids.check_at_least("token_ids", num_tokens)?;
        let vocab_size = count("vocab_size", table.len() / hidden_size.max(1))?;
        let hidden_size = count("hidden_size", hidden_size)?;
        let args = [
            Argument::output(out),
            Argument::input(table),
            Argument::input(token_ids),
            Argument::value(&vocab_size),
            Argument::value(&hidden_size),
        ];
        let geometry = Geometry::linear(count("num_tokens", num_tokens)?, WORKGROUP_SIZE);
        // SAFETY: work-groups are tokens, of which `out` and `token_ids` have enough, checked above; the kernel leaves out
        // token ids from `vocab_size` on, and the table has that many rows of `hidden_size`.
        unsafe { self.kernel.launch(stream, geometry, &args) }
    }
}
