//! From what was said, in a file, in the environment or by the caller, to what is done.

use std::num::NonZero;
use std::path::{Path, PathBuf};

use super::connector;
use super::error::{ConfigError, Origin};
use super::keys::{Backend, Keys, LossyCodec, Reader};
use super::place::Address;
use super::s3::S3Credentials;
use super::transport::{NAMES as TRANSPORTS, Transport};
use super::units::shown;
use super::yaml::{self, Value};
use super::{ChunkSize, KvConfig, Level, Machine, Note, Place, Resolved, StorageConfig};

/// The recipe asks `localhost:8080` for its metrics.
const DEFAULT_METRICS_PORT: u16 = 8080;

/// Where a configuration comes from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// This file.
    File(&'a Path),
    /// The file that `LMCACHE_CONFIG_FILE` names, or what `LMCACHE_BACKEND` says alone.
    Environment,
    /// This text.
    Text(&'a str),
    /// `kv_connector` and `kv_transfer_config` as vLLM's arguments. The latter is JSON or a Python dict of `backend`,
    /// `kv_connector` and `kv_role`; without `backend`, the environment says where, as LMCache has it.
    KvTransfer {
        /// `lmcache`, unless `config` says it.
        connector: Option<&'a str>,
        /// `{'backend': 'nfs://server/export'}`.
        config: &'a str,
    },
}

/// What the caller says over the file's head: a path and a port differ between machines that share a file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Instead of `storage_path`.
    pub storage_path: Option<String>,
    /// Instead of `metrics_port`.
    pub metrics_port: Option<u16>,
}

impl KvConfig {
    /// Reads a configuration. The caller's overrides come before the environment (`LMCACHE_BACKEND`,
    /// `NIXL_BACKEND`), the environment before the file. `None` if the environment was asked, and says nothing.
    ///
    /// # Errors
    /// [`ConfigError`], which names the key, the value and its line.
    pub fn read(
        source: Source<'_>,
        overrides: &Overrides,
        machine: &impl Machine,
    ) -> Result<Option<Resolved>, ConfigError> {
        let mut keys = match source {
            Source::File(path) => from_file(path)?,
            Source::Text(text) => Keys::read(yaml::entries(text)?)?,
            Source::KvTransfer { connector, config } => {
                let backend = connector::backend(connector, config)?;
                let keys = match &backend {
                    Some(_) => Some(Keys::default()),
                    None => from_environment(machine)?,
                };
                let Some(mut keys) = keys else { return Err(connector::NO_BACKEND) };
                keys.storage_path = backend.or(keys.storage_path);
                keys
            }
            Source::Environment => match from_environment(machine)? {
                Some(keys) => keys,
                None => return Ok(None),
            },
        };
        keys.hear(overrides, machine)?;
        Resolver { machine, notes: Vec::new() }.resolve(keys).map(Some)
    }
}

/// `None` if it says nothing.
fn from_environment(machine: &impl Machine) -> Result<Option<Keys>, ConfigError> {
    match machine.variable("LMCACHE_CONFIG_FILE") {
        Some(path) => from_file(Path::new(&path)).map(Some),
        None => Ok(machine.variable("LMCACHE_BACKEND").map(|_| Keys::default())),
    }
}

fn from_file(path: &Path) -> Result<Keys, ConfigError> {
    let failed = |error| ConfigError::Read { path: path.to_owned(), error };
    let bytes = std::fs::metadata(path).map_err(failed)?.len();
    if bytes > yaml::MAX_BYTES as u64 {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        return Err(ConfigError::TooLong { bytes, most: yaml::MAX_BYTES });
    }
    Keys::read(yaml::entries(&std::fs::read_to_string(path).map_err(failed)?)?)
}

impl Keys {
    /// What comes before the file.
    fn hear(&mut self, overrides: &Overrides, machine: &impl Machine) -> Result<(), ConfigError> {
        let said = |key, name: &'static str| {
            let value = Value::Text(machine.variable(name)?);
            Some(Reader { key, origin: Origin::Variable(name), value })
        };
        if let Some(read) = said("nixl_backend", "NIXL_BACKEND") {
            self.nixl_backend = Some(read.one_of(&TRANSPORTS)?);
        }
        if let Some(read) = said("storage_path", "LMCACHE_BACKEND") {
            self.move_to(read.place()?);
        }
        if let Some(path) = &overrides.storage_path {
            let value = Value::Text(path.clone());
            self.move_to(Reader { key: "storage_path", origin: Origin::Caller, value }.place()?);
        }
        if let Some(port) = overrides.metrics_port {
            self.metrics_port = Some(port);
            self.enable_metrics = Some(true);
        }
        Ok(())
    }

    /// How many keys name storage.
    pub(super) fn places(&self) -> usize {
        usize::from(self.storage_path.is_some()) + usize::from(self.nixl_filepath.is_some())
    }

    fn move_to(&mut self, place: Address) {
        self.nixl_filepath = None;
        self.storage_path = Some(place);
    }
}

pub(super) struct Resolver<'a, M> {
    machine: &'a M,
    notes: Vec<Note>,
}

impl<M: Machine> Resolver<'_, M> {
    pub(super) fn note(&mut self, level: Level, text: impl Into<String>) {
        self.notes.push(Note { level, text: text.into() });
    }

    fn resolve(mut self, keys: Keys) -> Result<Resolved, ConfigError> {
        let place = self.place(&keys)?;
        if place.is_none() && keys.local_host.is_none() {
            return Err(ConfigError::NoPlace);
        }
        match place {
            Some(_) => self.transport(&keys),
            None => self.without_storage(&keys),
        }
        let config = KvConfig {
            chunk_size: keys.chunk_size.unwrap_or(ChunkSize::DEFAULT),
            use_device: keys.local_device.is_some(),
            host_bytes: self.host_bytes(&keys)?,
            storage: place.map(|place| self.storage(place, &keys)).transpose()?,
            eviction: keys.eviction_policy.unwrap_or_default(),
            compression: self.compression(&keys),
            lossy: self.lossy(&keys)?,
            prefetch: keys.prefetch.unwrap_or(false),
            async_write: keys.async_write.unwrap_or(false),
            durability: keys.durability.unwrap_or_default(),
            ttl: keys.cache_ttl,
            metrics_port: self.metrics_port(&keys),
            num_io_threads: keys.gds_num_threads.and_then(NonZero::new),
            log_level: keys.log_level.unwrap_or_default(),
            tenants: keys.tenants,
        };
        let notes = self.notes.into_iter().filter(|n| n.level >= config.log_level).collect();
        Ok(Resolved { config, notes })
    }

    /// The one place that backend, path and URL agree on.
    fn place(&mut self, keys: &Keys) -> Result<Option<Address>, ConfigError> {
        let place = match (&keys.storage_path, &keys.nixl_filepath) {
            (Some(path), Some(nixl)) if path != nixl => {
                return Err(ConfigError::Contradiction {
                    first: "storage_path",
                    second: "nixl_filepath",
                    hint: "they name two places; keep one of them",
                });
            }
            (path, nixl) => path.as_ref().or(nixl.as_ref()).cloned(),
        };
        match (keys.storage_backend, &place) {
            (Some(Backend::File), None) => Err(ConfigError::Missing {
                key: "storage_backend",
                missing: "storage_path",
                hint: "name the directory, or the URL",
            }),
            (Some(Backend::Nixl), None) => Err(ConfigError::Missing {
                key: "storage_backend",
                missing: "nixl_filepath",
                hint: "name the directory, or the URL",
            }),
            _ => Ok(place),
        }
    }

    /// What NIXL would have done, and who does it here.
    fn transport(&mut self, keys: &Keys) {
        let Some(place) = keys.storage_path.as_ref().or(keys.nixl_filepath.as_ref()) else {
            return;
        };
        let wants_gds = keys.gds_enabled == Some(true);
        let named = keys.nixl_backend.or(wants_gds.then_some(Transport::Gds));
        let is_nixl = keys.storage_backend == Some(Backend::Nixl);
        if let Some(reason) = named.and_then(|transport| transport.fallback(place)) {
            self.note(Level::Warning, reason);
        } else if is_nixl && named.is_none() {
            self.note(
                Level::Info,
                "storage_backend nixl names no nixl_backend; files and objects are reached as POSIX and OBJ do",
            );
        }
    }

    fn without_storage(&mut self, keys: &Keys) {
        let said = [
            ("nixl_backend", keys.nixl_backend.is_some()),
            ("gds_enabled", keys.gds_enabled.is_some()),
            ("gds_enable_direct", keys.gds_enable_direct.is_some()),
            ("gds_num_threads", keys.gds_num_threads.is_some()),
            ("prefetch", keys.prefetch.is_some()),
            ("async_write", keys.async_write.is_some()),
            ("durability", keys.durability.is_some()),
            ("compression", keys.compression == Some(true)),
            ("lossy_codec", keys.lossy_codec == Some(LossyCodec::Fp8)),
        ];
        for (key, _) in said.into_iter().filter(|(_, is_said)| *is_said) {
            self.note(Level::Warning, format!("{key} has no effect without storage_path"));
        }
        self.without_bucket(keys);
    }

    fn without_bucket(&mut self, keys: &Keys) {
        if let Some((key, _)) = s3_keys(keys).into_iter().find(|(_, said)| said.is_some()) {
            self.note(Level::Warning, format!("{key} has no effect without s3://BUCKET"));
        }
    }

    fn host_bytes(&mut self, keys: &Keys) -> Result<Option<u64>, ConfigError> {
        // Without storage the host tier is the cache, and its size has two names.
        let cap = match (keys.max_host_size, keys.max_cache_size) {
            (Some(host), Some(cache)) if keys.places() == 0 && host != cache => {
                return Err(ConfigError::Contradiction {
                    first: "max_host_size",
                    second: "max_cache_size",
                    hint: "without storage both cap host memory; keep one of them",
                });
            }
            (None, cache) if keys.places() == 0 => cache,
            (host, _) => host,
        };
        match (&keys.local_host, cap) {
            (Some(_), Some(bytes)) => Ok(Some(bytes)),
            (Some(_), None) => {
                let free = self.machine.free_memory_bytes();
                self.share_of("max_host_size", "memory", free).map(Some)
            }
            (None, Some(_)) => Err(ConfigError::Missing {
                key: "max_host_size",
                missing: "local_host",
                hint: "write local_host: \"cpu\"",
            }),
            (None, None) => Ok(None),
        }
    }

    /// 80 % of what is free, and a note that says so.
    fn share_of(
        &mut self,
        key: &'static str,
        of: &str,
        free: std::io::Result<u64>,
    ) -> Result<u64, ConfigError> {
        let free = free.map_err(|error| ConfigError::FreeUnknown { key, error })?;
        let cap = free / 5 * 4;
        self.note(
            Level::Info,
            format!("{key} is not set: {}, 80 % of the {} of free {of}", shown(cap), shown(free)),
        );
        Ok(cap)
    }

    fn storage(&mut self, address: Address, keys: &Keys) -> Result<StorageConfig, ConfigError> {
        let mut cap_bytes = keys.max_cache_size;
        let place = match address {
            Address::Bucket { bucket, prefix, mut settings } => {
                if cap_bytes.is_none() {
                    self.note(
                        Level::Warning,
                        "max_cache_size is not set, and a bucket has no free space to take a share of: no cap",
                    );
                }
                settings.credentials = credentials(keys)?;
                Place::Bucket { bucket, prefix, settings }
            }
            Address::Directory(path) => self.directory(path),
            Address::Nfs { server, export } => {
                let path = self.mounted(server, export)?;
                Place::Directory { path, is_shared: true }
            }
        };
        if !matches!(place, Place::Bucket { .. }) {
            self.without_bucket(keys);
        }
        if let (None, Place::Directory { path, .. }) = (cap_bytes, &place) {
            let free = self.machine.storage_bytes(path);
            cap_bytes = Some(self.share_of("max_cache_size", "storage", free)?);
        }
        let wants_direct = keys.gds_enable_direct == Some(true);
        let is_direct = wants_direct && matches!(place, Place::Directory { .. });
        if wants_direct {
            self.note(
                Level::Warning,
                match is_direct {
                    true => "gds_enable_direct: without GDS, files are read past the page cache, into host memory",
                    false => "gds_enable_direct has no effect: objects are read by HTTP",
                },
            );
        }
        Ok(StorageConfig { place, cap_bytes, is_direct })
    }

    fn directory(&self, path: PathBuf) -> Place {
        let absolute = std::path::absolute(&path).unwrap_or_else(|_| path.clone());
        Place::Directory { is_shared: self.machine.mounts().is_shared(&absolute), path }
    }

    fn mounted(&mut self, server: String, export: String) -> Result<PathBuf, ConfigError> {
        let url = format!("nfs://{server}{export}");
        match self.machine.mounts().nfs(&server, &export) {
            Some(path) => {
                self.note(Level::Info, format!("{url} is mounted at {}", path.display()));
                Ok(path)
            }
            None => Err(ConfigError::NotMounted { url, server, export }),
        }
    }

    fn metrics_port(&mut self, keys: &Keys) -> Option<u16> {
        let port = keys.metrics_port;
        match (keys.enable_metrics, port) {
            (Some(true), None) => Some(DEFAULT_METRICS_PORT),
            (Some(false), Some(_)) => {
                self.note(Level::Warning, "metrics_port has no effect: enable_metrics is false");
                None
            }
            (Some(false), None) => None,
            (_, port) => port,
        }
    }
}

fn s3_keys(keys: &Keys) -> [(&'static str, &Option<String>); 3] {
    [
        ("s3_access_key_id", &keys.s3_access_key_id),
        ("s3_secret_access_key", &keys.s3_secret_access_key),
        ("s3_session_token", &keys.s3_session_token),
    ]
}

/// The file's own, which come whole or not at all: half of them with half of the environment's would be nobody's.
fn credentials(keys: &Keys) -> Result<Option<S3Credentials>, ConfigError> {
    let said = s3_keys(keys);
    let missing = |missing| {
        let (key, _) = said.into_iter().find(|(_, said)| said.is_some())?;
        let hint = "write both, or neither and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
        Some(ConfigError::Missing { key, missing, hint })
    };
    let [id, secret, token] = said.map(|(_, value)| value.clone());
    match (id, secret) {
        (Some(access_key_id), Some(secret_access_key)) => {
            Ok(Some(S3Credentials { access_key_id, secret_access_key, session_token: token }))
        }
        (None, _) => missing("s3_access_key_id").map_or(Ok(None), Err),
        (Some(_), None) => missing("s3_secret_access_key").map_or(Ok(None), Err),
    }
}
