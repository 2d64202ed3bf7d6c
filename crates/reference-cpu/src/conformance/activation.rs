//! The gated activation.

use engine_core::dtype::DType;
use engine_core::ops::{Ops, SiluMul};

use super::rig::Rig;
use super::{Failure, OpReport};
use crate::cases;
use crate::inputs::Rng;
use crate::{bounds, ops};

/// Over the dense layers' row counts and widths.
pub(super) fn silu_mul<O: Ops>(mut rig: Rig<O>) -> Result<OpReport, Failure> {
    let mut rng = Rng::new(0x5117);
    let dtype = rig.backend.compute_dtype();
    for case in cases::linear() {
        let (num_rows, width) = (case.num_rows, case.out_features);
        rig.begin(&(("num_rows", num_rows), ("width", width), case.inputs));
        let host = case.inputs.make(&mut rng, num_rows * 2 * width, DType::F32);
        let gate_up = rig.f32_buffer(&host)?;
        let mut out = rig.act_out(num_rows * width)?;
        let done =
            rig.backend.silu_mul(SiluMul { gate_up: &gate_up, num_rows, width, out: &mut out });
        rig.did(done)?;
        let mut want = vec![0.0; num_rows * width];
        ops::silu_mul(&host, width, &mut want);
        let got = rig.read_act(&out, num_rows * width)?;
        rig.check(dtype, &got, &want, &bounds::silu_mul(&host, width, &want))?;
    }
    Ok(rig.finish())
}
