//! Between the cache's own order of elements and the canonical one.

use engine_core::kv_run::{KvPiece, KvRun};

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
        let (layout, layer) = (&self.layout, &self.layers[run.layer_idx]);
        let (keys, _) = layer.k.as_slice::<u8>().as_chunks::<N>();
        let (values, _) = layer.v.as_slice::<u8>().as_chunks::<N>();
        for piece in run.pieces(&layout.shape, run.table_range(layout.shape.block_size)) {
            let (codes, _) = out[piece.k_bytes.clone()].as_chunks_mut::<N>();
            for (first, row) in rows(layout, &piece).zip(codes.chunks_mut(layout.shape.head_dim)) {
                for (place, group) in first.k_groups(layout).zip(row.chunks_mut(layout.k_group)) {
                    group.copy_from_slice(&keys[place..place + group.len()]);
                }
            }
            let (codes, _) = out[piece.v_bytes.clone()].as_chunks_mut::<N>();
            for (first, row) in rows(layout, &piece).zip(codes.chunks_mut(layout.shape.head_dim)) {
                let column = values[first.v(layout)..].iter().step_by(layout.v_group);
                row.iter_mut().zip(column).for_each(|(code, value)| *code = *value);
            }
        }
    }

    fn write_codes<const N: usize>(&mut self, run: &KvRun<'_>, data: &[u8]) {
        let (layout, layer) = (&self.layout, &mut self.layers[run.layer_idx]);
        let (keys, _) = layer.k.as_mut_slice::<u8>().as_chunks_mut::<N>();
        let (values, _) = layer.v.as_mut_slice::<u8>().as_chunks_mut::<N>();
        for piece in run.pieces(&layout.shape, run.table_range(layout.shape.block_size)) {
            let (codes, _) = data[piece.k_bytes.clone()].as_chunks::<N>();
            for (first, row) in rows(layout, &piece).zip(codes.chunks(layout.shape.head_dim)) {
                for (place, group) in first.k_groups(layout).zip(row.chunks(layout.k_group)) {
                    keys[place..place + group.len()].copy_from_slice(group);
                }
            }
            let (codes, _) = data[piece.v_bytes.clone()].as_chunks::<N>();
            for (first, row) in rows(layout, &piece).zip(codes.chunks(layout.shape.head_dim)) {
                let column = values[first.v(layout)..].iter_mut().step_by(layout.v_group);
                column.zip(row).for_each(|(value, code)| *value = *code);
            }
        }
    }
}

/// One head of a token in its pool.
struct Row {
    /// Where its kv_block begins.
    head_block: usize,
    slot: usize,
}

impl Row {
    /// Where each group of neighbouring K elements begins.
    fn k_groups(&self, layout: &KvLayout) -> impl Iterator<Item = usize> {
        let groups = (0..layout.shape.head_dim).step_by(layout.k_group);
        groups.map(|d| self.head_block + layout.k_offset(self.slot, d))
    }

    /// Where V begins; its elements are a group apart.
    fn v(&self, layout: &KvLayout) -> usize {
        self.head_block + layout.v_offset(self.slot, 0)
    }
}

/// The tokens of a piece.
fn rows(layout: &KvLayout, piece: &KvPiece) -> impl Iterator<Item = Row> {
    let head_block = layout.head_block(piece.block as usize, piece.kv_head_idx);
    piece.slots.clone().map(move |slot| Row { head_block, slot })
}
