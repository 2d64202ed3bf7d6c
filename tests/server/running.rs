//! A `kvasir serve` of its own for each test that wants one, and what to ask it with.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::Agent;
use ureq::http::Response;

use crate::golden_model::smollm2;
use crate::listening::listening_on;

/// Longest that anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A server on a free port; it is killed when it is dropped.
pub struct Running {
    process: Child,
    /// Lines of its standard error.
    said: Arc<Mutex<Vec<String>>>,
    url: String,
    agent: Agent,
}

/// An answer: status, headers, body.
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<String>,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    /// The answer to a request that must succeed.
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.json()
    }

    /// What is said of a request that must fail.
    pub fn refused(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        let error = self.json()["error"].clone();
        assert_eq!(error["code"], status, "{error}");
        error
    }
}

/// Serves SmolLM2 with these arguments besides.
pub fn serve(args: &[&str]) -> Running {
    serve_model(smollm2(), &[&["--max-model-len", "2048"], args].concat())
}

/// Serves `model` with these arguments besides.
pub fn serve_model(model: impl AsRef<OsStr>, args: &[&str]) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvasir"));
    command.arg("serve").arg(model).args(["--served-model-name", "smollm2", "--port", "0"]);
    command.args(args);
    let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let mut first = Vec::new();
    let url = loop {
        first.push(lines.next().expect("it says where it listens, or why not").unwrap());
        if let Some(url) = first.last().and_then(|line| listening_on(line)) {
            break url;
        }
    };
    // Whatever else it says must not fill the pipe.
    let said = Arc::new(Mutex::new(first));
    let kept = Arc::clone(&said);
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            kept.lock().unwrap().push(line);
        }
    });
    let agent = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        .build()
        .new_agent();
    Running { process, said, url, agent }
}

impl Running {
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Whether a thread of it has panicked.
    pub fn has_panicked(&self) -> bool {
        self.said().iter().any(|line| line.contains("panicked"))
    }

    /// The lines of its log so far.
    pub fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    pub fn get(&self, path: &str) -> Answer {
        read(self.agent.get(self.url(path)).call().unwrap())
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_text(path, &body.to_string())
    }

    pub fn post_text(&self, path: &str, body: &str) -> Answer {
        read(self.agent.post(self.url(path)).send(body).unwrap())
    }

    pub fn post_with_key(&self, path: &str, body: &Value, key: &str) -> Answer {
        self.post_with_header(path, body, ("Authorization", &format!("Bearer {key}")))
    }

    pub fn post_with_header(&self, path: &str, body: &Value, header: (&str, &str)) -> Answer {
        let request = self.agent.post(self.url(path)).header(header.0, header.1);
        read(request.send(body.to_string()).unwrap())
    }

    /// Which origin a browser is told that it may show the answer to.
    pub fn allowed_origin(&self, origin: &str) -> Option<String> {
        let request = self.agent.get(self.url("/v1/models")).header("Origin", origin);
        let response = request.call().unwrap();
        let allowed = response.headers().get("access-control-allow-origin")?;
        Some(allowed.to_str().unwrap().to_owned())
    }

    /// The chunks of a streamed answer, whose end must be marked.
    pub fn stream(&self, path: &str, body: &Value) -> Vec<Value> {
        let mut response = self.agent.post(self.url(path)).send(body.to_string()).unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        events(response.body_mut().as_reader())
    }

    /// The sum of the series of `/metrics` of this name.
    pub fn metric(&self, name: &str) -> f64 {
        self.metric_of(name, "")
    }

    /// The same of those with this label.
    pub fn metric_of(&self, name: &str, label: &str) -> f64 {
        let page = self.get("/metrics").body;
        let is_meant =
            |line: &&str| line.split(['{', ' ']).next() == Some(name) && line.contains(label);
        let values: Vec<f64> = page
            .lines()
            .filter(is_meant)
            .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
            .collect();
        assert!(!values.is_empty(), "no {name} {label} in\n{page}");
        values.iter().sum()
    }

    /// Waits until it is so.
    pub fn wait_until(&self, what: &str, mut is_so: impl FnMut(&Running) -> bool) {
        let start = Instant::now();
        while !is_so(self) {
            assert!(start.elapsed() < PATIENCE, "{what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks it to stop, as a service manager does.
    pub fn terminate(&self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "it does not stop");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn read(mut response: Response<ureq::Body>) -> Answer {
    let retry_after = response.headers().get("retry-after");
    Answer {
        status: response.status().as_u16(),
        retry_after: retry_after.map(|value| value.to_str().unwrap().to_owned()),
        body: response.body_mut().read_to_string().unwrap(),
    }
}

/// The data of server-sent events, up to the mark of the end.
pub fn events(stream: impl Read) -> Vec<Value> {
    let mut chunks = Vec::new();
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        let Some(data) = line.strip_prefix("data: ") else { continue };
        if data == "[DONE]" {
            return chunks;
        }
        chunks.push(serde_json::from_str(data).unwrap());
    }
    panic!("the stream ends without [DONE] after {chunks:?}");
}
