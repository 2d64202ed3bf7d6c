//! Where KV outlives its request: LMCache's configurations, and vLLM's flag.

use std::path::PathBuf;

use clap::Args;
use engine::kv_store::config::{ConfigError, KvConfig, Level, Overrides, Source, ThisMachine};
use engine::{KvStoreUse, LlmBuilder, OpenKvStoreError};
use kv_store_object::OpenError;

use super::error::CliError;

/// The KV store.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "KV store")]
pub(crate) struct KvStoreArgs {
    /// Keep KV as this LMCache configuration says, and load it instead of computing it again
    /// [default: the file that LMCACHE_CONFIG_FILE names, else nowhere]
    #[arg(long, value_name = "FILE.yaml", conflicts_with = "kv_transfer_config")]
    kv_config: Option<PathBuf>,

    /// The same as vLLM has it: '{"kv_connector": "lmcache", "backend": "nfs://SERVER/EXPORT"}';
    /// without `backend`, LMCACHE_CONFIG_FILE or LMCACHE_BACKEND say where
    #[arg(long, value_name = "JSON")]
    kv_transfer_config: Option<String>,

    /// Keep KV here instead of where the configuration says: a directory, file://, nfs:// or
    /// s3://BUCKET/PREFIX[?endpoint_url=URL&region=NAME&addressing_style=path|virtual]; what is not said of a bucket is
    /// the environment's (AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, ...)
    #[arg(long, value_name = "PLACE")]
    kv_storage_path: Option<String>,

    /// Serve the KV store's metrics on this port instead of the configuration's; 0 takes a free one
    #[arg(long, value_name = "PORT")]
    kv_metrics_port: Option<u16>,
}

impl KvStoreArgs {
    /// `builder` with the store that flags or environment ask for; says what was chosen for the user.
    pub(crate) fn apply(&self, builder: LlmBuilder) -> Result<LlmBuilder, CliError> {
        let source = match (&self.kv_config, &self.kv_transfer_config) {
            (Some(file), _) => Source::File(file),
            (None, Some(config)) => Source::KvTransfer { connector: None, config },
            (None, None) => Source::Environment,
        };
        let overrides = Overrides {
            storage_path: self.kv_storage_path.clone(),
            metrics_port: self.kv_metrics_port,
        };
        let mut read = self.read(source, &overrides)?;
        let is_overridden = overrides.storage_path.is_some() || overrides.metrics_port.is_some();
        if read.is_none() && is_overridden {
            // A place alone is a configuration too.
            read = self.read(Source::Text(""), &overrides)?;
        }
        let Some(resolved) = read else {
            warn_of_transport_alone();
            return Ok(builder);
        };
        for note in &resolved.notes {
            match note.level {
                Level::Info => tracing::info!("kv store: {}", note.text),
                Level::Warning | Level::Error => tracing::warn!("kv store: {}", note.text),
            }
        }
        Ok(builder.kv_config(resolved.config).open_kv_store_with(open))
    }

    fn read(
        &self,
        source: Source<'_>,
        overrides: &Overrides,
    ) -> Result<Option<engine::kv_store::config::Resolved>, CliError> {
        let place = match (&self.kv_config, &self.kv_transfer_config) {
            (Some(file), _) => file.display().to_string(),
            (None, Some(_)) => "--kv-transfer-config".to_owned(),
            (None, None) => "the KV store's configuration".to_owned(),
        };
        KvConfig::read(source, overrides, &ThisMachine).map_err(|error| match error {
            // It names the file itself.
            ConfigError::Read { .. } => CliError::from_usage_error(&error),
            error => CliError::from_usage_error(&error).at(&place),
        })
    }
}

/// Of a variable that has no effect.
fn warn_of_transport_alone() {
    if std::env::var_os("NIXL_BACKEND").is_some() {
        tracing::warn!(
            "kv store: NIXL_BACKEND is set, but nothing says where KV is kept, so none is: set LMCACHE_CONFIG_FILE or \
             LMCACHE_BACKEND, or name a place with --kv-config or --kv-storage-path"
        );
    }
}

/// Opens buckets as well as directories.
fn open(
    config: &KvConfig,
    used: KvStoreUse,
) -> Result<engine::kv_store::store::Store, OpenKvStoreError> {
    let KvStoreUse { max_model_len, block_size, identity, shape } = used;
    let pins = engine::kv_store::eviction::Pins::default();
    let opened = kv_store_object::open(config, max_model_len, block_size, &pins, identity, shape);
    opened.map_err(|error: OpenError| error.into())
}
