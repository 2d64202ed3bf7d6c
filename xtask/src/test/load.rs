//! A load client that others wrote against a `kvasir serve` on the real model, and our own beside it. What it needs
//! takes gigabytes, PyTorch's for GPUs among them, so `--long` alone asks for it.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::served::Served;
use crate::context::Context;
use crate::{process, python};

/// The driver of the clients, and the package that it needs.
const FOLDER: &str = "tests/clients";

/// Loads a server, and compares what the clients counted with what it counted.
pub fn check(context: &Context) -> Result<()> {
    let folder = context.root.join(FOLDER);
    let pins = folder.join("load_requirements.txt");
    let pins = fs::read_to_string(&pins).with_context(|| format!("no {}", pins.display()))?;
    let bin = python::environment(&context.target_dir.join("load-venv"), &pins)?;
    let results = context.target_dir.join("load");
    fs::create_dir_all(&results)?;
    let server = Served::start(context, 2048, &[])?;
    let mut client = Command::new(bin.join("python"));
    client.arg(folder.join("load.py")).arg(&server.url);
    client.arg(context.target_dir.join("debug/kvasir")).arg(context.test_model()?).arg(&results);
    process::run(client.env("PYTHONDONTWRITEBYTECODE", "1"))
}
