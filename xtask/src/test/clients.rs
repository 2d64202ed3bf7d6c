//! Clients that users have, against a `kvasir serve` on the real model.

use std::fs;
use std::io::{BufRead, BufReader};
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

/// Runs every client.
pub fn check(context: &Context, _: &Options) -> Result<()> {
    let folder = context.root.join(FOLDER);
    let pins = folder.join("requirements.txt");
    let pins = fs::read_to_string(&pins).with_context(|| format!("no {}", pins.display()))?;
    let bin = python::environment(&context.target_dir.join("clients-venv"), &pins)?;
    let server = Server::start(context)?;
    let mut client = Command::new(bin.join("python"));
    client.arg(folder.join("openai_package.py")).args([server.url.as_str(), API_KEY]);
    client.env("PYTHONDONTWRITEBYTECODE", "1");
    process::run(&mut client)
}

/// A server that ends with its use.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start(context: &Context) -> Result<Server> {
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
        command.args(["--served-model-name", "smollm2", "--max-model-len", "2048"]);
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
