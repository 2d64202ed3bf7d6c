//! Which files of a directory hold the weights.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use super::fields::parse_object;
use crate::weights::config_error::ConfigError;

/// One file with everything.
pub(super) const SINGLE_FILE: &str = "model.safetensors";
/// The list of several.
pub(super) const INDEX_FILE: &str = "model.safetensors.index.json";

/// `model.safetensors.index.json`: the file of each tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardIndex {
    /// From tensor to file name.
    pub weight_map: BTreeMap<String, String>,
}

impl ShardIndex {
    /// Reads `bytes`, a whole index. File names that could leave the directory are refused.
    ///
    /// # Errors
    /// [`ConfigError`] that names the key or the file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ConfigError> {
        let map = parse_object(bytes)?;
        let entries = map
            .get("weight_map")
            .and_then(serde_json::Value::as_object)
            .ok_or_else(|| ConfigError::Missing { key: "weight_map".to_owned() })?;
        let mut weight_map = BTreeMap::new();
        for (tensor, file) in entries {
            let file = file.as_str().filter(|file| is_plain_file_name(file)).ok_or_else(|| {
                let key = format!("weight_map.{tensor}");
                ConfigError::wrong(
                    key,
                    file,
                    "the name of a .safetensors file in the same directory",
                )
            })?;
            weight_map.insert(tensor.clone(), file.to_owned());
        }
        Ok(ShardIndex { weight_map })
    }

    /// Every file once.
    pub fn files(&self) -> BTreeSet<&str> {
        self.weight_map.values().map(String::as_str).collect()
    }
}

/// One path component, no separator of any system, and the extension that is read here.
fn is_plain_file_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let is_one_name =
        matches!((components.next(), components.next()), (Some(Component::Normal(_)), None));
    is_one_name && !name.contains(['/', '\\', ':', '\0']) && name.ends_with(".safetensors")
}
