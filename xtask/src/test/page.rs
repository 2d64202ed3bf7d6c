//! The page of `kvasir serve` as somebody uses it, in a headless Chromium.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::Options;
use super::served::Served;
use crate::chromium::Chromium;
use crate::context::Context;
use crate::{process, python};

/// The driver of the browser, and the package that it needs.
const FOLDER: &str = "tests/page";

/// What the server wants to be asked with: the page has a field for it.
const API_KEY: &str = "key-of-the-page";

/// Uses the page, and leaves pictures of it in the build folder.
pub fn check(context: &Context, _: &Options) -> Result<()> {
    let chromium = Chromium::ensure()?;
    let folder = context.root.join(FOLDER);
    let pins = folder.join("requirements.txt");
    let pins = fs::read_to_string(&pins).with_context(|| format!("no {}", pins.display()))?;
    let bin = python::environment(&context.target_dir.join("page-venv"), &pins)?;
    let pictures = context.target_dir.join("page");
    fs::create_dir_all(&pictures)?;
    let server = Served::start(context, 2048, &["--api-key", API_KEY].map(OsStr::new))?;
    let mut user = Command::new(bin.join("python"));
    user.arg(folder.join("browser.py")).args([server.url.as_str(), API_KEY]);
    user.args([&chromium.browser, &chromium.driver]).arg(&pictures);
    process::run(user.env("PYTHONDONTWRITEBYTECODE", "1"))
}
