//! Between the cache's own order of elements and the canonical one.
//!
//! In a kv_block and head, K is a matrix of groups of neighbouring head elements, `[group][slot]`, which a piece has
//! as `[slot][group]`; V is as a piece has it, or has pairs of slots interleaved. Both are loops over bytes of a
//! known number, so that no copy is a call. Where the processor can turn 16 slots at once, whole panels of 16 are written
//! past its caches ([`PlaceKv`]): of a long prompt nothing would stay there until it is read.

use std::ops::Range;

use engine_core::kv_run::KvRun;

use crate::kv_layout::{KvCache, KvLayout};
use crate::simd::{Kernels, LANES, PlaceKv};

impl KvCache {
    /// Copies a run, which fits, to its canonical form.
    pub(crate) fn read_run(&self, run: &KvRun<'_>, out: &mut [u8]) {
        let (layout, layer) = (&self.layout, &self.layers[run.layer_idx]);
        let (keys, values) = (layer.k.as_slice::<u8>(), layer.v.as_slice::<u8>());
        for piece in run.pieces(&layout.shape, run.table_range(layout.shape.block_size)) {
            let head = layout.head_block_bytes(piece.block as usize, piece.kv_head_idx);
            let slots = piece.slots;
            let rows = &mut out[piece.k_bytes];
            match layout.k_group_bytes() {
                1 => read_keys::<1>(layout, &keys[head.clone()], slots.clone(), rows),
                2 => read_keys::<2>(layout, &keys[head.clone()], slots.clone(), rows),
                _ => read_keys::<4>(layout, &keys[head.clone()], slots.clone(), rows),
            }
            let rows = &mut out[piece.v_bytes];
            match layout.shape.dtype.size_bytes() {
                1 => read_values::<1>(layout, &values[head], slots, rows),
                2 => read_values::<2>(layout, &values[head], slots, rows),
                _ => read_values::<4>(layout, &values[head], slots, rows),
            }
        }
    }

    /// Copies the canonical form of a run, which fits, to its slots.
    pub(crate) fn write_run(&mut self, kernels: &Kernels, run: &KvRun<'_>, data: &[u8]) {
        let (layout, layer) = (&self.layout, &mut self.layers[run.layer_idx]);
        let (keys, values) = (layer.k.as_mut_slice::<u8>(), layer.v.as_mut_slice::<u8>());
        for piece in run.pieces(&layout.shape, run.table_range(layout.shape.block_size)) {
            let head = layout.head_block_bytes(piece.block as usize, piece.kv_head_idx);
            let slots = piece.slots;
            let place = kernels.place_kv.filter(|_| are_panels(layout, &slots));
            let (to, rows) = (&mut keys[head.clone()], &data[piece.k_bytes]);
            match (layout.k_group_bytes(), place) {
                (1, _) => write_keys::<1>(layout, to, slots.clone(), rows),
                (2, _) => write_keys::<2>(layout, to, slots.clone(), rows),
                (_, None) => write_keys::<4>(layout, to, slots.clone(), rows),
                (_, Some(place)) => place_keys(place, layout, to, slots.clone(), rows),
            }
            let (to, rows) = (&mut values[head], &data[piece.v_bytes]);
            match (layout.shape.dtype.size_bytes(), place) {
                (1, _) => write_values::<1>(layout, to, slots, rows),
                (2, Some(place)) if layout.v_group == 2 => {
                    place_values(place, layout, to, slots, rows);
                }
                (2, _) => write_values::<2>(layout, to, slots, rows),
                _ => write_values::<4>(layout, to, slots, rows),
            }
        }
        if let Some(place) = kernels.place_kv {
            (place.finish)();
        }
    }
}

/// Whether [`PlaceKv`] can write these slots: whole lines, whole vectors.
fn are_panels(layout: &KvLayout, slots: &Range<usize>) -> bool {
    layout.shape.block_size.is_multiple_of(LANES)
        && layout.shape.head_dim.is_multiple_of(2 * LANES)
        && slots.start.is_multiple_of(LANES)
        && slots.len().is_multiple_of(LANES)
}

/// As [`write_keys`], for [`are_panels`].
fn place_keys(
    place: PlaceKv,
    layout: &KvLayout,
    head: &mut [u8],
    slots: Range<usize>,
    rows: &[u8],
) {
    let num_groups = layout.shape.head_dim / layout.k_group;
    let block_size = layout.shape.block_size;
    let (head, rows) = (head.as_chunks_mut::<4>().0, rows.as_chunks::<4>().0);
    for (slot, rows) in slots.step_by(LANES).zip(rows.chunks_exact(LANES * num_groups)) {
        // SAFETY: `kernels` exists, so the CPU has the features. The kv_block has `num_groups` lines of `block_size`
        // groups, and 16 slots of each from `slot` on; pools, kv_blocks and 16 groups of four bytes are whole lines.
        unsafe { (place.keys)(rows, num_groups, block_size, head.as_mut_ptr().add(slot)) };
    }
}

/// As [`write_values`] where pairs of slots are interleaved, for [`are_panels`].
fn place_values(
    place: PlaceKv,
    layout: &KvLayout,
    head: &mut [u8],
    slots: Range<usize>,
    rows: &[u8],
) {
    let head_dim = layout.shape.head_dim;
    let (head, rows) = (head.as_chunks_mut::<2>().0, rows.as_chunks::<2>().0);
    let pairs = head[slots.start * head_dim..].chunks_exact_mut(2 * head_dim);
    for (pair, rows) in pairs.zip(rows.chunks_exact(2 * head_dim)) {
        let (first, second) = rows.split_at(head_dim);
        // SAFETY: `kernels` exists, so the CPU has the features. `pair` has room for two rows, and begins a line, as a
        // multiple of 32 elements behind the begin of a pool does.
        unsafe { (place.values)(first, second, pair.as_mut_ptr()) };
    }
}

/// Keys of `slots` from a kv_block and head, whose groups have `G` bytes, token by token.
fn read_keys<const G: usize>(layout: &KvLayout, head: &[u8], slots: Range<usize>, rows: &mut [u8]) {
    let num_groups = layout.shape.head_dim / layout.k_group;
    let (head, rows) = (head.as_chunks::<G>().0, rows.as_chunks_mut::<G>().0);
    for (slot, row) in slots.zip(rows.chunks_exact_mut(num_groups)) {
        let column = head[slot..].iter().step_by(layout.shape.block_size);
        row.iter_mut().zip(column).for_each(|(to, from)| *to = *from);
    }
}

/// The other way: each line of the kv_block in one go, for what is written is dearer than what is read.
fn write_keys<const G: usize>(
    layout: &KvLayout,
    head: &mut [u8],
    slots: Range<usize>,
    rows: &[u8],
) {
    let num_groups = layout.shape.head_dim / layout.k_group;
    let (head, rows) = (head.as_chunks_mut::<G>().0, rows.as_chunks::<G>().0);
    for (group, line) in head.chunks_exact_mut(layout.shape.block_size).enumerate() {
        let column = rows[group..].iter().step_by(num_groups);
        line[slots.clone()].iter_mut().zip(column).for_each(|(to, from)| *to = *from);
    }
}

/// Values of `slots` from a kv_block and head, whose elements have `N` bytes, token by token.
fn read_values<const N: usize>(
    layout: &KvLayout,
    head: &[u8],
    slots: Range<usize>,
    rows: &mut [u8],
) {
    let head_dim = layout.shape.head_dim;
    let (head, rows) = (head.as_chunks::<N>().0, rows.as_chunks_mut::<N>().0);
    if layout.v_group == 1 {
        rows.copy_from_slice(&head[slots.start * head_dim..slots.end * head_dim]);
        return;
    }
    for (slot, row) in slots.zip(rows.chunks_exact_mut(head_dim)) {
        let column = head[layout.v_offset(slot, 0)..].iter().step_by(layout.v_group);
        row.iter_mut().zip(column).for_each(|(to, from)| *to = *from);
    }
}

/// The other way: whole pairs of slots at once, and alone what the piece has of a pair at its ends.
fn write_values<const N: usize>(
    layout: &KvLayout,
    head: &mut [u8],
    slots: Range<usize>,
    rows: &[u8],
) {
    let head_dim = layout.shape.head_dim;
    let (head, rows) = (head.as_chunks_mut::<N>().0, rows.as_chunks::<N>().0);
    if layout.v_group == 1 {
        head[slots.start * head_dim..slots.end * head_dim].copy_from_slice(rows);
        return;
    }
    let mut rows = rows.chunks_exact(head_dim);
    let mut slot = slots.start;
    while let Some(row) = rows.next() {
        let column = &mut head[layout.v_offset(slot, 0)..];
        let second = if slot.is_multiple_of(2) { rows.next() } else { None };
        slot += 1 + usize::from(second.is_some());
        match second {
            Some(second) => {
                let (pairs, _) = column.as_chunks_mut::<2>();
                let both = row.iter().zip(second);
                pairs.iter_mut().zip(both).for_each(|(pair, (a, b))| *pair = [*a, *b]);
            }
            None => column.iter_mut().step_by(2).zip(row).for_each(|(to, from)| *to = *from),
        }
    }
}
