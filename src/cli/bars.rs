//! Progress on stderr: bars on a terminal, plain lines elsewhere.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::sync::LazyLock;
use std::time::Duration;

use engine::hub::Progress;
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};

/// All that are shown.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Writes to stderr with no bar in the way.
pub(crate) fn beside<T>(write: impl FnOnce() -> T) -> T {
    BARS.suspend(write)
}

/// A bar for each file that is fetched.
#[derive(Debug)]
pub(crate) struct DownloadBars {
    bar: RefCell<Option<ProgressBar>>,
    is_terminal: bool,
}

impl DownloadBars {
    pub(crate) fn new() -> DownloadBars {
        DownloadBars { bar: RefCell::new(None), is_terminal: std::io::stderr().is_terminal() }
    }
}

impl Progress for DownloadBars {
    fn start(&self, file: &str, total_bytes: Option<u64>) {
        if !self.is_terminal {
            match total_bytes {
                Some(total) => eprintln!("fetching {file} ({})", HumanBytes(total)),
                None => eprintln!("fetching {file}"),
            }
            return;
        }
        let bar = match total_bytes {
            Some(total) => ProgressBar::new(total)
                .with_style(style("{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}")),
            None => ProgressBar::new_spinner().with_style(style("{spinner} {msg} {bytes}")),
        };
        let bar = BARS.add(bar);
        bar.set_message(file.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        *self.bar.borrow_mut() = Some(bar);
    }

    fn position(&self, bytes: u64) {
        if let Some(bar) = &*self.bar.borrow() {
            bar.set_position(bytes);
        }
    }

    fn finish(&self) {
        if let Some(bar) = self.bar.borrow_mut().take() {
            bar.finish_and_clear();
        }
    }

    fn note(&self, message: &str) {
        beside(|| eprintln!("{message}"));
    }
}

/// A bar over `total` of something; silent unless stderr is a terminal.
pub(crate) fn counting(total: u64, what: &str) -> ProgressBar {
    let template = format!("{{bar:30}} {{pos}}/{{len}} {what} {{eta}}");
    BARS.add(ProgressBar::new(total)).with_style(style(&template))
}

/// A bar over bytes; silent unless stderr is a terminal.
pub(crate) fn bytes(what: &str) -> ProgressBar {
    BARS.add(ProgressBar::new(0))
        .with_style(style("{msg} {bar:30} {bytes}/{total_bytes} {eta}"))
        .with_message(what.to_owned())
}

/// Templates are constants of this file; a broken one falls back to a plain bar.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
