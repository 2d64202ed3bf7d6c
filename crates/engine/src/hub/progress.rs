//! How a download tells of itself. The library is quiet; the command line draws bars.

/// Receives what a download does. Files come one after another.
pub trait Progress {
    /// A file begins; `total_bytes` if the size is known.
    fn start(&self, file: &str, total_bytes: Option<u64>);
    /// So much of the file is there, what an earlier attempt left included.
    fn position(&self, bytes: u64);
    /// The file is complete, or given up.
    fn finish(&self);
    /// Something that a waiting user wants to know.
    fn note(&self, message: &str);
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn start(&self, _file: &str, _total_bytes: Option<u64>) {}
    fn position(&self, _bytes: u64) {}
    fn finish(&self) {}
    fn note(&self, _message: &str) {}
}
