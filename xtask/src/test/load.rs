//! Large clients that others wrote against a `kvasir serve` on the real model: one that loads it, with our own beside
//! it, and one that scores texts. What they need takes gigabytes, PyTorch's for GPUs among them, so `--long` alone asks
//! for it.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::served::Served;
use crate::context::Context;
use crate::{process, python};

/// The drivers of the clients, and the packages that they need.
const FOLDER: &str = "tests/clients";

/// Loads a server, and compares what the clients counted with what it counted; then has it score texts.
pub fn check(context: &Context) -> Result<()> {
    let folder = context.root.join(FOLDER);
    let pins = folder.join("load_requirements.txt");
    let pins = fs::read_to_string(&pins).with_context(|| format!("no {}", pins.display()))?;
    let bin = python::environment(&context.target_dir.join("load-venv"), &pins)?;
    let results = context.target_dir.join("load");
    fs::create_dir_all(&results)?;
    let server = Served::start(context, 2048, &[])?;
    let client = |driver: &str| {
        let mut client = Command::new(bin.join("python"));
        client.env("PYTHONDONTWRITEBYTECODE", "1").arg(folder.join(driver)).arg(&server.url);
        client
    };
    let kvasir = context.target_dir.join("debug/kvasir");
    process::run(client("load.py").arg(kvasir).arg(context.test_model()?).arg(&results))?;
    // The directory that the load client has made of the model.
    process::run(client("score.py").arg(results.join("smollm2")).arg(&results))
}
