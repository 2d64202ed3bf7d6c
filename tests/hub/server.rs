//! A hub in a thread: serves files from memory with ranges and validators, misbehaves on demand,
//! and remembers what it was asked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest, Sha256};

/// What the server has at one path.
#[derive(Clone, Default)]
pub struct Resource {
    pub body: Vec<u8>,
    pub etag: Option<String>,
    /// Answers every request with this status instead.
    pub status: Option<u16>,
    /// Answers so many requests with 503 first.
    pub unavailable: u32,
    /// Closes the connection after so many bytes, once per entry, first entry first.
    pub cuts: Vec<usize>,
    /// Answers ranges with the whole body.
    pub ignores_range: bool,
    /// Sends the client here.
    pub redirect: Option<String>,
    /// Announces another length than it sends.
    pub announced_len: Option<usize>,
    /// Becomes this after the first answer.
    pub then: Option<Box<Resource>>,
}

/// One request as it came, and how many body bytes went back.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub sent_bytes: usize,
}

#[derive(Default)]
struct State {
    resources: BTreeMap<String, Resource>,
    requests: Vec<Request>,
}

/// The server; it ends with the test's process.
pub struct FakeHub {
    state: Arc<Mutex<State>>,
    port: u16,
}

impl FakeHub {
    pub fn start() -> FakeHub {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("a bound socket").port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        FakeHub { state, port }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The same server under another host name.
    pub fn other_url(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    pub fn put(&self, path: &str, resource: Resource) {
        self.state.lock().unwrap().resources.insert(path.to_owned(), resource);
    }

    /// Puts a file of `org/model` at `main` (or the commit) with an ETag made of its content.
    pub fn put_file(&self, revision: &str, name: &str, body: &[u8]) {
        self.put(&file_path(revision, name), file(body));
    }

    pub fn put_listing(&self, revision: &str, json: &serde_json::Value) {
        self.put(
            &format!("/api/models/org/model/revision/{revision}?blobs=true"),
            Resource { body: json.to_string().into_bytes(), ..Resource::default() },
        );
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    /// The requests for one file of `org/model` at `main`.
    pub fn file_requests(&self, name: &str) -> Vec<Request> {
        let path = file_path("main", name);
        let requests = self.requests();
        requests.into_iter().filter(|r| r.path == path).collect()
    }

    pub fn forget_requests(&self) {
        self.state.lock().unwrap().requests.clear();
    }
}

pub fn file_path(revision: &str, name: &str) -> String {
    format!("/org/model/resolve/{revision}/{name}")
}

pub fn file(body: &[u8]) -> Resource {
    Resource {
        body: body.to_vec(),
        etag: Some(format!("\"{}\"", &sha256(body)[..16])),
        ..Resource::default()
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes without a pattern that a wrong offset could hide in.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn serve(stream: TcpStream, state: &Mutex<State>) {
    // A test that hangs would say nothing; one that fails does.
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok();
    let Some(mut request) = read_request(&stream) else {
        return;
    };
    let resource = {
        let mut state = state.lock().unwrap();
        let found = state.resources.get_mut(&request.path);
        found.map(take_turn)
    };
    let (head, body, promised) = answer(resource, &request);
    request.sent_bytes = body.len();
    state.lock().unwrap().requests.push(request);
    let mut stream = stream;
    let head = format!("HTTP/1.1 {head}Content-Length: {promised}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok();
    stream.write_all(&body).ok();
    stream.flush().ok();
}

/// The resource as it is for this request, and made ready for the next.
fn take_turn(resource: &mut Resource) -> Resource {
    let now = resource.clone();
    if let Some(then) = resource.then.take() {
        *resource = *then;
    } else if resource.unavailable > 0 {
        resource.unavailable -= 1;
    } else if !resource.cuts.is_empty() {
        resource.cuts.remove(0);
    }
    now
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let path = first.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line.ok()?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Some(Request { path, headers, sent_bytes: 0 })
}

/// Status line with headers, the body to send, and the length to promise.
fn answer(resource: Option<Resource>, request: &Request) -> (String, Vec<u8>, usize) {
    let Some(resource) = resource else {
        return ("404 Not Found\r\n".to_owned(), Vec::new(), 0);
    };
    if let Some(status) = resource.status {
        return (format!("{status} Refused\r\n"), Vec::new(), 0);
    }
    if resource.unavailable > 0 {
        return ("503 Unavailable\r\nRetry-After: 0\r\n".to_owned(), Vec::new(), 0);
    }
    if let Some(url) = resource.redirect {
        return (format!("302 Found\r\nLocation: {url}\r\n"), Vec::new(), 0);
    }
    let etag = resource.etag.as_deref();
    let etag_line = etag.map_or(String::new(), |etag| format!("ETag: {etag}\r\n"));
    let header = |name: &str| request.headers.get(name).map(String::as_str);
    if etag.is_some() && header("if-none-match") == etag {
        return (format!("304 Not Modified\r\n{etag_line}"), Vec::new(), 0);
    }
    let total = resource.body.len();
    let start: Option<usize> = header("range")
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok())
        .filter(|_| !resource.ignores_range)
        .filter(|_| header("if-range").is_none_or(|condition| Some(condition) == etag));
    let (head, mut body) = match start {
        Some(start) if start >= total => {
            return (format!("416 Range\r\nContent-Range: bytes */{total}\r\n"), Vec::new(), 0);
        }
        Some(start) => (
            format!(
                "206 Partial\r\n{etag_line}Content-Range: bytes {start}-{}/{total}\r\n",
                total - 1
            ),
            resource.body[start..].to_vec(),
        ),
        None => (format!("200 OK\r\n{etag_line}"), resource.body),
    };
    let promised = resource.announced_len.unwrap_or(body.len());
    if let Some(&cut) = resource.cuts.first() {
        body.truncate(cut);
    }
    (head, body, promised)
}
