//! `--list`: the kernels of a code object.

use std::io::Write;

use anyhow::Result;
use code_object::{CodeObject, Kernel, KernelMetadata, ValueKind};

use crate::object::find;

/// Prints all kernels, or the one named.
pub fn print(objects: &[CodeObject], only: Option<&str>, out: &mut impl Write) -> Result<()> {
    if let Some(name) = only {
        return print_kernel(find(objects, name)?.1, out);
    }
    for object in objects {
        let version = object.abi_version + 2;
        writeln!(out, "code object V{version} for {}", object.target)?;
        for kernel in &object.kernels {
            print_kernel(kernel, out)?;
        }
    }
    Ok(())
}

fn print_kernel(kernel: &Kernel, out: &mut impl Write) -> Result<()> {
    let descriptor = &kernel.descriptor;
    writeln!(out, "{}", kernel.name)?;
    writeln!(
        out,
        "  {} bytes of LDS, {} bytes of scratch per lane, {} vector registers",
        descriptor.group_segment_fixed_size,
        descriptor.private_segment_fixed_size,
        descriptor.num_vgprs,
    )?;
    match &kernel.metadata {
        Some(metadata) => print_metadata(metadata, out),
        None => Ok(writeln!(out, "  no metadata: place arguments with --arg @OFFSET=SPEC")?),
    }
}

fn print_metadata(metadata: &KernelMetadata, out: &mut impl Write) -> Result<()> {
    writeln!(
        out,
        "  {} VGPRs ({} spilled), {} AccVGPRs, {} SGPRs ({} spilled), up to {} work-items",
        metadata.vgpr_count - metadata.agpr_count.min(metadata.vgpr_count),
        metadata.vgpr_spill_count,
        metadata.agpr_count,
        metadata.sgpr_count,
        metadata.sgpr_spill_count,
        metadata.max_flat_workgroup_size,
    )?;
    if let Some([x, y, z]) = metadata.reqd_workgroup_size {
        writeln!(out, "  work-groups of {x},{y},{z} only")?;
    }
    for (index, arg) in metadata.explicit_args().enumerate() {
        let what = match &arg.value_kind {
            ValueKind::GlobalBuffer => "pointer".to_owned(),
            ValueKind::ByValue => "value".to_owned(),
            kind => kind.to_string(),
        };
        let name = arg.name.as_deref().unwrap_or("");
        let line = format!("  arg {index}: {what}, {} bytes at {} {name}", arg.size, arg.offset);
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
