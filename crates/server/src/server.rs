//! From a model to a listening socket, and to its end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use engine::{Llm, LlmError};
use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::TlsAcceptor;
use tower_http::cors::CorsLayer;

use crate::app::{App, router};
use crate::config::{Limits, ServerConfig};
use crate::connections;
use crate::origin::cors;
use crate::traces::Traces;

/// Why a server does not start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The engine has no thread to work on.
    #[error(transparent)]
    Engine(#[from] LlmError),
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}: {source}; choose another --host or --port")]
    Bind {
        /// As asked for.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// An allowed origin that no browser sends.
    #[error("`{0}` is no origin; write it like https://example.org, or * for all")]
    Origin(String),
    /// A key that no header can carry, or an empty one.
    #[error("an API key must be at least one printable ASCII character; check --api-key")]
    ApiKey,
    /// No name for the model, or an empty one.
    #[error("a name of the model is empty; give one with --served-model-name")]
    NoModelName,
    /// Calls could not be told from text.
    #[error(
        "the model's chat template does not show how it writes calls of tools; say it with \
         --tool-call-parser hermes, llama3_json or mistral"
    )]
    ToolCallParser,
    /// Nobody could be answered.
    #[error("the server must take 1 to {max} connections; check --max-connections")]
    Connections {
        /// The most.
        max: usize,
    },
    /// A certificate or key that cannot be used.
    #[error("cannot use {}: {reason}; check --ssl-certfile and --ssl-keyfile", file.display())]
    Tls {
        /// The file at fault.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// Spans cannot be sent.
    #[error("cannot send spans: {0}; check --otlp-traces-endpoint")]
    Traces(String),
    /// The socket failed.
    #[error("the server's socket failed: {0}")]
    Io(#[from] io::Error),
}

/// An address that is taken, for a configuration that can be: what may go wrong without an engine, before one takes
/// minutes to load. Who connects is refused until there is a [`Server`].
pub struct Reserved {
    socket: TcpSocket,
    tls: Option<TlsAcceptor>,
    cors: Option<CorsLayer>,
    config: ServerConfig,
}

impl Reserved {
    /// Looks at the configuration and takes its address.
    ///
    /// # Errors
    /// [`ServeError`] says what of the configuration cannot be.
    pub fn new(config: ServerConfig) -> Result<Reserved, ServeError> {
        check(&config)?;
        let tls = config.tls.as_ref().map(crate::tls::TlsFiles::acceptor).transpose()?;
        let cors = cors(&config.allowed_origins)?;
        let address = config.address;
        let socket = bind(address).map_err(|source| ServeError::Bind { address, source })?;
        Ok(Reserved { socket, tls, cors, config })
    }

    /// Listens; connections are answered once [`Server::serve`] runs.
    ///
    /// # Errors
    /// [`ServeError`] says what of the configuration this model does not allow.
    // A listener belongs to a runtime, which only what is asynchronous is sure to have.
    pub async fn listen(self, llm: Llm) -> Result<Server, ServeError> {
        let Reserved { socket, tls, cors, config } = self;
        let address = config.address;
        let app = Arc::new(App::new(llm, config)?);
        let router = router(&app, cors);
        let listener = socket.listen(BACKLOG);
        let listener = listener.map_err(|source| ServeError::Bind { address, source })?;
        Ok(Server { listener, app, router, tls })
    }
}

/// Connections that may wait to be accepted: as many as `TcpListener::bind` lets wait.
const BACKLOG: u32 = 1024;

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A server can be started again at once; elsewhere the option would let two have the same port.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// A server that has its address and its engine.
pub struct Server {
    listener: TcpListener,
    app: Arc<App>,
    router: axum::Router,
    tls: Option<TlsAcceptor>,
}

impl Server {
    /// Where it listens: the port, if 0 was asked for.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// What clients call it by.
    ///
    /// # Errors
    /// If the system does not say where it listens.
    pub fn url(&self) -> io::Result<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        Ok(format!("{scheme}://{}", self.local_addr()?))
    }

    /// Answers until `shutdown` is ready; then takes no more connections, and ends when the requests in
    /// progress are answered.
    ///
    /// # Errors
    /// None today; a socket that fails later may become one.
    pub async fn serve(
        self,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServeError> {
        let Server { listener, app, router, tls } = self;
        connections::serve(listener, router, app.config.limits, tls, shutdown).await;
        // The last spans and the engine's thread are waited for, which must not hold up a thread of the runtime.
        let stop = move || {
            app.traces.iter().for_each(Traces::shut_down);
            drop(app);
        };
        let _ = tokio::task::spawn_blocking(stop).await;
        tracing::info!("stopped");
        Ok(())
    }
}

fn check(config: &ServerConfig) -> Result<(), ServeError> {
    if config.served_model_names.is_empty()
        || config.served_model_names.iter().any(String::is_empty)
    {
        return Err(ServeError::NoModelName);
    }
    let is_key = |key: &String| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
    let max = Limits::MAX_NUM_CONNECTIONS;
    if !(1..=max).contains(&config.limits.max_num_connections) {
        return Err(ServeError::Connections { max });
    }
    if !config.api_keys.iter().all(is_key) {
        return Err(ServeError::ApiKey);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_names_are_checked() {
        let config = ServerConfig::new("m");
        assert!(check(&config).is_ok());
        for key in ["", "two words", "schl\u{fc}ssel", "line\n"] {
            let config = ServerConfig { api_keys: vec![key.to_owned()], ..config.clone() };
            assert!(matches!(check(&config), Err(ServeError::ApiKey)), "{key:?}");
        }
        for served_model_names in [vec![], vec!["m".to_owned(), String::new()]] {
            let nameless = ServerConfig { served_model_names, ..config.clone() };
            assert!(matches!(check(&nameless), Err(ServeError::NoModelName)));
        }
    }
}
