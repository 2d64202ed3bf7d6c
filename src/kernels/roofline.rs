//! A comparison as a picture: where each variant stands under the roofs of the MI300X.

use plotters::prelude::*;

use super::comparison::{Comparison, WorkloadReport};
use super::peaks::{ACHIEVABLE_TB_PER_S, BF16, FP8};

/// Pixels.
const SIZE: (u32, u32) = (960, 600);

/// One variant on one workload.
struct Place {
    /// FLOP for each byte past L2.
    intensity: f64,
    /// TFLOP/s by the upper and the lower bound of the time.
    between: (f64, f64),
    /// TFLOP/s on hardware.
    measured: Option<f64>,
}

/// An SVG picture: FLOP per byte against TFLOP/s, the roofs that are reached on an MI300X, and for each variant the range
/// that the model gives (a bar) and what was measured (a dot).
///
/// # Errors
///
/// Those of the drawing library, as text.
pub fn roofline(comparison: &Comparison) -> Result<String, String> {
    let mut svg = String::new();
    draw(comparison, &mut svg).map_err(|error| error.to_string())?;
    Ok(svg)
}

fn draw(comparison: &Comparison, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let title = format!("{} on an MI300X: model, and hardware where there is one", comparison.op);
    let (x, y) = (0.05..4000.0, 0.01..2000.0);
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(60)
        .build_cartesian_2d(x.clone().log_scale(), y.log_scale())?;
    chart.configure_mesh().x_desc("FLOP per byte past L2").y_desc("TFLOP/s").draw()?;
    for (name, peaks, color) in [("bf16", BF16, BLACK), ("fp8", FP8, RGBColor(130, 130, 130))] {
        let top = peaks.achievable_tflops;
        let ridge = top / ACHIEVABLE_TB_PER_S;
        let roof = [(x.start, x.start * ACHIEVABLE_TB_PER_S), (ridge, top), (x.end, top)];
        chart
            .draw_series(LineSeries::new(roof, color.stroke_width(2)))?
            .label(format!("{ACHIEVABLE_TB_PER_S} TB/s, {top} TFLOP/s {name}: what is reached"))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color));
    }
    for (index, variant) in comparison.variants.iter().enumerate() {
        let color = Palette99::pick(index).to_rgba();
        let places: Vec<Place> = variant.workloads.iter().filter_map(place).collect();
        let bars = places.iter().map(|place| {
            let (slow, fast) = place.between;
            PathElement::new(
                [(place.intensity, slow), (place.intensity, fast)],
                color.stroke_width(5),
            )
        });
        chart
            .draw_series(bars)?
            .label(variant.variant)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(5)));
        let dots = places.iter().filter_map(|place| {
            Some(Circle::new((place.intensity, place.measured?), 5, color.filled()))
        });
        chart.draw_series(dots)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    area.present()?;
    drop(chart);
    Ok(())
}

fn place(workload: &WorkloadReport) -> Option<Place> {
    let flops = workload.flops as f64;
    let measured = workload.measured.as_ref().map(|measured| measured.tflop_per_s);
    let (bytes, between) = match &workload.emulated {
        Some(emulated) => {
            let rate = |us: f64| flops / us / 1e6;
            let model = &emulated.model;
            (emulated.memory_bytes, (rate(model.upper_us), rate(model.lower_us)))
        }
        None => (workload.min_bytes, (measured?, measured?)),
    };
    Some(Place { intensity: flops / bytes.max(1) as f64, between, measured })
}
