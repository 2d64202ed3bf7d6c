//! A model of any kind as a Hugging Face directory: weights, configuration, tokenizer, chat template.

use std::fs;
use std::path::{Path, PathBuf};

use engine_core::dtype::DType;

use crate::error::LlmError;
use crate::glue;
use crate::weights::Model;
use crate::weights::convert::{ConvertError, ConvertProgress, to_hf_dir};

/// Files that make up a directory's tokenizer and chat template.
const TEXT_FILES: [&str; 4] =
    ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"];

/// Writes `model` to `out_dir` with matrices in `dtype` (bfloat16 or float32). The configuration
/// comes last: what is left of an interrupted conversion is no model.
///
/// # Errors
/// [`LlmError`]; files of the same names are never overwritten, and what was written is removed.
pub fn convert_to_hf_dir(
    model: &Model,
    out_dir: &Path,
    dtype: DType,
    progress: &mut dyn FnMut(ConvertProgress),
) -> Result<(), LlmError> {
    if let Some(path) = TEXT_FILES.map(|name| out_dir.join(name)).into_iter().find(|p| p.exists()) {
        return Err(ConvertError::Exists { path }.into());
    }
    let is_new = !out_dir.exists();
    let mut written = Vec::new();
    let done = write_text_files(model, out_dir, &mut written)
        .and_then(|()| Ok(to_hf_dir(model, out_dir, dtype, progress)?));
    if done.is_err() {
        // Half a model helps nobody; the first failure is the one to report.
        written.iter().for_each(|path| drop(fs::remove_file(path)));
        if is_new {
            let _ = fs::remove_dir(out_dir);
        }
    }
    done
}

/// A directory's own files as they are, or a GGUF file's vocabulary in their format.
fn write_text_files(
    model: &Model,
    out_dir: &Path,
    written: &mut Vec<PathBuf>,
) -> Result<(), LlmError> {
    let io_error = |path: &Path, source| ConvertError::Io { path: path.to_path_buf(), source };
    fs::create_dir_all(out_dir).map_err(|source| io_error(out_dir, source))?;
    if let Some(directory) = model.directory() {
        for name in TEXT_FILES {
            let (from, to) = (directory.join(name), out_dir.join(name));
            if from.exists() {
                written.push(to.clone());
                fs::copy(&from, &to).map_err(|source| io_error(&to, source))?;
            }
        }
    } else if let Some(tokenizer) = glue::tokenizer(model)? {
        written.extend(TEXT_FILES.map(|name| out_dir.join(name)));
        tokenizer.save(out_dir)?;
    }
    Ok(())
}

impl From<ConvertError> for LlmError {
    fn from(error: ConvertError) -> Self {
        LlmError::Convert(Box::new(error))
    }
}
