//! From a model to a listening socket, and to its end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use engine::{Llm, LlmError};
use tokio::net::TcpListener;

use tokio_rustls::TlsAcceptor;

use crate::app::{App, router};
use crate::config::{Limits, ServerConfig};
use crate::connections;

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
    /// No name for the model.
    #[error("the model has no name; give at least one --served-model-name")]
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
    /// The socket failed.
    #[error("the server's socket failed: {0}")]
    Io(#[from] io::Error),
}

/// A server that has its address and its engine.
pub struct Server {
    listener: TcpListener,
    app: Arc<App>,
    router: axum::Router,
    tls: Option<TlsAcceptor>,
}

impl Server {
    /// Listens; connections are answered once [`Server::serve`] runs.
    ///
    /// # Errors
    /// [`ServeError`] says what of the configuration cannot be.
    pub async fn bind(llm: Llm, config: ServerConfig) -> Result<Server, ServeError> {
        check(&config)?;
        let tls = config.tls.as_ref().map(crate::tls::TlsFiles::acceptor).transpose()?;
        let address = config.address;
        let bound = TcpListener::bind(address).await;
        let listener = bound.map_err(|source| ServeError::Bind { address, source })?;
        let app = Arc::new(App::new(llm, config)?);
        let router = router(&app)?;
        Ok(Server { listener, app, router, tls })
    }

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
        // The engine's thread is waited for, which must not hold up a thread of the runtime.
        let _ = tokio::task::spawn_blocking(move || drop(app)).await;
        tracing::info!("stopped");
        Ok(())
    }
}

fn check(config: &ServerConfig) -> Result<(), ServeError> {
    if config.served_model_names.is_empty() {
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

/// What [`Server::bind`] would need a socket for.
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
        let nameless = ServerConfig { served_model_names: Vec::new(), ..config };
        assert!(matches!(check(&nameless), Err(ServeError::NoModelName)));
    }
}
