//! Where memory goes, as a picture.

use plotters::prelude::*;

use super::Plan;

/// Pixels.
const SIZE: (u32, u32) = (900, 180);

/// An SVG bar of one device's memory: weights, activations, the KV of the asked sequences, what is free for more.
///
/// # Errors
///
/// Those of the drawing library, as text.
pub fn memory_picture(plan: &Plan) -> Result<String, String> {
    let mut svg = String::new();
    draw(plan, &mut svg).map_err(|error| error.to_string())?;
    Ok(svg)
}

fn draw(plan: &Plan, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let memory = &plan.memory;
    let gb = |bytes: u64| bytes as f64 / 1e9;
    let num_tokens = (plan.context as u64).saturating_mul(plan.batch as u64);
    let asked = plan.kv_bytes_per_token.saturating_mul(num_tokens) / plan.tp as u64;
    let used = asked.min(memory.kv_bytes);
    let parts = [
        ("weights", memory.weight_bytes),
        ("activations", memory.activation_bytes),
        ("KV of the asked sequences", used),
        ("KV of more", memory.kv_bytes - used),
    ];
    let total: u64 = parts.iter().map(|part| part.1).sum();
    let end = gb(plan.device.memory_bytes.max(total));
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let title = format!(
        "{} x {}: {} sequences of {} tokens",
        plan.tp, plan.device.name, plan.batch, plan.context
    );
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(36)
        .build_cartesian_2d(0.0..end, 0.0..1.0)?;
    chart.configure_mesh().disable_mesh().disable_y_axis().x_desc("GB of each device").draw()?;
    let mut start = 0.0;
    for (index, (name, bytes)) in parts.into_iter().enumerate() {
        let color = Palette99::pick(index).to_rgba();
        let next = start + gb(bytes);
        chart
            .draw_series([Rectangle::new([(start, 0.1), (next, 0.6)], color.filled())])?
            .label(format!("{name}: {:.1} GB", gb(bytes)))
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], color.filled()));
        start = next;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    area.present()?;
    drop(chart);
    Ok(())
}
