//! A model of any kind as a Hugging Face directory: weights, configuration, tokenizer, chat template.

use std::path::Path;

use engine_core::dtype::DType;

use crate::error::LlmError;
use crate::glue;
use crate::weights::convert::{ConvertProgress, to_hf_dir};
use crate::weights::{self, Model};

/// Writes `model` to `out_dir` with matrices in `dtype` (bfloat16 or float32).
///
/// # Errors
/// [`LlmError`]; files of the same names are never overwritten.
pub fn convert_to_hf_dir(
    model: &Model,
    out_dir: &Path,
    dtype: DType,
    progress: &mut dyn FnMut(ConvertProgress),
) -> Result<(), LlmError> {
    let tokenizer = glue::tokenizer(model)?;
    to_hf_dir(model, out_dir, dtype, progress)?;
    if let Some(tokenizer) = tokenizer {
        tokenizer.save(out_dir)?;
    }
    Ok(())
}

impl From<weights::convert::ConvertError> for LlmError {
    fn from(error: weights::convert::ConvertError) -> Self {
        LlmError::Convert(Box::new(error))
    }
}
