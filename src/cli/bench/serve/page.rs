//! A run as a report.

use super::Served;
use super::args::ServeArgs;
use crate::cli::bench::load::metrics::{Metric, Summary};
use crate::cli::bench::report::{Axes, Line, Page, histogram, lines};
use crate::cli::error::CliError;

pub(super) fn page(args: &ServeArgs, served: &Served) -> Result<Page, CliError> {
    let measured = &served.measured;
    let mut page = Page::new(format!("Load on {} at {}", served.model, args.endpoint.base_url));
    let rate = |num: f64| format!("{:.2}", measured.rate(num));
    page.table(
        "Requests",
        ["", ""],
        vec![
            ["answered".to_owned(), measured.num_completed.to_string()],
            ["failed".to_owned(), measured.num_failed.to_string()],
            ["seconds".to_owned(), format!("{:.2}", measured.duration_s)],
            ["prompt tokens".to_owned(), measured.total_input.to_string()],
            ["answer tokens".to_owned(), measured.total_output.to_string()],
            ["requests a second".to_owned(), rate(measured.num_completed as f64)],
            ["answer tokens a second".to_owned(), rate(measured.total_output as f64)],
        ],
    );
    let time_row = |metric: Metric| {
        let summary = Summary::of(measured.times_s(metric), &[50.0, 90.0, 99.0]);
        let [p50, p90, p99] = [0, 1, 2].map(|i| format!("{:.1}", summary.percentiles_ms[i].1));
        let name = metric.title().to_owned();
        [name, format!("{:.1}", summary.mean_ms), format!("{:.1}", summary.std_ms), p50, p90, p99]
    };
    page.table(
        "Milliseconds",
        ["", "mean", "standard deviation", "median", "90 %", "99 %"],
        Metric::ALL.map(time_row).to_vec(),
    );
    for metric in [Metric::Ttft, Metric::Itl, Metric::E2el] {
        let times_ms: Vec<f64> = measured.times_s(metric).iter().map(|time| time * 1e3).collect();
        page.figure(metric.title(), histogram(&Axes::new("milliseconds", "times"), &times_ms))?;
    }
    let per_second = measured.pieces_per_s.iter().enumerate();
    let per_second = per_second.map(|(second, &num)| (second as f64, num as f64)).collect();
    let axes = Axes::new("seconds", "a second");
    page.figure(
        "Throughput over time",
        lines(&axes, &[Line::new("pieces of answers", per_second)]),
    )?;
    let mut by_start: Vec<(f64, f64)> = served
        .answers
        .iter()
        .filter(|answer| answer.is_success())
        .map(|answer| (answer.start_s, answer.ttft_s * 1e3))
        .collect();
    by_start.sort_by(|a, b| a.0.total_cmp(&b.0));
    page.figure(
        "Time to first token by when a request was sent",
        lines(&Axes::new("seconds", "milliseconds"), &[Line::new("request", by_start)]),
    )?;
    if let Some(memory) = &served.memory {
        page.memory(memory)?;
    }
    Ok(page)
}
