//! A comparison as text: for a terminal, and as Markdown.

use std::fmt;

use super::comparison::{
    Comparison, Emulated, Issue, Measured, Spread, VariantReport, WorkloadReport,
};

/// A comparison for a terminal.
#[derive(Debug)]
pub struct Plain<'a>(pub &'a Comparison);

/// A comparison as a Markdown section.
#[derive(Debug)]
pub struct Markdown<'a>(pub &'a Comparison);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} on {}", self.0.op, self.0.device)?;
        for variant in &self.0.variants {
            writeln!(f, "\n{} (class: {})", variant.variant, variant.reduction_class)?;
            writeln!(f, "  {}", accuracy(variant))?;
            for workload in &variant.workloads {
                writeln!(f, "  {}", workload.workload)?;
                lines(workload).iter().try_for_each(|line| writeln!(f, "    {line}"))?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Markdown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## {} on {}\n", self.0.op, self.0.device)?;
        for variant in &self.0.variants {
            writeln!(
                f,
                "### `{}`\n\nReduction class: {}.",
                variant.variant, variant.reduction_class
            )?;
            writeln!(f, "{}.\n", accuracy(variant))?;
            for workload in &variant.workloads {
                writeln!(f, "- **{}**", workload.workload)?;
                lines(workload).iter().try_for_each(|line| writeln!(f, "  - {line}"))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn accuracy(variant: &VariantReport) -> String {
    let accuracy = &variant.accuracy;
    format!(
        "{} cases ({} refused), {} elements: at most {} ULP and {:.3} of the bound off, in {}",
        accuracy.num_cases,
        accuracy.num_refused,
        accuracy.num_elements,
        accuracy.max_ulp,
        accuracy.max_of_bound,
        accuracy.worst_case,
    )
}

fn lines(workload: &WorkloadReport) -> Vec<String> {
    if let Some(reason) = &workload.refused {
        return vec![format!("refused: {reason}")];
    }
    let emulated = workload.emulated.as_ref().map(emulated_lines).unwrap_or_default();
    emulated.into_iter().chain(workload.measured.as_ref().map(measured_line)).collect()
}

fn emulated_lines(emulated: &Emulated) -> Vec<String> {
    let mut lines: Vec<String> = emulated
        .launches
        .iter()
        .flat_map(|launch| {
            let (resources, counts) = (&launch.resources, &launch.instructions);
            let register = |count: Option<u32>| count.map_or("?".to_owned(), |n| n.to_string());
            [
                format!(
                    "emulated: {}: {} work-groups, {} VGPRs, {} AccVGPRs, {} SGPRs, {} spilled, {} bytes of LDS, {} waves per SIMD",
                    launch.kernel,
                    launch.work_groups,
                    register(resources.vgprs),
                    register(resources.agprs),
                    register(resources.sgprs),
                    register(resources.vgpr_spills.zip(resources.sgpr_spills).map(|(v, s)| v + s)),
                    resources.lds_bytes,
                    resources.waves_per_simd,
                ),
                format!(
                    "emulated: {} instructions: {} matrix, {} vector, {} transcendental, {} LDS, {} vector memory, {} scalar",
                    counts.total,
                    counts.matrix,
                    counts.vector + counts.packed,
                    counts.transcendental,
                    counts.lds,
                    counts.vector_memory,
                    counts.scalar + counts.scalar_memory,
                ),
                format!(
                    "emulated: cycles: {} matrix, {} vector, {} LDS ({} of them conflicts); at most {} bytes of loads in flight per CU",
                    launch.cycles.matrix,
                    launch.vector_cycles(),
                    launch.cycles.lds,
                    launch.cycles.lds_conflict,
                    launch.loads_in_flight.max_bytes_per_cu,
                ),
            ]
        })
        .collect();
    let Issue { per_2048, overlap_per_2048, .. } = emulated.issue;
    if let (Some(cycles), Some(overlap)) = (per_2048, overlap_per_2048) {
        lines.push(format!(
            "emulated: {cycles:.0} matrix and vector cycles for 2048 matrix ones; waves that take turns (ping-pong) can overlap {overlap:.0} of them",
        ));
    }
    let model = &emulated.model;
    lines.push(format!(
        "emulated: {} bytes past L2, {:.3} times the least; {} lines missed, and the least is {}",
        emulated.memory_bytes, emulated.over_fetch, emulated.l2_misses, emulated.min_l2_misses
    ));
    lines.push(format!(
        "model: {:.1} us (4.3 TB/s, all overlaps; {}) to {:.1} us (3.0 TB/s, nothing does; {})",
        model.lower_us, model.lower_limit, model.upper_us, model.upper_limit
    ));
    lines
}

/// What was measured, in a line that begins with whose clock it was.
#[must_use]
pub fn measured_line(measured: &Measured) -> String {
    let Spread { num_runs, median_us, p10_us, p90_us } = measured.spread;
    let parts = |parts: [Option<f64>; 2]| match parts {
        [Some(peak), Some(achievable)] => {
            format!(" ({:.1} % of peak, {:.1} % of achievable)", 100.0 * peak, 100.0 * achievable)
        }
        _ => String::new(),
    };
    format!(
        "{}: {median_us:.1} us ({p10_us:.1} to {p90_us:.1}, {num_runs} runs), {:.3} TB/s{}, {:.2} TFLOP/s{}",
        measured.clock.name(),
        measured.tb_per_s,
        parts([measured.of_peak_bandwidth, measured.of_achievable_bandwidth]),
        measured.tflop_per_s,
        parts([measured.of_peak_tflops, measured.of_achievable_tflops]),
    )
}
