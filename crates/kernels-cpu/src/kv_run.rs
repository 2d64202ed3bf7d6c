//! Between the cache's own order of elements and the canonical one.

use engine_core::kv_run::{KvPiece, KvRun};

use crate::buffer::AlignedBuf;
use crate::kv_layout::{KvCache, KvLayout};

impl KvCache {
    /// Copies a run, which fits, to its canonical form.
    pub(crate) fn read_run(&self, run: &KvRun<'_>, out: &mut [u8]) {
        match self.layout.shape.dtype.size_bytes() {
            1 => self.read_codes::<1>(run, out),
            2 => self.read_codes::<2>(run, out),
            _ => self.read_codes::<4>(run, out),
        }
    }

    /// Copies the canonical form of a run, which fits, to its slots.
    pub(crate) fn write_run(&mut self, run: &KvRun<'_>, data: &[u8]) {
        match self.layout.shape.dtype.size_bytes() {
            1 => self.write_codes::<1>(run, data),
            2 => self.write_codes::<2>(run, data),
            _ => self.write_codes::<4>(run, data),
        }
    }

    fn read_codes<const N: usize>(&self, run: &KvRun<'_>, out: &mut [u8]) {
        let layer = &self.layers[run.layer_idx];
        let codes =
            |pool: &AlignedBuf, first: usize| (pool.as_slice::<u8>().as_chunks::<N>().0)[first];
        let shape = &self.layout.shape;
        for piece in run.pieces(shape, run.table_range(shape.block_size)) {
            let (keys, _) = out[piece.k_bytes.clone()].as_chunks_mut::<N>();
            let places = self::places(self.layout, &piece, KvLayout::k_offset);
            keys.iter_mut().zip(places).for_each(|(code, place)| *code = codes(&layer.k, place));
            let (values, _) = out[piece.v_bytes.clone()].as_chunks_mut::<N>();
            let places = self::places(self.layout, &piece, KvLayout::v_offset);
            values.iter_mut().zip(places).for_each(|(code, place)| *code = codes(&layer.v, place));
        }
    }

    fn write_codes<const N: usize>(&mut self, run: &KvRun<'_>, data: &[u8]) {
        let (layout, layer) = (self.layout, &mut self.layers[run.layer_idx]);
        let shape = &layout.shape;
        let (keys, _) = layer.k.as_mut_slice::<u8>().as_chunks_mut::<N>();
        let (values, _) = layer.v.as_mut_slice::<u8>().as_chunks_mut::<N>();
        for piece in run.pieces(shape, run.table_range(shape.block_size)) {
            let (codes, _) = data[piece.k_bytes.clone()].as_chunks::<N>();
            let places = self::places(layout, &piece, KvLayout::k_offset);
            places.zip(codes).for_each(|(place, code)| keys[place] = *code);
            let (codes, _) = data[piece.v_bytes.clone()].as_chunks::<N>();
            let places = self::places(layout, &piece, KvLayout::v_offset);
            places.zip(codes).for_each(|(place, code)| values[place] = *code);
        }
    }
}

/// Where the elements of a piece lie in their pool, token by token.
fn places(
    layout: KvLayout,
    piece: &KvPiece,
    offset: fn(&KvLayout, usize, usize) -> usize,
) -> impl Iterator<Item = usize> + use<> {
    let first = layout.head_block(piece.block as usize, piece.kv_head_idx);
    let dims = 0..layout.shape.head_dim;
    let slot_places = move |slot| dims.clone().map(move |d| first + offset(&layout, slot, d));
    piece.slots.clone().flat_map(slot_places)
}
