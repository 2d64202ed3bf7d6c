//! Bounded file reading, and a barrier for panics of third-party code.

use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::error::TokenizerError;

/// Reads `path`, or gives `None` where there is no such file.
///
/// The size is checked before the file is read, and again while reading: a file can grow.
pub(super) fn read_bounded(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, TokenizerError> {
    let io_error = |source| TokenizerError::Io { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io_error(e)),
    };
    let too_large = |found| TokenizerError::TooLarge {
        what: path.display().to_string(),
        found,
        limit,
        unit: "bytes",
    };
    let size = file.metadata().map_err(io_error)?.len();
    if size > limit {
        return Err(too_large(size));
    }
    let mut bytes = Vec::with_capacity(size as usize);
    file.take(limit + 1).read_to_end(&mut bytes).map_err(io_error)?;
    if bytes.len() as u64 > limit {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(Some(bytes))
}

/// Runs code of the `tokenizers` crate on data from a file or a request.
///
/// What is known to make that crate panic is refused before it is called. This is the second line of
/// defence: a regular expression from a file that backtracks beyond Oniguruma's limit, for example, panics.
pub(super) fn guard<T>(
    call: impl FnOnce() -> Result<T, Box<dyn std::error::Error + Send + Sync>>,
) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|e| e.to_string()),
        Err(panic) => Err(panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
            .unwrap_or_else(|| "the tokenizer library gave up".to_owned())),
    }
}
