//! vLLM's way to say who keeps KV: a connector, and what it is told.

use super::error::{ConfigError, Origin};
use super::keys::{Reader, nearest};
use super::place::Address;
use super::yaml::{self, Value};

const CONNECTORS: [(&str, ()); 2] = [("lmcache", ()), ("LMCacheConnectorV1", ())];
/// This engine stores and loads.
const ROLES: [(&str, ()); 1] = [("kv_both", ())];
const KEYS: [&str; 3] = ["backend", "kv_connector", "kv_role"];

/// Nobody says where chunks are kept.
pub(super) const NO_BACKEND: ConfigError = ConfigError::Missing {
    key: "kv_transfer_config",
    missing: "backend",
    hint: "write {\"backend\": \"nfs://SERVER/EXPORT\"}, or another place, or set LMCACHE_CONFIG_FILE",
};

/// The place that `config` names, a Python dict of strings or JSON: both are YAML.
pub(super) fn backend(
    connector: Option<&str>,
    config: &str,
) -> Result<Option<Address>, ConfigError> {
    let text = |key, value: &str| Reader {
        key,
        origin: Origin::Caller,
        value: Value::Text(value.to_owned()),
    };
    if let Some(connector) = connector {
        text("kv_connector", connector).one_of(&CONNECTORS)?;
    }
    let mut backend = None;
    for entry in yaml::entries(config)? {
        let Some(key) = KEYS.into_iter().find(|key| *key == entry.key) else {
            let nearest = nearest(&entry.key, KEYS).map(str::to_owned);
            return Err(ConfigError::UnknownKey { key: entry.key, line: entry.line, nearest });
        };
        let read = Reader { key, origin: Origin::Caller, value: entry.value };
        match key {
            "backend" => backend = Some(read.place()?),
            "kv_connector" => read.one_of(&CONNECTORS)?,
            _ => read.one_of(&ROLES)?,
        }
    }
    Ok(backend)
}
