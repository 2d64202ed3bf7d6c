//! Repositories with Hugging Face's HTTP interface: what is in them, and which of it a model needs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use ureq::http::StatusCode;

use super::cache::lock_folder;
use super::download::{self, Fetched, Wanted};
use super::error::HubError;
use super::http::{Attempt, Client, encode_path, encode_segment};
use super::manifest::{Manifest, PulledFile};
use super::name::{HfName, is_safe_file_name};
use super::progress::Progress;

/// Longest list of files that is read.
const MAX_LISTING_BYTES: u64 = 32 << 20;
/// Longest shard index that is read.
const MAX_INDEX_BYTES: u64 = 64 << 20;
const INDEX: &str = "model.safetensors.index.json";
const SINGLE: &str = "model.safetensors";

/// The hub's answer to "what is in this revision".
#[derive(Debug, Deserialize)]
struct Listing {
    #[serde(rename = "sha")]
    commit: Option<String>,
    #[serde(default)]
    siblings: Vec<RemoteFile>,
}

#[derive(Debug, Deserialize)]
struct RemoteFile {
    #[serde(rename = "rfilename")]
    name: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<LfsFile>,
}

#[derive(Debug, Deserialize)]
struct LfsFile {
    sha256: Option<String>,
    size: Option<u64>,
}

impl RemoteFile {
    fn sha256(&self) -> Option<&str> {
        self.lfs.as_ref()?.sha256.as_deref()
    }

    fn size_bytes(&self) -> Option<u64> {
        self.lfs.as_ref().and_then(|lfs| lfs.size).or(self.size)
    }

    /// `entry` is known to be this very content, without asking.
    fn is_same(&self, entry: &PulledFile) -> bool {
        match (self.sha256(), self.blob_id.as_deref()) {
            (Some(sha256), _) => entry.sha256.as_deref() == Some(sha256),
            (None, Some(blob_id)) => entry.blob_id.as_deref() == Some(blob_id),
            (None, None) => false,
        }
    }
}

/// One pull: the repository, its folder, and what has been fetched.
struct Pull<'a> {
    client: &'a Client,
    name: &'a HfName,
    folder: &'a Path,
    files: BTreeMap<String, RemoteFile>,
    /// What the URLs name: the commit, so that a push in the middle does not mix two versions.
    revision: String,
    manifest: Manifest,
    progress: &'a dyn Progress,
}

/// Makes `folder` hold what the hub has under `name` now.
pub(super) fn pull(
    client: &Client,
    name: &HfName,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<PathBuf, HubError> {
    let _lock = lock_folder(folder, progress)?;
    let listing = list(client, name, progress)?;
    let revision = listing
        .commit
        .as_ref()
        .filter(|commit| commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit()))
        .unwrap_or(&name.revision)
        .clone();
    let mut manifest = Manifest::load(folder);
    manifest.commit = listing.commit;
    let files = listing.siblings.into_iter().map(|file| (file.name.clone(), file));
    let mut pull =
        Pull { client, name, folder, files: files.collect(), revision, manifest, progress };
    match &name.gguf {
        Some(gguf) => pull.fetch_gguf(gguf),
        None => pull.fetch_model(),
    }
}

fn list(client: &Client, name: &HfName, progress: &dyn Progress) -> Result<Listing, HubError> {
    let url = client.url(&format!(
        "/api/models/{}/{}/revision/{}?blobs=true",
        name.org,
        name.model,
        encode_segment(&name.revision)
    ));
    let listing: Listing = client.with_retries(progress, || {
        let mut response = client.get(&url, &[], &[StatusCode::OK])?;
        let body = response.body_mut().with_config().limit(MAX_LISTING_BYTES);
        let json = body.read_to_vec().map_err(|error| {
            Attempt::again(HubError::BadReply { url: url.clone(), detail: error.to_string() })
        })?;
        serde_json::from_slice(&json).map_err(|error| {
            Attempt::Final(HubError::BadReply {
                url: url.clone(),
                detail: format!("it is not a list of files ({error})"),
            })
        })
    })?;
    match listing.siblings.iter().find(|file| !is_safe_file_name(&file.name)) {
        Some(file) => Err(HubError::UnsafeFileName { repo: name.repo(), name: file.name.clone() }),
        None => Ok(listing),
    }
}

impl Pull<'_> {
    fn fetch_gguf(&mut self, gguf: &str) -> Result<PathBuf, HubError> {
        if !self.files.contains_key(gguf) {
            return Err(match self.gguf_choices() {
                Some(choices) => HubError::ChooseGguf { repo: self.name.repo(), choices },
                None => self.not_a_model(gguf),
            });
        }
        self.fetch_file(gguf, gguf)?;
        Ok(self.folder.join(gguf))
    }

    fn fetch_model(&mut self) -> Result<PathBuf, HubError> {
        let has_weights = self.files.keys().any(|name| is_weights(name));
        if !has_weights {
            return Err(match self.gguf_choices() {
                Some(choices) => HubError::ChooseGguf { repo: self.name.repo(), choices },
                None => self.not_a_model("*.safetensors"),
            });
        }
        if !self.files.contains_key("config.json") {
            return Err(self.not_a_model("config.json"));
        }
        let mut wanted: Vec<String> =
            self.files.keys().filter(|name| is_metadata(name)).cloned().collect();
        // Until the last file is there, the folder must not pass for a model.
        self.manifest.complete = false;
        self.manifest.store(self.folder)?;
        for name in &wanted {
            self.fetch_file(name, name)?;
        }
        let weights = self.weights()?;
        for (number, name) in weights.iter().enumerate() {
            let label = match weights.len() {
                1 => name.clone(),
                total => format!("{name} ({} of {total})", number + 1),
            };
            self.fetch_file(name, &label)?;
        }
        wanted.extend(weights);
        self.forget_others(&wanted)?;
        self.manifest.complete = true;
        self.manifest.store(self.folder)?;
        Ok(self.folder.to_path_buf())
    }

    /// The shards of the index; without one the single file; else whatever safetensors there are.
    /// Some repositories carry the same weights in a second format beside them.
    fn weights(&self) -> Result<Vec<String>, HubError> {
        if !self.files.contains_key(INDEX) {
            if self.files.contains_key(SINGLE) {
                return Ok(vec![SINGLE.to_owned()]);
            }
            return Ok(self.files.keys().filter(|name| is_weights(name)).cloned().collect());
        }
        let path = self.folder.join(INDEX);
        let shards = read_shards(&path)
            .map_err(|detail| HubError::BadReply { url: self.url(INDEX), detail })?;
        match shards.iter().find(|shard| !self.files.contains_key(*shard)) {
            Some(shard) => Err(self.not_a_model(&format!("{shard}, which its {INDEX} names"))),
            None => Ok(shards.into_iter().collect()),
        }
    }

    /// Fetches one file unless the one on disk is the same.
    fn fetch_file(&mut self, name: &str, label: &str) -> Result<(), HubError> {
        let Some(remote) = self.files.get(name) else {
            return Err(self.not_a_model(name));
        };
        let entry = self.manifest.intact(self.folder, name);
        if entry.is_some_and(|entry| remote.is_same(entry)) {
            return Ok(());
        }
        let path = self.folder.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|source| HubError::io("create", parent, source))?;
        }
        let wanted = Wanted {
            url: self.url(name),
            path: &path,
            label,
            size_bytes: remote.size_bytes(),
            sha256: remote.sha256(),
            // Where the listing names the content, it has just said that this is another.
            have_etag: entry
                .filter(|_| remote.sha256().is_none() && remote.blob_id.is_none())
                .and_then(|entry| entry.etag.as_deref()),
        };
        if let Fetched::New { etag, size_bytes } =
            download::fetch(self.client, &wanted, self.progress)?
        {
            let entry = PulledFile {
                size_bytes,
                sha256: remote.sha256().map(str::to_owned),
                blob_id: remote.blob_id.clone(),
                etag,
            };
            self.manifest.files.insert(name.to_owned(), entry);
            self.manifest.store(self.folder)?;
        }
        Ok(())
    }

    /// Removes files that an earlier version of the model had, GGUF files aside: the loader must
    /// not find two sets of weights.
    fn forget_others(&mut self, wanted: &[String]) -> Result<(), HubError> {
        let stale = |name: &String| !wanted.contains(name) && !is_gguf(name);
        let others: Vec<String> =
            self.manifest.files.keys().filter(|name| stale(name)).cloned().collect();
        for name in others {
            self.manifest.files.remove(&name);
            // The manifest is ours, but it is a file: trust no name in it.
            let path = self.folder.join(&name);
            if is_safe_file_name(&name) && path.exists() {
                fs::remove_file(&path).map_err(|source| HubError::io("remove", &path, source))?;
            }
        }
        Ok(())
    }

    fn url(&self, file: &str) -> String {
        self.client.url(&format!(
            "/{}/{}/resolve/{}/{}",
            self.name.org,
            self.name.model,
            encode_segment(&self.revision),
            encode_path(file)
        ))
    }

    /// Every GGUF file as the user would name it.
    fn gguf_choices(&self) -> Option<String> {
        let choices: Vec<String> = self
            .files
            .keys()
            .filter(|name| is_gguf(name))
            .map(|file| format!("{}:{file}", self.name.repo()))
            .collect();
        (!choices.is_empty()).then(|| choices.join(", "))
    }

    fn not_a_model(&self, what: &str) -> HubError {
        HubError::NotAModel { repo: self.name.repo(), what: what.to_owned() }
    }
}

fn is_gguf(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".gguf")
}

/// Weights at the top of the repository; folders hold other formats of the same model.
fn is_weights(name: &str) -> bool {
    name.ends_with(".safetensors") && !name.contains('/')
}

fn is_metadata(name: &str) -> bool {
    let tokenizer = name.starts_with("tokenizer") && name.ends_with(".json") && !name.contains('/');
    let named = [
        "config.json",
        "generation_config.json",
        "special_tokens_map.json",
        "chat_template.jinja",
        INDEX,
    ];
    tokenizer || named.contains(&name)
}

/// The file names in a shard index, each once.
fn read_shards(path: &Path) -> Result<BTreeSet<String>, String> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let size = super::cache::file_size(path).unwrap_or(0);
    if size > MAX_INDEX_BYTES {
        return Err(format!("the shard index has {size} bytes, more than {MAX_INDEX_BYTES}"));
    }
    let json = fs::read(path).map_err(|error| error.to_string())?;
    let index: Index = serde_json::from_slice(&json)
        .map_err(|error| format!("it is not a shard index ({error})"))?;
    Ok(index.weight_map.into_values().collect())
}
