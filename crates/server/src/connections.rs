//! Connections: how many there are, how long a client may take, and their end.
//!
//! A client that sends nothing, that sends slowly or that reads nothing costs a connection until a time-out,
//! and no more than that: none of them can keep a server from ending, or a request from giving way.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time;
use tokio_rustls::TlsAcceptor;

use crate::config::Limits;
use crate::write_timeout::WriteTimeout;

/// Longest that a client is given to read that there is no place for it.
const FAREWELL: Duration = Duration::from_secs(1);

/// Wait after the system gave no connection: it may have run out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a client reads that comes when there is no place for it.
const NO_PLACE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
retry-after: 1\r\nconnection: close\r\ncontent-length: 140\r\n\r\n\
{\"error\":{\"message\":\"the server has all the connections that it takes; try again\",\
\"type\":\"ServiceUnavailableError\",\"param\":null,\"code\":503}}";

/// What every connection needs.
#[derive(Clone)]
struct Shared {
    router: Router,
    limits: Limits,
    tls: Option<TlsAcceptor>,
    /// Closed when the server is to end.
    ending: watch::Receiver<()>,
}

/// Answers until `shutdown` is ready, and then what is in progress.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    tls: Option<TlsAcceptor>,
    shutdown: impl Future<Output = ()>,
) {
    let (end, ending) = watch::channel(());
    let places = Arc::new(Semaphore::new(limits.max_num_connections));
    let shared = Shared { router, limits, tls, ending };
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok((stream, _)) => match Arc::clone(&places).try_acquire_owned() {
                Ok(place) => drop(tokio::spawn(shared.clone().answer(stream, place))),
                Err(_) => {
                    tracing::debug!("a client is turned away: all connections are taken");
                    drop(tokio::spawn(turn_away(stream, shared.tls.is_some())));
                }
            },
            Err(error) if is_of_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "the system gives no connection; tried again");
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop((listener, end));
    // All places are free when the last connection is gone.
    let all = u32::try_from(shared.limits.max_num_connections).unwrap_or(u32::MAX);
    let num_connections = shared.limits.max_num_connections - places.available_permits();
    tracing::info!(num_connections, "asked to stop; what is in progress is answered");
    let _ = places.acquire_many(all).await;
}

/// A client that went away before it was met.
fn is_of_connection(error: &io::Error) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn turn_away(mut stream: TcpStream, is_encrypted: bool) {
    if !is_encrypted {
        let _ = time::timeout(FAREWELL, async {
            stream.write_all(NO_PLACE).await?;
            stream.shutdown().await
        })
        .await;
    }
}

impl Shared {
    async fn answer(self, stream: TcpStream, _place: OwnedSemaphorePermit) {
        // Tokens are small, and each is waited for.
        let _ = stream.set_nodelay(true);
        match self.tls.clone() {
            None => self.converse(stream).await,
            Some(tls) => {
                let greeted = time::timeout(self.limits.header_timeout, tls.accept(stream)).await;
                if let Ok(Ok(stream)) = greeted {
                    self.converse(stream).await;
                }
            }
        }
    }

    async fn converse(self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let Shared { router, limits, mut ending, .. } = self;
        let stream = TokioIo::new(WriteTimeout::new(stream, limits.write_timeout));
        let mut builder = Builder::new(TokioExecutor::new()).http1_only();
        builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.header_timeout);
        let service = TowerToHyperService::new(router);
        let mut connection = pin!(builder.serve_connection(stream, service));
        tokio::select! {
            // What goes wrong with a connection is its client's affair.
            _ = connection.as_mut() => return,
            _ = ending.changed() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_turned_away_reads_a_whole_answer() {
        let text = std::str::from_utf8(NO_PLACE).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["error"]["code"], 503);
    }
}
