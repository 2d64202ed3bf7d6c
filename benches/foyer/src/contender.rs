//! What both caches are asked for.

/// A cache that chunks are put into and copied out of, by several threads at once. What fails, panics: a figure of
/// something else than the work would be none.
pub trait Contender: Sync {
    /// Keeps a chunk from the engine's pages; afterwards it can be had from where it is kept.
    fn put(&self, i: usize);

    /// A chunk's bytes into the engine's pages.
    fn get(&self, i: usize, out: &mut [u8]);

    /// Forgets a chunk.
    fn remove(&self, i: usize);
}
