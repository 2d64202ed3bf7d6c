//! One file from a hub, resumed where an earlier attempt stopped.
//!
//! `FILE.part` holds the bytes so far and `FILE.part.json` says of which version they are; both
//! are gone once `FILE` is there. A resumed request asks for the rest with `Range`, and with
//! `If-Range` for the whole file in case it is another version by now (RFC 9110, section 13.1.5).

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use ureq::Body;
use ureq::http::{Response, StatusCode, header};

use super::cache;
use super::digest;
use super::error::HubError;
use super::http::{Attempt, Client};
use super::progress::Progress;

/// Longest file whose size nobody announced.
const MAX_UNANNOUNCED_BYTES: u64 = 1 << 30;

/// What to fetch, and what is known of it.
pub(super) struct Wanted<'a> {
    /// Where from.
    pub url: String,
    /// Where to.
    pub path: &'a Path,
    /// What to call it when talking to the user.
    pub label: &'a str,
    /// Its size, if the hub told.
    pub size_bytes: Option<u64>,
    /// Its SHA-256, if the hub told.
    pub sha256: Option<&'a str>,
    /// The version that is already at `path`.
    pub have_etag: Option<&'a str>,
}

/// How a fetch ended well.
pub(super) enum Fetched {
    /// The file is there.
    New {
        /// Its version, if the server names versions.
        etag: Option<String>,
        /// Its size.
        size_bytes: u64,
    },
    /// The version at hand is still the current one.
    Unchanged,
}

/// Of which version the bytes of a part file are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct PartVersion {
    etag: Option<String>,
    sha256: Option<String>,
    size_bytes: Option<u64>,
}

impl PartVersion {
    /// A strong validator: weak ones (`W/`) may not be used with ranges.
    fn strong_etag(&self) -> Option<&str> {
        self.etag.as_deref().filter(|etag| etag.starts_with('"'))
    }
}

/// The bytes so far.
struct Part {
    path: PathBuf,
    file: File,
    len: u64,
    hasher: Sha256,
    version: PartVersion,
    /// The most bytes there ever were. Only what goes beyond is progress: a server that breaks off
    /// at the same byte each time must not keep us for ever.
    most: u64,
}

/// Fetches `wanted`, over as many attempts as it takes.
pub(super) fn fetch(
    client: &Client,
    wanted: &Wanted<'_>,
    progress: &dyn Progress,
) -> Result<Fetched, HubError> {
    let mut part = Part::open(wanted)?;
    progress.start(wanted.label, wanted.size_bytes.or(part.version.size_bytes));
    progress.position(part.len);
    let fetched = client.with_retries(progress, || attempt(client, wanted, &mut part, progress));
    progress.finish();
    fetched
}

fn attempt(
    client: &Client,
    wanted: &Wanted<'_>,
    part: &mut Part,
    progress: &dyn Progress,
) -> Result<Fetched, Attempt> {
    let resumed_at = part.len;
    // Only a digest can tell that bytes from an earlier run are all there is to fetch.
    let whole = wanted.sha256.is_some() && part.version.size_bytes == Some(part.len);
    if !whole {
        let headers = request_headers(wanted, part);
        let accepted = [
            StatusCode::OK,
            StatusCode::PARTIAL_CONTENT,
            StatusCode::NOT_MODIFIED,
            StatusCode::RANGE_NOT_SATISFIABLE,
        ];
        let response = client.get(&wanted.url, &headers, &accepted)?;
        match response.status() {
            StatusCode::NOT_MODIFIED if wanted.have_etag.is_some() && resumed_at == 0 => {
                part.discard()?;
                return Ok(Fetched::Unchanged);
            }
            StatusCode::OK => part.restart(wanted, &response)?,
            StatusCode::PARTIAL_CONTENT => part.check_continues(wanted, &response)?,
            status => {
                part.reset()?;
                return Err(Attempt::again(HubError::Http {
                    url: wanted.url.clone(),
                    status: status.as_u16(),
                }));
            }
        }
        receive(wanted, part, response, progress)?;
    }
    finish(wanted, part, resumed_at)
}

fn request_headers(wanted: &Wanted<'_>, part: &Part) -> Vec<(header::HeaderName, String)> {
    if part.len > 0 {
        let mut headers = vec![(header::RANGE, format!("bytes={}-", part.len))];
        if let Some(etag) = part.version.strong_etag() {
            headers.push((header::IF_RANGE, etag.to_owned()));
        }
        return headers;
    }
    wanted.have_etag.map(|etag| (header::IF_NONE_MATCH, etag.to_owned())).into_iter().collect()
}

/// Appends the body to the part file; what arrived before a cut stays.
fn receive(
    wanted: &Wanted<'_>,
    part: &mut Part,
    response: Response<Body>,
    progress: &dyn Progress,
) -> Result<(), Attempt> {
    let limit = part.version.size_bytes.unwrap_or(MAX_UNANNOUNCED_BYTES);
    // One byte more than there should be, so that a longer body shows.
    let allowed = limit.saturating_sub(part.len).saturating_add(1);
    let mut body = response.into_body().into_reader().take(allowed);
    let mut piece = vec![0_u8; 1 << 18];
    progress.position(part.len);
    loop {
        let len = match body.read(&mut piece) {
            Ok(0) => break,
            Ok(len) => len,
            Err(error) => {
                return Err(Attempt::Again {
                    error: HubError::Offline {
                        address: wanted.url.clone(),
                        detail: format!("the connection broke ({error})"),
                    },
                    made_progress: part.note_progress(),
                    wait: None,
                });
            }
        };
        if part.len + len as u64 > limit {
            let found_bytes = part.len + len as u64;
            part.discard()?;
            return Err(Attempt::Final(HubError::WrongSize {
                file: wanted.label.to_owned(),
                expected_bytes: limit,
                found_bytes,
            }));
        }
        part.append(&piece[..len])?;
        progress.position(part.len);
    }
    match part.version.size_bytes {
        Some(size) if part.len < size => Err(Attempt::Again {
            error: HubError::WrongSize {
                file: wanted.label.to_owned(),
                expected_bytes: size,
                found_bytes: part.len,
            },
            made_progress: part.note_progress(),
            wait: None,
        }),
        _ => Ok(()),
    }
}

/// Checks the digest and gives the file its name.
fn finish(wanted: &Wanted<'_>, part: &mut Part, resumed_at: u64) -> Result<Fetched, Attempt> {
    if let Some(expected) = wanted.sha256 {
        let found = digest::hex(&part.hasher);
        if found != expected {
            let error = HubError::WrongDigest {
                file: wanted.label.to_owned(),
                expected: expected.to_owned(),
                found,
            };
            part.reset()?;
            // Two halves of different versions deserve one honest attempt from the start.
            return Err(if resumed_at > 0 {
                Attempt::again(error)
            } else {
                part.discard()?;
                Attempt::Final(error)
            });
        }
    }
    part.file
        .sync_all()
        .and_then(|()| fs::rename(&part.path, wanted.path))
        .map_err(|source| HubError::io("finish", wanted.path, source))?;
    remove(&version_path(&part.path))?;
    Ok(Fetched::New { etag: part.version.etag.clone(), size_bytes: part.len })
}

impl Part {
    /// Takes up what an earlier attempt left, if it is of the version that is wanted now.
    fn open(wanted: &Wanted<'_>) -> Result<Part, HubError> {
        let path = suffixed(wanted.path, ".part");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|source| HubError::io("open", &path, source))?;
        let version = fs::read(version_path(&path))
            .ok()
            .and_then(|json| serde_json::from_slice(&json).ok())
            .unwrap_or_default();
        let mut part = Part { path, file, len: 0, hasher: Sha256::new(), version, most: 0 };
        if part.is_of(wanted) {
            part.hash_existing()?;
        } else {
            part.reset()?;
        }
        Ok(part)
    }

    /// The bytes on disk can be part of what is wanted, and a resumed file can be checked.
    fn is_of(&self, wanted: &Wanted<'_>) -> bool {
        let len = self.file.metadata().map_or(0, |metadata| metadata.len());
        let same_sha256 = match (self.version.sha256.as_deref(), wanted.sha256) {
            (Some(part), Some(wanted)) => part == wanted,
            (None, None) => self.version.strong_etag().is_some(),
            _ => false,
        };
        let same_size = wanted.size_bytes.is_none() || self.version.size_bytes == wanted.size_bytes;
        same_sha256 && same_size && self.version.size_bytes.is_none_or(|size| len <= size)
    }

    fn hash_existing(&mut self) -> Result<(), HubError> {
        let mut len = 0;
        self.file
            .seek(SeekFrom::Start(0))
            .and_then(|_| digest::update_from(&mut self.hasher, &self.file, |read| len += read))
            .map_err(|source| HubError::io("read", &self.path, source))?;
        self.len = len;
        self.most = len;
        Ok(())
    }

    /// Forgets the bytes so far.
    fn reset(&mut self) -> Result<(), HubError> {
        self.version = PartVersion::default();
        self.len = 0;
        self.hasher = Sha256::new();
        self.file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)).map(|_| ()))
            .map_err(|source| HubError::io("write", &self.path, source))?;
        remove(&version_path(&self.path))
    }

    /// Removes the part file: nothing of it will be wanted again.
    fn discard(&mut self) -> Result<(), HubError> {
        self.reset()?;
        remove(&self.path)
    }

    /// A whole body comes: notes its version before its first byte is written.
    fn restart(&mut self, wanted: &Wanted<'_>, response: &Response<Body>) -> Result<(), Attempt> {
        self.reset()?;
        let announced = content_length(response);
        if let (Some(expected_bytes), Some(found_bytes)) = (wanted.size_bytes, announced)
            && expected_bytes != found_bytes
        {
            self.discard()?;
            return Err(Attempt::Final(HubError::WrongSize {
                file: wanted.label.to_owned(),
                expected_bytes,
                found_bytes,
            }));
        }
        self.version = PartVersion {
            etag: etag(response),
            sha256: wanted.sha256.map(str::to_owned),
            size_bytes: wanted.size_bytes.or(announced),
        };
        let json = serde_json::to_vec(&self.version)
            .map_err(|error| HubError::io("write", &self.path, std::io::Error::other(error)))?;
        Ok(cache::write_whole(&version_path(&self.path), &json)?)
    }

    /// A part comes: makes sure that it is the part asked for, of the version begun.
    fn check_continues(
        &mut self,
        wanted: &Wanted<'_>,
        response: &Response<Body>,
    ) -> Result<(), Attempt> {
        let range = content_range(response);
        let continues = range.is_some_and(|(start, total)| {
            start == self.len && (total.is_none() || total == self.version.size_bytes)
        });
        let same_version = match (self.version.strong_etag(), etag(response)) {
            (Some(begun), Some(now)) => begun == now,
            _ => true,
        };
        if continues && same_version {
            return Ok(());
        }
        self.reset()?;
        Err(Attempt::again(HubError::BadReply {
            url: wanted.url.clone(),
            detail: "it sent another part of the file than was asked for".to_owned(),
        }))
    }

    /// Whether more is there than ever before.
    fn note_progress(&mut self) -> bool {
        let before = self.most;
        self.most = self.most.max(self.len);
        self.most > before
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        self.file.write_all(bytes).map_err(|source| HubError::io("write", &self.path, source))?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn version_path(part: &Path) -> PathBuf {
    suffixed(part, ".json")
}

fn remove(path: &Path) -> Result<(), HubError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(HubError::io("remove", path, source))
        }
        _ => Ok(()),
    }
}

fn etag(response: &Response<Body>) -> Option<String> {
    let value = response.headers().get(header::ETAG)?;
    value.to_str().ok().map(str::to_owned)
}

/// The length of the file's bytes; a compressed body's length is another.
fn content_length(response: &Response<Body>) -> Option<u64> {
    let headers = response.headers();
    let encoded =
        headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity");
    if encoded {
        return None;
    }
    let value = headers.get(header::CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

/// First byte and total size of `Content-Range: bytes START-END/TOTAL`.
fn content_range(response: &Response<Body>) -> Option<(u64, Option<u64>)> {
    let value = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _end) = range.split_once('-')?;
    Some((start.parse().ok()?, total.parse().ok()))
}
