//! The keys of a configuration: what each may hold, and where it was said.

use std::num::NonZero;
use std::time::Duration;

use super::error::{ConfigError, Origin};
use super::place::{A_PLACE, Address};
use super::transport::{NAMES as TRANSPORTS, Transport};
use super::units::{self, A_SIZE, A_TIME};
use super::yaml::{Entry, Value};
use super::{ChunkSize, Durability, Eviction, Level, TenantConfig};

/// The `storage_backend`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backend {
    File,
    Nixl,
}

/// An algorithm of `compression_algorithm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Lz4,
    Zstd,
    BytePlane,
}

/// A codec of `lossy_codec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LossyCodec {
    None,
    Fp8,
}

type Key<T> = Option<T>;

/// Every key, as far as it was said.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pub(super) chunk_size: Key<ChunkSize>,
    pub(super) local_device: Key<String>,
    pub(super) local_host: Key<()>,
    pub(super) max_host_size: Key<u64>,
    pub(super) storage_backend: Key<Backend>,
    pub(super) storage_path: Key<Address>,
    pub(super) max_cache_size: Key<u64>,
    pub(super) eviction_policy: Key<Eviction>,
    pub(super) prefetch: Key<bool>,
    pub(super) async_write: Key<bool>,
    pub(super) durability: Key<Durability>,
    pub(super) compression: Key<bool>,
    pub(super) compression_algorithm: Key<Algorithm>,
    pub(super) compression_level: Key<u8>,
    pub(super) lossy_codec: Key<LossyCodec>,
    pub(super) lossy_max_error: Key<f64>,
    pub(super) cache_ttl: Key<Duration>,
    pub(super) tenants: Vec<TenantConfig>,
    pub(super) enable_metrics: Key<bool>,
    pub(super) metrics_port: Key<u16>,
    pub(super) nixl_backend: Key<Transport>,
    pub(super) nixl_filepath: Key<Address>,
    pub(super) s3_access_key_id: Key<String>,
    pub(super) s3_secret_access_key: Key<String>,
    pub(super) s3_session_token: Key<String>,
    pub(super) gds_enabled: Key<bool>,
    pub(super) gds_enable_direct: Key<bool>,
    pub(super) gds_num_threads: Key<u16>,
    pub(super) log_level: Key<Level>,
}

const KEYS: [&str; 29] = [
    "chunk_size",
    "local_device",
    "local_host",
    "max_host_size",
    "storage_backend",
    "storage_path",
    "max_cache_size",
    "eviction_policy",
    "prefetch",
    "async_write",
    "durability",
    "compression",
    "compression_algorithm",
    "compression_level",
    "lossy_codec",
    "lossy_max_error",
    "cache_ttl",
    "tenants",
    "enable_metrics",
    "metrics_port",
    "nixl_backend",
    "nixl_filepath",
    "s3_access_key_id",
    "s3_secret_access_key",
    "s3_session_token",
    "gds_enabled",
    "gds_enable_direct",
    "gds_num_threads",
    "log_level",
];

/// LMCache's own names for what is called otherwise here.
const ALIASES: [(&str, &str); 11] = [
    ("local_cpu", "local_host"),
    ("max_local_cpu_size", "max_host_size"),
    ("local_disk", "storage_path"),
    ("remote_url", "storage_path"),
    ("nixl_path", "nixl_filepath"),
    ("max_local_disk_size", "max_cache_size"),
    ("cache_policy", "eviction_policy"),
    ("remote_serde", "compression_algorithm"),
    ("aws_access_key_id", "s3_access_key_id"),
    ("aws_secret_access_key", "s3_secret_access_key"),
    ("aws_session_token", "s3_session_token"),
];

const TENANT_KEYS: [&str; 3] = ["cache_ttl", "cache_quota", "cache_floor"];

impl Keys {
    /// Reads the lines of a file.
    pub(super) fn read(entries: Vec<Entry>) -> Result<Keys, ConfigError> {
        let mut keys = Keys::default();
        for entry in entries {
            keys.set(entry)?;
        }
        Ok(keys)
    }

    fn set(&mut self, entry: Entry) -> Result<(), ConfigError> {
        let Some(key) = KEYS.into_iter().find(|key| *key == entry.key) else {
            return Err(unknown(entry, &KEYS, &ALIASES));
        };
        if key == "tenants" {
            self.tenants = tenants(key, entry)?;
            return Ok(());
        }
        // `key:` with nothing behind it is a key that was left open: as if it were absent.
        if matches!(entry.value, Value::Null) {
            return Ok(());
        }
        let read = Reader { key, origin: Origin::Line(entry.line), value: entry.value };
        match key {
            "chunk_size" => self.chunk_size = Some(read.chunk_size()?),
            "local_device" => self.local_device = Some(read.device()?),
            "local_host" => self.local_host = Some(read.host()?),
            "max_host_size" => self.max_host_size = Some(read.size()?),
            "storage_backend" => self.storage_backend = Some(read.one_of(&BACKENDS)?),
            "storage_path" => self.storage_path = Some(read.place()?),
            "max_cache_size" => self.max_cache_size = Some(read.size()?),
            "eviction_policy" => self.eviction_policy = Some(read.one_of(&POLICIES)?),
            "prefetch" => self.prefetch = Some(read.switch()?),
            "async_write" => self.async_write = Some(read.switch()?),
            "durability" => self.durability = Some(read.one_of(&DURABILITIES)?),
            "compression" => self.compression = Some(read.switch()?),
            "compression_algorithm" => {
                self.compression_algorithm = Some(read.one_of(&ALGORITHMS)?);
            }
            "compression_level" => self.compression_level = Some(read.number(1, 9)?),
            "lossy_codec" => self.lossy_codec = Some(read.one_of(&LOSSY_CODECS)?),
            "lossy_max_error" => self.lossy_max_error = Some(read.part()?),
            "cache_ttl" => self.cache_ttl = Some(read.time()?),
            "enable_metrics" => self.enable_metrics = Some(read.switch()?),
            "metrics_port" => self.metrics_port = Some(read.number(0, u64::from(u16::MAX))?),
            "nixl_backend" => self.nixl_backend = Some(read.one_of(&TRANSPORTS)?),
            "nixl_filepath" => self.nixl_filepath = Some(read.place()?),
            "s3_access_key_id" => self.s3_access_key_id = Some(read.secret()?),
            "s3_secret_access_key" => self.s3_secret_access_key = Some(read.secret()?),
            "s3_session_token" => self.s3_session_token = Some(read.secret()?),
            "gds_enabled" => self.gds_enabled = Some(read.switch()?),
            "gds_enable_direct" => self.gds_enable_direct = Some(read.switch()?),
            "gds_num_threads" => self.gds_num_threads = Some(read.number(1, 1024)?),
            "log_level" => self.log_level = Some(read.one_of(&LEVELS)?),
            _ => return Err(unknown_key(key.to_owned(), entry.line, &KEYS, &ALIASES)),
        }
        Ok(())
    }
}

const BACKENDS: [(&str, Backend); 2] = [("file", Backend::File), ("nixl", Backend::Nixl)];
const POLICIES: [(&str, Eviction); 4] = [
    ("lru", Eviction::Lru),
    ("lfu", Eviction::Lfu),
    ("s3-fifo", Eviction::S3Fifo),
    ("s3fifo", Eviction::S3Fifo),
];
const DURABILITIES: [(&str, Durability); 3] =
    [("none", Durability::None), ("data", Durability::Data), ("strict", Durability::Strict)];
const ALGORITHMS: [(&str, Algorithm); 3] =
    [("lz4", Algorithm::Lz4), ("zstd", Algorithm::Zstd), ("byteplane", Algorithm::BytePlane)];
const LOSSY_CODECS: [(&str, LossyCodec); 2] =
    [("none", LossyCodec::None), ("fp8", LossyCodec::Fp8)];
const LEVELS: [(&str, Level); 5] = [
    ("debug", Level::Info),
    ("info", Level::Info),
    ("warning", Level::Warning),
    ("warn", Level::Warning),
    ("error", Level::Error),
];

/// A value on its way to its key's type.
pub(super) struct Reader {
    pub(super) key: &'static str,
    pub(super) origin: Origin,
    pub(super) value: Value,
}

impl Reader {
    fn said<T>(self, value: Option<T>, expected: impl Into<String>) -> Result<T, ConfigError> {
        match value {
            Some(value) => Ok(value),
            None => Err(ConfigError::Value {
                origin: self.origin,
                key: self.key,
                value: self.value.to_string(),
                expected: expected.into(),
            }),
        }
    }

    fn switch(self) -> Result<bool, ConfigError> {
        let value = match self.value {
            Value::Bool(value) => Some(value),
            _ => None,
        };
        self.said(value, "true or false")
    }

    fn number<T: TryFrom<u64>>(self, least: u64, most: u64) -> Result<T, ConfigError> {
        let value = match self.value {
            Value::Unsigned(value) if (least..=most).contains(&value) => T::try_from(value).ok(),
            _ => None,
        };
        self.said(value, format!("a number from {least} to {most}"))
    }

    fn part(self) -> Result<f64, ConfigError> {
        let value = match self.value {
            Value::Real(value) if value > 0.0 && value < 1.0 => Some(value),
            _ => None,
        };
        self.said(value, "a part of the whole, such as 0.05")
    }

    fn size(self) -> Result<u64, ConfigError> {
        let value = match &self.value {
            Value::Unsigned(value) => Some(*value),
            Value::Text(text) => units::size(text),
            _ => None,
        };
        self.said(value.filter(|bytes| *bytes > 0), A_SIZE)
    }

    fn time(self) -> Result<Duration, ConfigError> {
        let value = match &self.value {
            Value::Unsigned(seconds) => Some(Duration::from_secs(*seconds)),
            Value::Text(text) => units::time(text),
            _ => None,
        };
        self.said(value.filter(|time| !time.is_zero()), A_TIME)
    }

    fn chunk_size(self) -> Result<ChunkSize, ConfigError> {
        let value = match &self.value {
            Value::Unsigned(tokens @ 1..=65536) => {
                u32::try_from(*tokens).ok().and_then(NonZero::new).map(ChunkSize::Tokens)
            }
            Value::Text(text) if text.eq_ignore_ascii_case("auto") => Some(ChunkSize::Auto),
            _ => None,
        };
        self.said(value, "auto, or a number of tokens from 1 to 65536")
    }

    /// Whose memory holds the pages is the engine's choice; the word must only be a device's.
    fn device(self) -> Result<String, ConfigError> {
        const DEVICES: [&str; 5] = ["cuda", "rocm", "hip", "gpu", "cpu"];
        let value = match &self.value {
            Value::Text(text) => {
                let word = text.to_ascii_lowercase();
                let name = word.split_once(':').map_or(word.as_str(), |(name, _)| name);
                DEVICES.contains(&name).then_some(word)
            }
            _ => None,
        };
        self.said(value, "cuda, rocm, hip, gpu or cpu")
    }

    fn host(self) -> Result<(), ConfigError> {
        let is_cpu = matches!(&self.value, Value::Text(text) if text.eq_ignore_ascii_case("cpu"));
        self.said(is_cpu.then_some(()), "cpu, or no such key")
    }

    pub(super) fn place(mut self) -> Result<Address, ConfigError> {
        let place = match &self.value {
            Value::Text(text) => Address::parse(text),
            _ => Err(A_PLACE.to_owned()),
        };
        // Somebody's secret may stand there, although it must not.
        if let Value::Text(text) = &mut self.value
            && let Some(at) = text.find('?')
        {
            text.replace_range(at + 1.., "…");
        }
        match place {
            Ok(place) => self.said(Some(place), ""),
            Err(expected) => self.said(None, expected),
        }
    }

    /// What no message shows, however wrong it is.
    fn secret(mut self) -> Result<String, ConfigError> {
        let value = match std::mem::replace(&mut self.value, Value::Other("not shown".to_owned())) {
            Value::Text(text) if !text.is_empty() && !text.contains(char::is_control) => Some(text),
            _ => None,
        };
        self.said(value, "text, in quotes where it is a number")
    }

    pub(super) fn one_of<T: Copy>(self, words: &[(&str, T)]) -> Result<T, ConfigError> {
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        let mut expected = names.join(", ");
        let mut value = None;
        if let Value::Text(text) = &self.value {
            value = words.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|w| w.1);
            if let Some(near) = nearest(text, names) {
                expected.push_str(&format!(" (did you mean {near}?)"));
            }
        }
        self.said(value, expected)
    }
}

/// `tenants:` and below it, for each name, its keys.
fn tenants(key: &'static str, entry: Entry) -> Result<Vec<TenantConfig>, ConfigError> {
    match entry.value {
        Value::Null => Ok(Vec::new()),
        Value::Map(tenants) => tenants.into_iter().map(|entry| tenant(key, entry)).collect(),
        value => Reader { key, origin: Origin::Line(entry.line), value }
            .said(None, "for each tenant's name its keys"),
    }
}

fn tenant(key: &'static str, entry: Entry) -> Result<TenantConfig, ConfigError> {
    let mut tenant = TenantConfig { name: entry.key, ..TenantConfig::default() };
    let keys = match entry.value {
        Value::Null => Vec::new(),
        Value::Map(keys) => keys,
        value => {
            let read = Reader { key, origin: Origin::Line(entry.line), value };
            return read.said(None, TENANT_KEYS.join(", "));
        }
    };
    for entry in keys {
        let Some(key) = TENANT_KEYS.into_iter().find(|key| *key == entry.key) else {
            return Err(unknown(entry, &TENANT_KEYS, &[]));
        };
        let read = Reader { key, origin: Origin::Line(entry.line), value: entry.value };
        match key {
            "cache_ttl" => tenant.ttl = Some(read.time()?),
            "cache_quota" => tenant.quota_bytes = Some(read.size()?),
            _ => tenant.floor_bytes = read.size()?,
        }
    }
    match tenant.quota_bytes {
        Some(quota) if quota < tenant.floor_bytes => Err(ConfigError::Contradiction {
            first: "cache_quota",
            second: "cache_floor",
            hint: "a tenant cannot be promised more than it may have",
        }),
        _ => Ok(tenant),
    }
}

fn unknown(entry: Entry, keys: &[&str], aliases: &[(&str, &str)]) -> ConfigError {
    unknown_key(entry.key, entry.line, keys, aliases)
}

fn unknown_key(key: String, line: u64, keys: &[&str], aliases: &[(&str, &str)]) -> ConfigError {
    let alias = aliases.iter().find(|(name, _)| *name == key).map(|(_, key)| *key);
    let nearest = alias.or_else(|| nearest(&key, keys.iter().copied())).map(str::to_owned);
    ConfigError::UnknownKey { key, line, nearest }
}

/// The candidate spelt most like `word`, if any is close enough to be what was meant.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    candidates
        .into_iter()
        .map(|name| (similarity(&word, &name.to_ascii_lowercase()), name))
        .filter(|(similarity, _)| *similarity > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// 0 to 1. Jaro-Winkler, except that short words with one slip of the fingers are near as well.
fn similarity(word: &str, name: &str) -> f64 {
    let slip = if strsim::osa_distance(word, name) == 1 { 0.8 } else { 0.0 };
    strsim::jaro_winkler(word, name).max(slip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_names_every_key_and_no_other() {
        const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/kv-store.md");
        let guide = std::fs::read_to_string(GUIDE).unwrap();
        let names = |cell: &str| -> Vec<String> {
            cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
        };
        let rows = guide.lines().filter(|line| line.starts_with("| `"));
        let rows: Vec<(String, Vec<String>)> = rows
            .map(|row| {
                let cells: Vec<&str> = row.split('|').collect();
                (names(cells[1]).concat(), names(cells[2]))
            })
            .collect();
        let keys: Vec<&str> = rows.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, KEYS);
        let aliases =
            rows.iter().flat_map(|(key, others)| others.iter().map(move |other| (other, key)));
        let mut aliases: Vec<(&str, &str)> =
            aliases.map(|(other, key)| (other.as_str(), key.as_str())).collect();
        let mut expected = ALIASES.to_vec();
        aliases.sort_unstable();
        expected.sort_unstable();
        assert_eq!(aliases, expected);
        for key in TENANT_KEYS {
            assert!(guide.contains(key), "{key}");
        }
    }
}
