//! `GET /metrics`, and nothing else: a page of text, for which the standard library is enough.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Format, Gauge};

/// A request's line and headers; longer ones are refused.
const MAX_REQUEST_BYTES: u64 = 8 << 10;
/// A client that says nothing for so long is left.
const PATIENCE: Duration = Duration::from_secs(2);

/// No port to serve on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Someone else has it, or it may not be had.
    #[error("metrics cannot be served on port {port}: {error}; choose another with metrics_port")]
    Bind {
        /// The port.
        port: u16,
        /// The system's reason.
        error: io::Error,
    },
}

/// A thread that serves metrics until it is dropped.
pub struct MetricsServer {
    address: SocketAddr,
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl MetricsServer {
    /// Serves on a port of every interface; port 0 takes a free one.
    ///
    /// # Errors
    /// [`ServeError::Bind`].
    pub fn start(port: u16, gauge: Gauge) -> Result<Self, ServeError> {
        let bind = |error| ServeError::Bind { port, error };
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let is_stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&is_stopped);
        let thread = std::thread::Builder::new()
            .name("kv-store-metrics".to_owned())
            .spawn(move || serve(&listener, &stop, &gauge))
            .map_err(bind)?;
        Ok(MetricsServer { address, is_stopped, thread: Some(thread) })
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        self.is_stopped.store(true, Relaxed);
        // A visitor, so that the thread looks up.
        let visit = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port()));
        if let (Ok(_), Some(thread)) = (visit, self.thread.take()) {
            // A panic in it has been told.
            let _ = thread.join();
        }
    }
}

/// One after the other: a page takes microseconds, and who asks is a scraper.
fn serve(listener: &TcpListener, is_stopped: &AtomicBool, gauge: &Gauge) {
    while !is_stopped.load(Relaxed) {
        match listener.accept() {
            // A client that goes away is none.
            Ok((stream, _)) if !is_stopped.load(Relaxed) => drop(answer(stream, gauge)),
            Ok(_) => {}
            // Out of file descriptors, say: it passes, or not.
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn answer(stream: TcpStream, gauge: &Gauge) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = read(&stream);
    let (status, content_type, body) = match request {
        Ok(Request { is_get: false, .. }) => {
            ("405 Method Not Allowed", "text/plain", "only GET\n".to_owned())
        }
        Ok(Request { path, .. }) if path != "/metrics" => {
            ("404 Not Found", "text/plain", "only /metrics\n".to_owned())
        }
        Ok(Request { format, .. }) => ("200 OK", format.content_type(), format.write(&gauge())),
        Err(_) => ("400 Bad Request", "text/plain", "not a request\n".to_owned()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\nVary: Accept\r\n\
         Connection: close\r\n\r\n"
    );
    (&stream).write_all(&[head.as_bytes(), body.as_bytes()].concat())
}

struct Request {
    is_get: bool,
    path: String,
    format: Format,
}

/// The request's head. A body is not read: nothing here takes one.
fn read(stream: impl Read) -> io::Result<Request> {
    let mut reader = BufReader::new(stream.take(MAX_REQUEST_BYTES));
    let line = read_line(&mut reader)?;
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next())
    else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    if !version.starts_with("HTTP/1.") {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut accept = String::new();
    loop {
        let line = read_line(&mut reader)?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("accept")
        {
            // Several headers of a name are one list.
            accept.push_str(value);
            accept.push(',');
        }
    }
    let path = target.split('?').next().unwrap_or_default().to_owned();
    Ok(Request { is_get: method == "GET", path, format: Format::accepted(&accept) })
}

/// A line without its end; what has no end is none.
fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    match line.pop() {
        Some(b'\n') => Ok(String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
