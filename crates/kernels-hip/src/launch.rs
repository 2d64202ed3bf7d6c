//! Launching a kernel with arguments that are checked against its own metadata.

use std::ffi::c_void;
use std::ptr;

use bytemuck::NoUninit;
use code_object::Dispatch;

use crate::buffer::Buffer;
use crate::module::Kernel;
use crate::result::{Error, Result, call};
use crate::stream::Stream;

/// How many work-items, in which groups.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    /// Work-groups of the grid.
    pub workgroups: [u32; 3],
    /// Work-items of a work-group.
    pub workgroup_size: [u32; 3],
    /// LDS on top of what the kernel needs by itself, bytes.
    pub dynamic_lds_bytes: u32,
}

impl Geometry {
    /// A row of work-groups.
    #[must_use]
    pub fn linear(workgroups: u32, workgroup_size: u32) -> Self {
        Geometry {
            workgroups: [workgroups, 1, 1],
            workgroup_size: [workgroup_size, 1, 1],
            dynamic_lds_bytes: 0,
        }
    }
}

/// An argument of a kernel.
pub struct Argument<'a> {
    kind: Kind<'a>,
}

enum Kind<'a> {
    Pointer(u64),
    Value(&'a [u8]),
}

impl<'a> Argument<'a> {
    /// A buffer that the kernel reads.
    #[must_use]
    pub fn input<T: bytemuck::Pod>(buffer: &'a Buffer<T>) -> Self {
        Argument { kind: Kind::Pointer(buffer.address()) }
    }

    /// A buffer that the kernel writes.
    #[must_use]
    pub fn output<T: bytemuck::Pod>(buffer: &'a mut Buffer<T>) -> Self {
        Argument { kind: Kind::Pointer(buffer.address()) }
    }

    /// A buffer from its element `first` on, which the kernel reads.
    #[must_use]
    pub fn input_from<T: bytemuck::Pod>(buffer: &'a Buffer<T>, first: usize) -> Self {
        Argument { kind: Kind::Pointer(buffer.address_of(first)) }
    }

    /// A buffer from its element `first` on, which the kernel writes.
    #[must_use]
    pub fn output_from<T: bytemuck::Pod>(buffer: &'a mut Buffer<T>, first: usize) -> Self {
        Argument { kind: Kind::Pointer(buffer.address_of(first)) }
    }

    /// A pointer to nothing, for what a kernel can do without.
    #[must_use]
    pub fn null() -> Self {
        Argument { kind: Kind::Pointer(0) }
    }

    /// A scalar or a struct.
    #[must_use]
    pub fn value<T: NoUninit>(value: &'a T) -> Self {
        Argument { kind: Kind::Value(bytemuck::bytes_of(value)) }
    }

    fn described(&self) -> code_object::Argument<'_> {
        match &self.kind {
            Kind::Pointer(address) => code_object::Argument::Pointer(*address),
            Kind::Value(bytes) => code_object::Argument::Value(bytes),
        }
    }

    /// Where the argument's bytes lie, for the time of a launch.
    fn bytes(&self) -> *mut c_void {
        match &self.kind {
            Kind::Pointer(address) => ptr::from_ref(address).cast_mut().cast(),
            Kind::Value(bytes) => bytes.as_ptr().cast_mut().cast(),
        }
    }
}

impl Kernel {
    /// Gives the kernel to `stream`. Arguments are checked against the code object: how many, how large, pointer or
    /// value; and the geometry against what the kernel was compiled for.
    ///
    /// # Errors
    ///
    /// If the check fails; HIP's.
    ///
    /// # Safety
    ///
    /// Every access that the kernel makes with these arguments and this geometry must lie inside the buffers given, which
    /// must have the element types that it reads and writes.
    pub unsafe fn launch(
        &self,
        stream: &Stream,
        geometry: Geometry,
        args: &[Argument<'_>],
    ) -> Result<()> {
        check(&self.description, geometry, args)?;
        let Geometry { workgroups, workgroup_size, dynamic_lds_bytes } = geometry;
        if workgroups.contains(&0) {
            return Ok(());
        }
        self.device().make_current()?;
        let mut params: Vec<*mut c_void> = args.iter().map(Argument::bytes).collect();
        // SAFETY: the function and the stream are live; `params` points to as many values as the kernel takes, each of its
        // size, checked above, and the runtime copies them before it returns. The kernel's accesses are the caller's.
        Ok(unsafe {
            call!(
                self.device().runtime(),
                hipModuleLaunchKernel(
                    self.function(),
                    workgroups[0],
                    workgroups[1],
                    workgroups[2],
                    workgroup_size[0],
                    workgroup_size[1],
                    workgroup_size[2],
                    dynamic_lds_bytes,
                    stream.handle(),
                    params.as_mut_ptr(),
                    ptr::null_mut(),
                )
            )
        }?)
    }
}

fn check(kernel: &code_object::Kernel, geometry: Geometry, args: &[Argument<'_>]) -> Result<()> {
    let dispatch = dispatch(kernel, geometry)?;
    let described: Vec<_> = args.iter().map(Argument::described).collect();
    kernel.kernarg(&described, &dispatch)?;
    Ok(())
}

/// The launch as the kernel sees it, if the kernel and HIP allow it.
fn dispatch(kernel: &code_object::Kernel, geometry: Geometry) -> Result<Dispatch> {
    let refused = |reason: String| Error::Geometry { kernel: kernel.name.clone(), reason };
    let Geometry { workgroups, workgroup_size, dynamic_lds_bytes } = geometry;
    let num_work_items = workgroup_size.iter().map(|&n| u64::from(n)).product::<u64>();
    if num_work_items == 0 {
        return Err(refused(format!("a work-group of {workgroup_size:?} has no work-item")));
    }
    if let Some(metadata) = &kernel.metadata {
        let max = metadata.max_flat_workgroup_size;
        if num_work_items > u64::from(max) {
            return Err(refused(format!(
                "{num_work_items} work-items in a work-group; it is compiled for {max}"
            )));
        }
        if let Some(required) = metadata.reqd_workgroup_size
            && required != workgroup_size
        {
            return Err(refused(format!(
                "a work-group of {workgroup_size:?}; it is compiled for {required:?}"
            )));
        }
    }
    let mut grid = [0; 3];
    for axis in 0..3 {
        let work_items = u64::from(workgroups[axis]) * u64::from(workgroup_size[axis]);
        // HIP counts the work-items of each axis in 32 bits.
        grid[axis] = u32::try_from(work_items).map_err(|_| {
            refused(format!("{work_items} work-items along axis {axis}; HIP allows 2^32 - 1"))
        })?;
    }
    Ok(Dispatch { grid, workgroup: workgroup_size, dynamic_lds_bytes, ..Dispatch::default() })
}

#[cfg(test)]
mod tests {
    use code_object::{CodeObject, KernargError};

    use super::*;
    use crate::registry;

    /// `vector_add(out, a, b, n: u64)`, as the compiler described it; nothing where there was no compiler.
    fn kernel() -> Option<code_object::Kernel> {
        hip_toolchain::for_tests()?;
        let row = registry::code_object("vector_add_v1_naive", "gfx942").unwrap();
        CodeObject::parse(row.bytes).unwrap().kernel("vector_add_v1_naive").cloned()
    }

    fn pointer() -> Argument<'static> {
        Argument { kind: Kind::Pointer(0x1000) }
    }

    #[test]
    fn arguments_must_be_the_kernels_own() {
        let Some(kernel) = kernel() else { return };
        let geometry = Geometry::linear(1, 256);
        let count = 5_u64;
        let good = [pointer(), pointer(), pointer(), Argument::value(&count)];
        check(&kernel, geometry, &good).unwrap();
        let error = |args: &[Argument<'_>]| match check(&kernel, geometry, args).unwrap_err() {
            Error::Arguments(error) => error,
            other => panic!("{other}"),
        };
        assert!(matches!(error(&good[..3]), KernargError::Count { expected: 4, found: 3, .. }));
        let narrow = [pointer(), pointer(), pointer(), Argument::value(&5_u32)];
        assert!(matches!(
            error(&narrow),
            KernargError::Size { index: 3, expected: 8, found: 4, .. }
        ));
        let value_for_pointer =
            [pointer(), Argument::value(&count), pointer(), Argument::value(&count)];
        assert!(matches!(error(&value_for_pointer), KernargError::Kind { index: 1, .. }));
        let pointer_for_value = [pointer(), pointer(), pointer(), pointer()];
        assert!(matches!(error(&pointer_for_value), KernargError::Kind { index: 3, .. }));
    }

    #[test]
    fn a_geometry_that_the_kernel_or_hip_does_not_allow_is_refused_with_the_numbers() {
        let Some(kernel) = kernel() else { return };
        let error = |geometry| dispatch(&kernel, geometry).unwrap_err().to_string();
        assert!(error(Geometry::linear(1, 257)).contains("257 work-items"));
        assert!(error(Geometry::linear(1, 0)).contains("no work-item"));
        assert!(error(Geometry::linear(1 << 24, 256)).contains("4294967296 work-items"));
        let whole = dispatch(&kernel, Geometry::linear(3, 256)).unwrap();
        assert_eq!((whole.grid, whole.workgroup), ([768, 1, 1], [256, 1, 1]));
    }
}
