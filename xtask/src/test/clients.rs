//! Clients that users have, against a `kvasir serve` on the real model.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::Options;
use super::rust::ALL_VARIANTS;
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
pub fn check(context: &Context, _: &Options) -> Result<()> {
    let folder = context.root.join(FOLDER);
    let pins = folder.join("requirements.txt");
    let pins = fs::read_to_string(&pins).with_context(|| format!("no {}", pins.display()))?;
    let bin = python::environment(&context.target_dir.join("clients-venv"), &pins)?;
    let server = Server::start(context, 2048)?;
    let mut client = Command::new(bin.join("python"));
    client.arg(folder.join("openai_package.py")).args([server.url.as_str(), API_KEY]);
    client.env("PYTHONDONTWRITEBYTECODE", "1");
    process::run(&mut client)?;
    drop(server);
    // Short answers: what is searched for is in the questions.
    fuzz(context, &bin, &Server::start(context, 64)?)
}

/// Asks whatever the server's own description allows, and what it does not, and holds the answers against it.
fn fuzz(context: &Context, bin: &Path, server: &Server) -> Result<()> {
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

/// A server that ends with its use.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start(context: &Context, max_model_len: u32) -> Result<Server> {
        // The build of the tests, whose binary it is: features chosen for it alone would be another build.
        let mut build = process::cargo(&context.root);
        build.args([
            "test",
            "--locked",
            "--workspace",
            ALL_VARIANTS,
            "--test",
            "server",
            "--no-run",
        ]);
        process::run(&mut build)?;
        let mut command = Command::new(context.target_dir.join("debug/kvasir"));
        command.arg("serve").arg(context.test_model()?).args(["--port", "0"]);
        command.args(["--served-model-name", "smollm2"]);
        command.args(["--max-model-len", &max_model_len.to_string()]);
        // SmolLM2's own template has no place for tools.
        command.arg("--chat-template").arg(context.root.join(FOLDER).join("tools.jinja"));
        command.args(["--api-key", API_KEY]).stderr(Stdio::piped());
        let mut process = command.spawn().context("cannot start kvasir serve")?;
        let stderr = process.stderr.take().context("its standard error is piped")?;
        let mut lines = BufReader::new(stderr).lines();
        for line in lines.by_ref() {
            let line = line?;
            if let Some((_, url)) = line.split_once("listening on ") {
                let url = url.to_owned();
                // What it says later must not fill the pipe.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(Server { process, url });
            }
            println!("kvasir serve: {line}");
        }
        bail!("kvasir serve ended with {}", process.wait()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
