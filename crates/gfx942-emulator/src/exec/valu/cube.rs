//! Cube maps: the face that a direction hits, and where.

use super::call::Call;
use crate::exec::Trap;
use crate::isa::Op;

/// Executes them.
pub(super) fn execute(call: &mut Call<'_>) -> Result<(), Trap> {
    match call.op() {
        Op::v_cubeid_f32 => call.map3(|x, y, z| match axis(x, y, z) {
            Axis::Z => {
                if z < 0.0 {
                    5.0
                } else {
                    4.0
                }
            }
            Axis::Y => {
                if y < 0.0 {
                    3.0
                } else {
                    2.0
                }
            }
            Axis::X => {
                if x < 0.0 {
                    1.0f32
                } else {
                    0.0
                }
            }
        }),
        Op::v_cubesc_f32 => call.map3(|x, y, z| match axis(x, y, z) {
            Axis::Z => {
                if z < 0.0 {
                    -x
                } else {
                    x
                }
            }
            Axis::Y => x,
            Axis::X => {
                if x < 0.0 {
                    z
                } else {
                    -z
                }
            }
        }),
        Op::v_cubetc_f32 => call.map3(|x, y, z| match axis(x, y, z) {
            Axis::Y => {
                if y < 0.0 {
                    -z
                } else {
                    z
                }
            }
            _ => -y,
        }),
        Op::v_cubema_f32 => call.map3(|x, y, z| {
            2.0 * match axis(x, y, z) {
                Axis::Z => z,
                Axis::Y => y,
                Axis::X => x,
            }
        }),
        _ => call.unimplemented(),
    }
}

/// The major axis.
enum Axis {
    X,
    Y,
    Z,
}

fn axis(x: f32, y: f32, z: f32) -> Axis {
    if z.abs() >= x.abs() && z.abs() >= y.abs() {
        Axis::Z
    } else if y.abs() >= x.abs() {
        Axis::Y
    } else {
        Axis::X
    }
}
