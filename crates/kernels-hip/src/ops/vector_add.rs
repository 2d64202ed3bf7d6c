//! `vector_add`: the smallest op.

use super::{WORKGROUP_SIZE, count};
use crate::buffer::Buffer;
use crate::device::Device;
use crate::launch::{Argument, Geometry};
use crate::module::Kernel;
use crate::result::Result;
use crate::stream::Stream;
use crate::variant::{Any, Variant, everything};

const NAME: &str = "vector_add_v1_naive";

/// What there is.
pub(super) const VARIANTS: &[Variant<Any>] = &[Variant {
    op: "vector_add",
    name: NAME,
    reduction_class: "none: no sum",
    supports: everything,
}];

/// out = a + b, f32, element by element.
pub struct VectorAdd {
    kernel: Kernel,
}

impl VectorAdd {
    /// Loads `vector_add_v1_naive`.
    ///
    /// # Errors
    ///
    /// If the build has none for this device; HIP's.
    pub fn new(device: &Device) -> Result<Self> {
        Ok(VectorAdd { kernel: device.variant(NAME)?.kernel(NAME)? })
    }

    /// All three have the same length.
    ///
    /// # Errors
    ///
    /// If they do not; HIP's.
    pub fn run(
        &self,
        stream: &Stream,
        out: &mut Buffer<f32>,
        a: &Buffer<f32>,
        b: &Buffer<f32>,
    ) -> Result<()> {
        let len = out.len();
        a.check_len("a", len)?;
        b.check_len("b", len)?;
        let workgroups = count("the number of work-groups", len.div_ceil(WORKGROUP_SIZE as usize))?;
        let geometry = Geometry::linear(workgroups, WORKGROUP_SIZE);
        let num_elements = len as u64;
        let args = [
            Argument::output(out),
            Argument::input(a),
            Argument::input(b),
            Argument::value(&num_elements),
        ];
        // SAFETY: the kernel touches elements below `len`, which all three buffers have.
        unsafe { self.kernel.launch(stream, geometry, &args) }
    }
}
