//! Pictures for a report: SVG without a background, black on nothing, so that the page can turn black to white.

use plotters::coord::Shift;
use plotters::prelude::*;

/// Pixels.
const SIZE: (u32, u32) = (900, 300);

const FONT: (&str, u32) = ("sans-serif", 13);

/// Bars of a histogram.
const NUM_BINS: usize = 40;

/// Colours that are seen on white and on black.
const COLORS: [RGBColor; 6] = [
    RGBColor(66, 133, 244),
    RGBColor(230, 120, 30),
    RGBColor(30, 160, 110),
    RGBColor(200, 80, 160),
    RGBColor(150, 130, 40),
    RGBColor(120, 110, 220),
];

type Drawn = Result<(), Box<dyn std::error::Error>>;

/// What the axes are of.
pub(crate) struct Axes<'a> {
    x: &'a str,
    y: &'a str,
}

/// Points of one thing, from left to right.
pub(crate) struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

impl<'a> Axes<'a> {
    pub(crate) fn new(x: &'a str, y: &'a str) -> Axes<'a> {
        Axes { x, y }
    }
}

impl Line {
    pub(crate) fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Line {
        Line { name: name.into(), points }
    }
}

/// How often values of each size come.
///
/// # Errors
/// Those of the drawing library, as text.
pub(crate) fn histogram(axes: &Axes<'_>, values: &[f64]) -> Result<String, String> {
    let (low, high) = bounds(values.iter().copied());
    let width = (high - low) / NUM_BINS as f64;
    let mut counts = [0_u32; NUM_BINS];
    for value in values.iter().filter(|value| value.is_finite()) {
        counts[(((value - low) / width) as usize).min(NUM_BINS - 1)] += 1;
    }
    let most = f64::from(counts.iter().copied().max().unwrap_or(0).max(1));
    svg(SIZE, |area| {
        let mut chart = chart(area).build_cartesian_2d(low..high, 0.0..most * 1.05)?;
        mesh(&mut chart, axes)?;
        let bar = |(index, count): (usize, &u32)| {
            let left = low + index as f64 * width;
            Rectangle::new([(left, 0.0), (left + width, f64::from(*count))], COLORS[0].filled())
        };
        let bars: Vec<_> =
            counts.iter().enumerate().filter(|(_, count)| **count > 0).map(bar).collect();
        chart.draw_series(bars)?;
        Ok(())
    })
}

/// Lines with a dot at each point; few enough points are dots.
///
/// # Errors
/// Those of the drawing library, as text.
pub(crate) fn lines(axes: &Axes<'_>, lines: &[Line]) -> Result<String, String> {
    let points = || lines.iter().flat_map(|line| line.points.iter());
    let (left, right) = bounds(points().map(|point| point.0));
    let (_, high) = bounds(points().map(|point| point.1));
    svg(SIZE, |area| {
        let mut chart = chart(area)
            .build_cartesian_2d(left..right, 0.0..(high * 1.05).max(f64::MIN_POSITIVE))?;
        mesh(&mut chart, axes)?;
        for (line, color) in lines.iter().zip(COLORS.iter().cycle()) {
            let color = *color;
            let series = LineSeries::new(line.points.iter().copied(), color.stroke_width(2));
            let series = series.point_size(if line.points.len() <= NUM_BINS { 3 } else { 0 });
            chart.draw_series(series)?.label(&line.name).legend(move |(x, y)| {
                PathElement::new([(x, y), (x + 14, y)], color.stroke_width(2))
            });
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .label_font(FONT)
            .draw()?;
        Ok(())
    })
}

/// A bar for each name, with a stroke from the least to the most that was measured: `(name, [least, median, most])`.
///
/// # Errors
/// Those of the drawing library, as text.
pub(crate) fn bars(unit: &str, rows: &[(String, [f64; 3])]) -> Result<String, String> {
    const ROW_PIXELS: u32 = 34;
    const LABEL_PIXELS: u32 = 300;
    let (_, high) = bounds(rows.iter().map(|row| row.1[2]));
    let num_rows = rows.len();
    svg((SIZE.0, ROW_PIXELS * num_rows as u32 + 60), |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .x_label_area_size(40)
            .y_label_area_size(LABEL_PIXELS)
            .build_cartesian_2d(0.0..high.max(f64::MIN_POSITIVE) * 1.05, 0.0..num_rows as f64)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .x_desc(unit)
            .x_label_style(FONT)
            .axis_desc_style(FONT)
            .bold_line_style(BLACK.mix(0.25))
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (index, (name, [least, median, most])) in rows.iter().enumerate() {
            let top = (num_rows - index) as f64;
            let middle = top - 0.5;
            chart.draw_series([Rectangle::new(
                [(0.0, top - 0.2), (*median, top - 0.8)],
                COLORS[0].filled(),
            )])?;
            chart.draw_series([PathElement::new(
                [(*least, middle), (*most, middle)],
                BLACK.stroke_width(2),
            )])?;
            let place = chart.backend_coord(&(0.0, middle));
            let style = TextStyle::from(FONT.into_font());
            area.draw_text(name, &style, (8, place.1 - FONT.1 as i32 / 2))?;
        }
        Ok(())
    })
}

/// Draws on an area of this size.
fn svg(
    size: (u32, u32),
    draw: impl FnOnce(&DrawingArea<SVGBackend<'_>, Shift>) -> Drawn,
) -> Result<String, String> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    let drawn = draw(&area).and_then(|()| Ok(area.present()?));
    drop(area);
    drawn.map_err(|error| error.to_string())?;
    Ok(svg)
}

fn chart<'a, 'b>(
    area: &'a DrawingArea<SVGBackend<'b>, Shift>,
) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut chart = ChartBuilder::on(area);
    chart.margin(8).x_label_area_size(40).y_label_area_size(64);
    chart
}

fn mesh<'a, DB: DrawingBackend + 'a>(
    chart: &mut ChartContext<
        'a,
        DB,
        Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
    >,
    axes: &Axes<'_>,
) -> Drawn
where
    DB::ErrorType: 'static,
{
    chart
        .configure_mesh()
        .x_desc(axes.x)
        .y_desc(axes.y)
        .label_style(FONT)
        .axis_desc_style(FONT)
        .bold_line_style(BLACK.mix(0.25))
        .light_line_style(TRANSPARENT)
        .draw()?;
    Ok(())
}

/// The least and the most, and some room if they are the same; 0 to 1 of none.
fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
    match () {
        () if low > high => (0.0, 1.0),
        () if high - low < f64::EPSILON * high.abs().max(1.0) => (low, low + low.abs().max(1e-3)),
        () => (low, high),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_picture_is_drawn_whatever_there_is_to_show() {
        let axes = Axes::new("ms", "requests");
        for values in [&[][..], &[0.0], &[5.0, 5.0], &[1.0, f64::NAN, 3.0, f64::INFINITY]] {
            let picture = histogram(&axes, values).unwrap();
            assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"));
            let points = values.iter().map(|&value| (value, value)).collect();
            assert!(lines(&axes, &[Line::new("a", points)]).unwrap().contains("</svg>"));
        }
        let rows = [("first".to_owned(), [1.0, 2.0, 3.0]), ("second".to_owned(), [0.0; 3])];
        let picture = bars("ms", &rows).unwrap();
        let at = |name: &str| picture.find(name).unwrap();
        assert!(at("first") < at("second"));
        assert!(bars("ms", &[]).is_ok());
    }
}
