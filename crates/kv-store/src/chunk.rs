//! The canonical bytes of a chunk: `[layer][kv_head][K, V][token][head_dim]`, raw storage codes of the KV
//! dtype, little endian, never converted.
//!
//! No engine's layout is in them. A range of layers is one range of bytes, so KV can be loaded layer by
//! layer; the heads of a tensor-parallel rank are one range of bytes in each layer, so what eight ranks
//! wrote, one, two or four can read.

use std::ops::Range;

/// Upper bound of a chunk's bytes and of each number of a shape: a header that says more is damaged.
pub const MAX_CHUNK_BYTES: u64 = 1 << 34;

/// K or V.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Keys.
    K,
    /// Values.
    V,
}

/// What all chunks of an identity have in common. A chunk has besides a number of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChunkShape {
    /// Layers with KV.
    pub num_layers: u32,
    /// KV heads of the whole model, not of one rank.
    pub num_kv_heads: u32,
    /// Elements of a head.
    pub head_dim: u32,
    /// Bytes of an element's storage code.
    pub element_bytes: u32,
}

/// A shape that no chunk can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// A dimension is zero.
    #[error("a KV chunk of shape {shape:?} has no bytes: every number must be at least 1")]
    Empty {
        /// The shape.
        shape: ChunkShape,
    },
    /// A chunk would be larger than a record may be.
    #[error(
        "a chunk of {num_tokens} tokens of shape {shape:?} has more than {MAX_CHUNK_BYTES} bytes: use a smaller chunk_size"
    )]
    TooLarge {
        /// The shape.
        shape: ChunkShape,
        /// Tokens of the chunk.
        num_tokens: u64,
    },
}

impl ChunkShape {
    /// Checks that chunks of up to `num_tokens` tokens can be made; the methods below need it.
    ///
    /// # Errors
    /// [`ShapeError`] with the shape.
    pub fn check(&self, num_tokens: u64) -> Result<(), ShapeError> {
        let factors = [self.num_layers, self.num_kv_heads, self.head_dim, self.element_bytes];
        if factors.contains(&0) || num_tokens == 0 {
            return Err(ShapeError::Empty { shape: *self });
        }
        let bytes = factors
            .iter()
            .try_fold(2u64, |product, &factor| product.checked_mul(u64::from(factor)))
            .and_then(|bytes| bytes.checked_mul(num_tokens));
        match bytes {
            Some(bytes) if bytes <= MAX_CHUNK_BYTES => Ok(()),
            _ => Err(ShapeError::TooLarge { shape: *self, num_tokens }),
        }
    }

    /// Bytes of one token's K or V of one head.
    pub fn row_bytes(&self) -> usize {
        self.head_dim as usize * self.element_bytes as usize
    }

    /// Bytes of K and V of one head of one layer.
    pub fn head_bytes(&self, num_tokens: usize) -> usize {
        2 * num_tokens * self.row_bytes()
    }

    /// Bytes of one layer.
    pub fn layer_bytes(&self, num_tokens: usize) -> usize {
        self.num_kv_heads as usize * self.head_bytes(num_tokens)
    }

    /// Bytes of a whole chunk.
    pub fn chunk_bytes(&self, num_tokens: usize) -> usize {
        self.num_layers as usize * self.layer_bytes(num_tokens)
    }

    /// Where a layer is in a chunk.
    pub fn layer_range(&self, layer: usize, num_tokens: usize) -> Range<usize> {
        self.layers_range(layer..layer + 1, num_tokens)
    }

    /// Where a range of layers is in a chunk.
    pub fn layers_range(&self, layers: Range<usize>, num_tokens: usize) -> Range<usize> {
        let layer = self.layer_bytes(num_tokens);
        layers.start * layer..layers.end * layer
    }

    /// Where a range of heads is in the bytes of one layer: the shard of a tensor-parallel rank.
    pub fn head_range(&self, heads: Range<usize>, num_tokens: usize) -> Range<usize> {
        let head = self.head_bytes(num_tokens);
        heads.start * head..heads.end * head
    }

    /// Where the rows `[token][head_dim]` of one side of a head are in the bytes of one layer.
    pub fn rows_range(&self, head: usize, side: Side, num_tokens: usize) -> Range<usize> {
        let rows = num_tokens * self.row_bytes();
        let start = 2 * head * rows + if side == Side::V { rows } else { 0 };
        start..start + rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: ChunkShape =
        ChunkShape { num_layers: 3, num_kv_heads: 4, head_dim: 8, element_bytes: 2 };

    #[test]
    fn ranges_tile_a_chunk_in_the_documented_order() {
        let n = 5;
        let mut next = 0;
        for layer in 0..3 {
            let at = SHAPE.layer_range(layer, n);
            assert_eq!(at.start, next);
            let mut in_layer = 0;
            for head in 0..4 {
                assert_eq!(SHAPE.head_range(head..head + 1, n).start, in_layer);
                for side in [Side::K, Side::V] {
                    let rows = SHAPE.rows_range(head, side, n);
                    assert_eq!(rows, in_layer..in_layer + n * 16);
                    in_layer = rows.end;
                }
            }
            assert_eq!(in_layer, at.len());
            next = at.end;
        }
        assert_eq!(next, SHAPE.chunk_bytes(n));
        assert_eq!(SHAPE.layers_range(1..3, n), SHAPE.layer_bytes(n)..SHAPE.chunk_bytes(n));
    }

    #[test]
    fn what_eight_ranks_wrote_any_number_of_ranks_reads() {
        let shape = ChunkShape { num_layers: 2, num_kv_heads: 8, head_dim: 4, element_bytes: 2 };
        let n = 3;
        let element =
            |layer: usize, head: usize, byte: usize| (layer * 97 + head * 31 + byte) as u8;
        let mut chunk = vec![0; shape.chunk_bytes(n)];
        for (layer, head) in (0..2).flat_map(|layer| (0..8).map(move |head| (layer, head))) {
            let shard = shape.head_range(head..head + 1, n);
            let layer_bytes = &mut chunk[shape.layer_range(layer, n)];
            for (byte, to) in layer_bytes[shard].iter_mut().enumerate() {
                *to = element(layer, head, byte);
            }
        }
        for num_ranks in [1, 2, 4, 8] {
            let per_rank = 8 / num_ranks;
            for (rank, layer) in (0..num_ranks).flat_map(|rank| (0..2).map(move |l| (rank, l))) {
                let heads = rank * per_rank..(rank + 1) * per_rank;
                let shard = &chunk[shape.layer_range(layer, n)][shape.head_range(heads.clone(), n)];
                let expected: Vec<u8> = heads
                    .flat_map(|h| (0..shape.head_bytes(n)).map(move |byte| element(layer, h, byte)))
                    .collect();
                assert_eq!(shard, expected);
            }
        }
    }

    #[test]
    fn impossible_shapes_are_refused() {
        assert!(SHAPE.check(256).is_ok());
        assert!(matches!(SHAPE.check(0), Err(ShapeError::Empty { .. })));
        let flat = ChunkShape { num_layers: 0, ..SHAPE };
        assert!(matches!(flat.check(1), Err(ShapeError::Empty { .. })));
        let huge = ChunkShape { num_layers: u32::MAX, num_kv_heads: u32::MAX, ..SHAPE };
        assert!(matches!(huge.check(u64::MAX), Err(ShapeError::TooLarge { .. })));
    }
}
