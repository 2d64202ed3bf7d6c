//! Clients that users have, against a `kvasir serve` on the real model.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::served::Served;
use super::{Options, load};
use crate::context::Context;
use crate::{process, python};

/// The clients and the packages that they need.
const FOLDER: &str = "tests/clients";

/// What the server is called with, and wants to be called with.
const API_KEY: &str = "key-of-the-clients";

/// What schemathesis looks at. Not whether all that the schema allows is accepted: fields depend on one another, and on
/// the model.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,negative_data_rejection,\
    unsupported_method,ignored_auth";

/// Runs every client.
pub fn check(context: &Context, options: &Options) -> Result<()> {
    let folder = context.root.join(FOLDER);
    let pins = folder.join("requirements.txt");
    let pins = fs::read_to_string(&pins).with_context(|| format!("no {}", pins.display()))?;
    let bin = python::environment(&context.target_dir.join("clients-venv"), &pins)?;
    // SmolLM2's own template has no place for tools.
    let template = folder.join("tools.jinja");
    let args = ["--api-key", API_KEY, "--chat-template"].map(OsStr::new);
    let args = [&args[..], &[template.as_os_str()]].concat();
    let server = Served::start(context, 2048, &args)?;
    let mut client = Command::new(bin.join("python"));
    client.arg(folder.join("openai_package.py")).args([server.url.as_str(), API_KEY]);
    client.env("PYTHONDONTWRITEBYTECODE", "1");
    process::run(&mut client)?;
    drop(server);
    // Short answers: what is searched for is in the questions.
    fuzz(context, &bin, &Served::start(context, 64, &args)?)?;
    if options.long { load::check(context) } else { Ok(()) }
}

/// Asks whatever the server's own description allows, and what it does not, and holds the answers against it.
fn fuzz(context: &Context, bin: &Path, server: &Served) -> Result<()> {
    let mut schemathesis = Command::new(bin.join("schemathesis"));
    schemathesis.arg("run").arg(format!("{}/openapi.json", server.url));
    schemathesis.arg("--header").arg(format!("Authorization: Bearer {API_KEY}"));
    schemathesis.args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing"]);
    schemathesis.args(["--max-examples", "25", "--generation-deterministic"]);
    schemathesis.args(["--no-shrink", "--request-timeout", "30"]);
    // Refused with 501, which is what it is.
    schemathesis.args(["--exclude-path", "/v1/embeddings", "--no-color"]);
    process::run(schemathesis.current_dir(&context.target_dir))
}
