//! Which store is meant.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use kv_store::codec::codecs;
use kv_store::config::{KvConfig, Overrides, Place, Source, ThisMachine};
use kv_store::inventory::{DirectoryInventory, Inventory, Item};
use kv_store::record::{Codecs, Plain};
use kv_store_object::{BucketInventory, ObjectConfig};

use crate::cli::error::CliError;

/// A store, as its user names it.
#[derive(Args, Debug)]
pub(crate) struct Target {
    /// A directory, nfs://SERVER/EXPORT, s3://BUCKET/PREFIX?endpoint_url=URL (credentials: AWS_* variables), or the YAML
    /// file of an LMCache configuration
    pub store: String,
}

impl Target {
    /// A store that is there.
    pub(crate) fn open(&self) -> Result<Box<dyn Inventory>, CliError> {
        self.inventory(|path| match DirectoryInventory::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let message = format!("there is no KV store in {}", path.display());
                Err(CliError::usage(message).with_hint("name the directory of a storage_path"))
            }
            Err(error) => Err(CliError::file("read", path, &error)),
            Ok(directory) => Ok(directory),
        })
    }

    /// A store that is made if it is not there.
    pub(crate) fn create(&self) -> Result<Box<dyn Inventory>, CliError> {
        self.inventory(|path| {
            DirectoryInventory::create(path).map_err(|error| CliError::file("write", path, &error))
        })
    }

    fn inventory(
        &self,
        directory: impl Fn(&Path) -> Result<DirectoryInventory, CliError>,
    ) -> Result<Box<dyn Inventory>, CliError> {
        match self.place()? {
            Place::Directory { path, .. } => Ok(Box::new(directory(&path)?)),
            Place::Bucket { bucket, prefix, settings } => {
                let config = ObjectConfig::s3(&bucket, &prefix, &settings);
                let inventory = config.and_then(|config| BucketInventory::open(&config));
                Ok(Box::new(inventory.map_err(|error| CliError::from_usage_error(&error))?))
            }
            _ => Err(CliError::usage(format!("{} is no directory and no bucket", self.store))),
        }
    }

    fn place(&self) -> Result<Place, CliError> {
        let path = Path::new(&self.store);
        let mut overrides = Overrides::default();
        let source = if path.is_file() {
            Source::File(path)
        } else {
            overrides.storage_path = Some(self.store.clone());
            Source::Text("storage_backend: file")
        };
        let resolved = KvConfig::read(source, &overrides, &ThisMachine);
        let resolved = resolved.map_err(|error| CliError::from_usage_error(&error))?;
        let storage = resolved.and_then(|resolved| resolved.config.storage);
        storage.map(|storage| storage.place).ok_or_else(|| {
            let message = format!("{} names no place where chunks outlive a process", self.store);
            CliError::usage(message).with_hint("it has host memory alone; name a directory")
        })
    }
}

/// All codecs that there are.
pub(crate) fn all_codecs() -> Codecs {
    codecs(Arc::new(Plain))
}

pub(crate) fn list(inventory: &dyn Inventory) -> Result<Vec<Item>, CliError> {
    inventory
        .list()
        .map_err(|error| CliError::internal(format!("the store cannot be listed: {error}")))
}

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Enough of an identity to tell those apart that share a store.
pub(crate) fn short(identity: &[u8; 32]) -> String {
    identity[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}
