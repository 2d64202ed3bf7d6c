//! A report of a bench as one page of HTML: figures, pictures, and what they were measured on.

mod environment;
mod picture;

use minijinja::{Environment, Value, context};

use super::memory::MemoryUse;
use crate::cli::error::CliError;
pub(super) use picture::{Axes, Line, bars, histogram, lines};

/// The name tells minijinja to escape what is put in.
const TEMPLATE: (&str, &str) = ("report.html", include_str!("report.html"));

/// What is on the page.
#[derive(Debug)]
pub(super) struct Page {
    title: String,
    tables: Vec<Table>,
    figures: Vec<Figure>,
}

/// Rows below a head.
#[derive(Debug)]
struct Table {
    caption: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

#[derive(Debug)]
struct Figure {
    caption: String,
    svg: String,
}

impl Page {
    pub(super) fn new(title: impl Into<String>) -> Page {
        Page { title: title.into(), tables: Vec::new(), figures: Vec::new() }
    }

    /// `rows` below `head`.
    pub(super) fn table<const N: usize>(
        &mut self,
        caption: &str,
        head: [&str; N],
        rows: Vec<[String; N]>,
    ) {
        self.tables.push(Table {
            caption: caption.to_owned(),
            head: head.map(str::to_owned).to_vec(),
            rows: rows.into_iter().map(Vec::from).collect(),
        });
    }

    /// What one of this module's functions drew.
    pub(super) fn figure(
        &mut self,
        caption: &str,
        svg: Result<String, String>,
    ) -> Result<(), CliError> {
        let svg =
            svg.map_err(|error| CliError::internal(format!("cannot draw {caption}: {error}")))?;
        self.figures.push(Figure { caption: caption.to_owned(), svg });
        Ok(())
    }

    /// Memory over time, if there is any to tell of.
    pub(super) fn memory(&mut self, memory: &MemoryUse) -> Result<(), CliError> {
        let gigabytes = |bytes: u64| bytes as f64 / 1e9;
        let num_devices = memory.samples.iter().map(|sample| sample.device_bytes.len()).max();
        let of_host = |sample: &super::memory::MemorySample| {
            Some((sample.time_s, gigabytes(sample.host_bytes?)))
        };
        let mut found = vec![Line::new(
            "process, resident",
            memory.samples.iter().filter_map(of_host).collect(),
        )];
        for device in 0..num_devices.unwrap_or(0) {
            let of_device = |sample: &super::memory::MemorySample| {
                Some((sample.time_s, gigabytes(*sample.device_bytes.get(device)?)))
            };
            let points = memory.samples.iter().filter_map(of_device).collect();
            found.push(Line::new(format!("GPU {device}"), points));
        }
        found.retain(|line| !line.points.is_empty());
        if found.is_empty() {
            return Ok(());
        }
        self.figure("Memory over time", lines(&Axes::new("seconds", "GB"), &found))
    }

    /// The page, with what this machine is and how it was called.
    pub(super) fn html(&self) -> Result<String, CliError> {
        let mut templates = Environment::new();
        let failed = |error: minijinja::Error| CliError::internal(format!("{error:#}"));
        templates.add_template(TEMPLATE.0, TEMPLATE.1).map_err(failed)?;
        let template = templates.get_template(TEMPLATE.0).map_err(failed)?;
        let command = environment::command(std::env::args());
        template
            .render(context! {
                title => self.title.clone(),
                tables => self.tables.iter().map(Table::value).collect::<Vec<_>>(),
                figures => self.figures.iter().map(Figure::value).collect::<Vec<_>>(),
                command,
                environment => environment::of_this_machine(),
            })
            .map_err(failed)
    }
}

impl Table {
    fn value(&self) -> Value {
        context! {
            caption => self.caption.clone(),
            head => self.head.clone(),
            rows => self.rows.clone(),
        }
    }
}

impl Figure {
    fn value(&self) -> Value {
        context! { caption => self.caption.clone(), svg => Value::from_safe_string(self.svg.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_into_a_page_is_escaped() {
        let mut page = Page::new("<script>alert(1)</script>");
        page.table("a & b", ["<b>"], vec![["\"x\"".to_owned()]]);
        let html = page.html().unwrap();
        assert!(!html.contains("<script") && html.contains("&lt;script&gt;"), "{html}");
        assert!(html.contains("a &amp; b") && html.contains("&lt;b&gt;"), "{html}");
    }
}
