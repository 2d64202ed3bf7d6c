//! `GET /metrics`, and nothing else.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::thread::JoinHandle;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::{Format, Gauge};

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
    port: u16,
    /// Dropped, it ends the thread.
    stop: Option<oneshot::Sender<()>>,
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
        listener.set_nonblocking(true).map_err(bind)?;
        let port = listener.local_addr().map_err(bind)?.port();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(bind)?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("kv-store-metrics".to_owned())
            .spawn(move || run(&runtime, listener, gauge, stopped))
            .map_err(bind)?;
        Ok(MetricsServer { port, stop: Some(stop), thread: Some(thread) })
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic in it has been told.
            let _ = thread.join();
        }
    }
}

/// Serves until `stopped`; clients that are being answered then are cut off.
fn run(runtime: &Runtime, listener: TcpListener, gauge: Gauge, stopped: oneshot::Receiver<()>) {
    let app = Router::new().route("/metrics", get(page)).with_state(gauge);
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        axum::serve(listener, app).await
    });
    // Whoever holds the other end never sends.
    let _ = runtime.block_on(stopped);
}

async fn page(State(gauge): State<Gauge>, headers: HeaderMap) -> impl IntoResponse {
    // Several headers of a name are one list.
    let accept: Vec<&str> =
        headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let format = Format::accepted(&accept.join(","));
    let headers =
        [(header::CONTENT_TYPE, format.content_type()), (header::VARY, header::ACCEPT.as_str())];
    (headers, format.write(&gauge()))
}
