//! From a model to a listening socket, and to its end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use engine::{Llm, LlmError};
use tokio::net::TcpListener;

use crate::app::{App, router};
use crate::config::ServerConfig;

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
    /// The socket failed.
    #[error("the server's socket failed: {0}")]
    Io(#[from] io::Error),
}

/// A server that has its address and its engine.
pub struct Server {
    listener: TcpListener,
    app: Arc<App>,
    router: axum::Router,
}

impl Server {
    /// Listens; connections are answered once [`Server::serve`] runs.
    ///
    /// # Errors
    /// [`ServeError`] says what of the configuration cannot be.
    pub async fn bind(llm: Llm, config: ServerConfig) -> Result<Server, ServeError> {
        check(&config)?;
        let address = config.address;
        let bound = TcpListener::bind(address).await;
        let listener = bound.map_err(|source| ServeError::Bind { address, source })?;
        let app = Arc::new(App::new(llm, config)?);
        let router = router(&app)?;
        Ok(Server { listener, app, router })
    }

    /// Where it listens: the port, if 0 was asked for.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `shutdown` is ready; then takes no more connections, and ends when the requests in
    /// progress are answered.
    ///
    /// # Errors
    /// [`ServeError::Io`] when the socket fails.
    pub async fn serve(
        self,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServeError> {
        let Server { listener, app, router } = self;
        axum::serve(listener, router).with_graceful_shutdown(shutdown).await?;
        // The engine's thread is waited for, which must not hold up a thread of the runtime.
        let _ = tokio::task::spawn_blocking(move || drop(app)).await;
        Ok(())
    }
}

fn check(config: &ServerConfig) -> Result<(), ServeError> {
    if config.served_model_names.is_empty() {
        return Err(ServeError::NoModelName);
    }
    let is_key = |key: &String| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
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
