//! `kvasir kernels list`.

use std::fmt::Write as _;

use clap::Args;
use code_object::{CodeObject, Kernel, Resources, WorkGroupShape};
use kernels_hip::registry::{self, CodeObjectRow};
use kernels_hip::variant::VariantInfo;
use serde::Serialize;

use crate::cli::error::CliError;
use crate::cli::output;

/// Lanes of a wave.
const WAVE_SIZE: u32 = 64;

/// `kvasir kernels list`.
#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// Only the variants of this op
    #[arg(long)]
    op: Option<String>,
    /// List every kernel of every variant
    #[arg(long)]
    kernels: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A variant, and what this build has of it.
#[derive(Serialize)]
struct Row {
    op: &'static str,
    variant: &'static str,
    reduction_class: &'static str,
    /// Whether it is taken only with --pin.
    by_pin_alone: bool,
    /// The Cargo feature of `kernels-hip` that adds it; v1 needs none.
    feature: Option<String>,
    code_objects: Vec<CodeObjectInfo>,
}

/// A variant compiled for one architecture.
#[derive(Serialize)]
struct CodeObjectInfo {
    arch: &'static str,
    num_bytes: usize,
    kernels: Vec<KernelInfo>,
}

#[derive(Serialize)]
struct KernelInfo {
    name: String,
    work_items: Option<u32>,
    #[serde(flatten)]
    resources: Resources,
}

pub(super) fn run(args: &ListArgs) -> Result<(), CliError> {
    let catalogue = kernels_hip::ops::catalogue();
    if let Some(op) = &args.op
        && !catalogue.iter().any(|row| row.op == op)
    {
        let mut ops: Vec<_> = catalogue.iter().map(|row| row.op).collect();
        ops.dedup();
        return Err(CliError::usage(format!("there is no op {op}"))
            .with_hint(format!("name one of {}", ops.join(", "))));
    }
    let wanted = catalogue.iter().filter(|row| args.op.as_ref().is_none_or(|op| op == row.op));
    let rows = wanted.map(row).collect::<Result<Vec<_>, _>>()?;
    if args.json { output::json(&rows) } else { output::text(&table(&rows, args.kernels)) }
}

fn row(info: &VariantInfo) -> Result<Row, CliError> {
    let compiled = registry::rows().iter().filter(|row| row.variant == info.name);
    let is_first = info.name[info.op.len()..].starts_with("_v1_");
    Ok(Row {
        op: info.op,
        variant: info.name,
        reduction_class: info.reduction_class,
        by_pin_alone: info.by_pin_alone,
        feature: (!is_first).then(|| info.name.replace('_', "-")),
        code_objects: compiled.map(code_object).collect::<Result<_, _>>()?,
    })
}

fn code_object(row: &CodeObjectRow) -> Result<CodeObjectInfo, CliError> {
    let object = CodeObject::parse(row.bytes).map_err(|e| CliError::from_internal_error(&e))?;
    let kernels = object.kernels.iter().map(kernel).collect();
    Ok(CodeObjectInfo { arch: row.arch, num_bytes: row.bytes.len(), kernels })
}

fn kernel(kernel: &Kernel) -> KernelInfo {
    let work_items = kernel.metadata.as_ref().map(|metadata| metadata.max_flat_workgroup_size);
    let waves_per_work_group = work_items.unwrap_or(WAVE_SIZE).div_ceil(WAVE_SIZE);
    let shape = WorkGroupShape { waves_per_work_group, dynamic_lds_bytes: 0 };
    let resources = Resources::of(kernel, &shape);
    KernelInfo { name: kernel.name.clone(), work_items, resources }
}

fn table(rows: &[Row], with_kernels: bool) -> String {
    let mut text = String::new();
    let mut op = "";
    for row in rows {
        if row.op != op {
            op = row.op;
            let _ = writeln!(text, "{op}");
        }
        let archs: Vec<_> = row.code_objects.iter().map(|object| object.arch).collect();
        let state = match &row.feature {
            _ if !archs.is_empty() => archs.join(", "),
            Some(feature) => format!("not built: feature {feature} is off"),
            None => "not built: there was no hipcc".to_owned(),
        };
        let pin = if row.by_pin_alone { ", by --pin alone" } else { "" };
        let _ = writeln!(text, "  {:<36} {state}{pin}", row.variant);
        let _ = writeln!(text, "  {:<36} class: {}", "", row.reduction_class);
        for object in &row.code_objects {
            let _ = writeln!(text, "  {:<36} {}", "", summary(object));
            if with_kernels {
                object.kernels.iter().for_each(|kernel| kernel_line(kernel, &mut text));
            }
        }
    }
    text
}

/// The most that any kernel of the variant needs.
fn summary(object: &CodeObjectInfo) -> String {
    let of = |get: fn(&Resources) -> Option<u32>| {
        object.kernels.iter().filter_map(move |kernel| get(&kernel.resources))
    };
    let most = |get| of(get).max().unwrap_or(0);
    format!(
        "{} kernels, up to {} VGPRs, {} AccVGPRs, {} SGPRs, {} bytes of LDS, {} spilled; {} or more waves per SIMD",
        object.kernels.len(),
        most(|resources| resources.vgprs),
        most(|resources| resources.agprs),
        most(|resources| resources.sgprs),
        most(|resources| Some(resources.lds_bytes)),
        most(|resources| Some(resources.vgpr_spills? + resources.sgpr_spills?)),
        of(|resources| Some(resources.waves_per_simd)).min().unwrap_or(0),
    )
}

fn kernel_line(kernel: &KernelInfo, text: &mut String) {
    let Resources { vgprs, agprs, sgprs, lds_bytes, waves_per_simd, .. } = kernel.resources;
    let [vgprs, agprs, sgprs] = [vgprs, agprs, sgprs].map(Option::unwrap_or_default);
    let _ = writeln!(
        text,
        "    {}: {vgprs} VGPRs, {agprs} AccVGPRs, {sgprs} SGPRs, {lds_bytes} bytes of LDS, {waves_per_simd} waves per SIMD",
        kernel.name
    );
}
