//! A `kvasir serve` on the real model, for programs that ask it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::rust::ALL_FEATURES;
use crate::context::Context;
use crate::process;

/// A server that ends with its use.
pub struct Served {
    process: Child,
    /// Where it is.
    pub url: String,
}

impl Served {
    /// Builds the command, and starts it for sequences of so many tokens, with these arguments besides.
    pub fn start(context: &Context, max_model_len: u32, args: &[&OsStr]) -> Result<Served> {
        // The build of the tests, whose binary it is: features chosen for it alone would be another build.
        let mut build = process::cargo(&context.root);
        build.args([
            "test",
            "--locked",
            "--workspace",
            ALL_FEATURES,
            "--test",
            "server",
            "--no-run",
        ]);
        process::run(&mut build)?;
        let mut command = Command::new(context.target_dir.join("debug/kvasir"));
        command.arg("serve").arg(context.test_model()?).args(["--port", "0"]);
        command.args(["--served-model-name", "smollm2"]);
        command.args(["--max-model-len", &max_model_len.to_string()]);
        command.args(args).stderr(Stdio::piped());
        let mut process = command.spawn().context("cannot start kvasir serve")?;
        let stderr = process.stderr.take().context("its standard error is piped")?;
        let mut lines = BufReader::new(stderr).lines();
        for line in lines.by_ref() {
            let line = line?;
            if let Some((_, url)) = line.split_once("listening on ") {
                let url = url.to_owned();
                // What it says later must not fill the pipe.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(Served { process, url });
            }
            println!("kvasir serve: {line}");
        }
        bail!("kvasir serve ended with {}", process.wait()?)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
