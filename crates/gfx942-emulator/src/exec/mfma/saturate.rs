//! What FP16_OVFL does to results (manual, table 28: "Clamp").

use super::fast::Pairing;
use super::instruction::Shape;
use super::operands::Panel;
use crate::exec::Lanes;

/// The infinite results that come from finite A, B and C become the largest finite number of their sign.
pub(super) fn floats<P: Pairing>(
    shape: Shape,
    a: &Panel,
    b: &Panel,
    pairing: P,
    c: &[Lanes],
    d: &mut [Lanes],
) {
    for tile in shape.tiles() {
        for (r, column) in (0..4).flat_map(|r| (0..shape.side).map(move |column| (r, column))) {
            let lane = tile.lane + column;
            let (c, d) =
                (f32::from_bits(c[tile.register + r][lane]), &mut d[tile.register + r][lane]);
            let row = tile.block * shape.side + tile.row + r;
            let column = tile.block * shape.side + column;
            let finite = c.is_finite()
                && a.by_depth().enumerate().all(|(k, a)| {
                    a[row].is_finite() && b.at(pairing.depth(row, k))[column].is_finite()
                });
            if finite && f32::from_bits(*d).is_infinite() {
                *d = f32::MAX.to_bits() | *d & 0x8000_0000;
            }
        }
    }
}

/// D = C + A × B in integers, clamped to 32 bits at the end.
pub(super) fn integers<P: Pairing>(
    shape: Shape,
    a: &Panel,
    b: &Panel,
    pairing: P,
    d: &mut [Lanes],
) {
    for tile in shape.tiles() {
        for (r, column) in (0..4).flat_map(|r| (0..shape.side).map(move |column| (r, column))) {
            let d = &mut d[tile.register + r][tile.lane + column];
            let row = tile.block * shape.side + tile.row + r;
            let column = tile.block * shape.side + column;
            let products = a
                .by_depth()
                .enumerate()
                .map(|(k, a)| (a[row] * b.at(pairing.depth(row, k))[column]) as i64);
            let sum = i64::from(*d as i32) + products.sum::<i64>();
            *d = sum.clamp(i32::MIN.into(), i32::MAX.into()) as i32 as u32;
        }
    }
}
