//! Parts of an object.

use std::io;
use std::ops::Range;

use bytes::Bytes;
use kv_store::chunk::ChunkShape;
use kv_store::record::{ALIGNMENT, ReadAt, TRAILER_BYTES, header_bytes};

/// The parts of a record that a reader of some layers needs, as they were fetched.
pub(crate) struct Pieces(Vec<(u64, Bytes)>);

impl Pieces {
    /// Header, layers and trailer of a plain record of so many tokens.
    pub(crate) fn of_plain(
        shape: &ChunkShape,
        layers: &Range<usize>,
        num_tokens: usize,
    ) -> [Range<u64>; 3] {
        let header = header_bytes(shape.num_layers) as u64;
        let layer = shape.layer_bytes(num_tokens) as u64;
        let payload_end = header + u64::from(shape.num_layers) * layer;
        let end = (payload_end + TRAILER_BYTES as u64).next_multiple_of(ALIGNMENT as u64);
        [
            0..header,
            header + layers.start as u64 * layer..header + layers.end as u64 * layer,
            end - TRAILER_BYTES as u64..end,
        ]
    }

    /// `None` where a part is not as long as it was asked for.
    pub(crate) fn new(ranges: &[Range<u64>], pieces: Vec<Bytes>) -> Option<Self> {
        let is_whole = |(range, piece): (&Range<u64>, &Bytes)| {
            (range.end - range.start == piece.len() as u64).then(|| (range.start, piece.clone()))
        };
        let found: Option<Vec<_>> = ranges.iter().zip(&pieces).map(is_whole).collect();
        found.filter(|found| found.len() == ranges.len()).map(Pieces)
    }
}

impl ReadAt for Pieces {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let inside = self.0.iter().find_map(|(start, piece)| {
            let from = usize::try_from(offset.checked_sub(*start)?).ok()?;
            piece.get(from..).filter(|rest| !rest.is_empty())
        });
        let from = inside.ok_or(io::ErrorKind::NotFound)?;
        let num_bytes = from.len().min(out.len());
        out[..num_bytes].copy_from_slice(&from[..num_bytes]);
        Ok(num_bytes)
    }

    fn num_bytes(&self) -> io::Result<u64> {
        // What was asked for was there.
        Ok(u64::MAX)
    }
}
