//! Tiers, and the same bytes without them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use host_io::AlignedBuffer;
use kv_store::clock::{Clock, SystemClock};
use kv_store::disk::{DirectDisk, Disk, LocalDisk};
use kv_store::inventory::{DirectoryInventory, Inventory, Item};
use kv_store::keys::ChunkKey;
use kv_store::tier::{Chunk, DirectoryConfig, DirectoryTier, HostConfig, HostTier, Tier};
use kv_store_object::{BucketInventory, ObjectConfig, ObjectError, ObjectTier};
use serde::Serialize;

use super::chunks::{Chunks, SHAPE, expected};
use crate::cli::error::CliError;

/// What is done with all chunks in a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    RawRead,
    Get,
    GetUnverified,
    RawWrite,
    Put,
}

/// Where chunks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Host,
    PageCache,
    Disk,
    Bucket,
}

/// A tier, and what it is compared with.
pub(super) struct Place {
    pub(super) kind: Kind,
    tier: Box<dyn Tier>,
    unverified: Box<dyn Tier>,
    raw: Raw,
}

enum Raw {
    /// The tier's own memory.
    Memory(Vec<Arc<Chunk>>),
    /// The tier's own files, for a disk may be twice as fast in one place as in another; those that are written lie
    /// beside them.
    Files { records: DirectoryInventory, folder: PathBuf, disk: Option<Arc<DirectDisk>> },
    /// The tier's own objects.
    Objects { inventory: BucketInventory, items: Vec<Item> },
}

/// A chunk's turn: its number, and bytes to put.
type Job = (usize, Vec<u8>);

const CAP_BYTES: u64 = 1 << 50;

/// Where a chunk's bytes are in its record.
const PAYLOAD_OFFSET: u64 = kv_store::record::ALIGNMENT as u64;

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

impl Place {
    pub(super) fn host() -> Result<Place, CliError> {
        let expected = expected()?;
        let tier = || HostTier::new(&HostConfig::lru(CAP_BYTES), Arc::clone(&expected), clock());
        let (tier, unverified) = (Box::new(tier()), Box::new(tier().unverified()));
        Ok(Place { kind: Kind::Host, tier, unverified, raw: Raw::Memory(Vec::new()) })
    }

    pub(super) fn directory(folder: &Path, is_direct: bool) -> Result<Place, CliError> {
        let failed = |error: io::Error| CliError::file("write", folder, &error);
        std::fs::create_dir_all(folder.join("raw")).map_err(failed)?;
        let direct = is_direct.then(|| Arc::new(DirectDisk::new(folder)));
        let disk: Arc<dyn Disk> = match &direct {
            Some(direct) => Arc::clone(direct) as _,
            None => Arc::new(LocalDisk),
        };
        let config = DirectoryConfig { disk, ..DirectoryConfig::new(folder.join("kv"), CAP_BYTES) };
        let expected = expected()?;
        let tier = || {
            DirectoryTier::open(&config, Arc::clone(&expected), clock())
                .map_err(|error| CliError::from_usage_error(&error))
        };
        let (tier, unverified) = (Box::new(tier()?), Box::new(tier()?.unverified()));
        let kind = if is_direct { Kind::Disk } else { Kind::PageCache };
        let records = DirectoryInventory::open(&folder.join("kv")).map_err(failed)?;
        let raw = Raw::Files { records, folder: folder.join("raw"), disk: direct };
        Ok(Place { kind, tier, unverified, raw })
    }

    pub(super) fn bucket(config: &ObjectConfig) -> Result<Place, CliError> {
        let failed = |error: ObjectError| CliError::from_usage_error(&error);
        let expected = expected()?;
        let tier = || ObjectTier::open(config, Arc::clone(&expected), clock()).map_err(failed);
        let (tier, unverified) = (Box::new(tier()?), Box::new(tier()?.unverified()));
        let inventory = BucketInventory::open(config).map_err(failed)?;
        let raw = Raw::Objects { inventory, items: Vec::new() };
        Ok(Place { kind: Kind::Bucket, tier, unverified, raw })
    }

    pub(super) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Host => "host memory",
            Kind::PageCache => "files, page cache",
            Kind::Disk => "files, direct",
            Kind::Bucket => "bucket",
        }
    }

    /// What its reads and its writes are compared with.
    pub(super) fn raw_names(&self) -> (&'static str, &'static str) {
        match self.kind {
            Kind::Host => ("memcpy", ""),
            Kind::PageCache => ("read", "write"),
            Kind::Disk => ("direct read", ""),
            Kind::Bucket => ("plain get", ""),
        }
    }

    /// What can be done here. Files are written in one way, however they are read.
    pub(super) fn works(&self) -> &'static [Work] {
        match self.kind {
            Kind::Host | Kind::Bucket => {
                &[Work::RawRead, Work::Get, Work::GetUnverified, Work::Put]
            }
            Kind::Disk => &[Work::RawRead, Work::Get, Work::GetUnverified],
            Kind::PageCache => {
                &[Work::RawRead, Work::Get, Work::GetUnverified, Work::RawWrite, Work::Put]
            }
        }
    }

    /// Why files were read through the page cache, or without io_uring, if they were.
    pub(super) fn fallbacks(&self) -> Vec<String> {
        let Raw::Files { disk: Some(disk), .. } = &self.raw else { return Vec::new() };
        let fallbacks = disk.fallbacks();
        [&fallbacks.no_ring, &fallbacks.no_direct].into_iter().flatten().cloned().collect()
    }

    pub(super) fn fill(&mut self, chunks: &Chunks) -> Result<(), CliError> {
        for key in chunks.keys() {
            let chunk = chunks.seal(key, chunks.bytes().to_vec())?;
            self.put(&chunk)?;
            match &mut self.raw {
                Raw::Memory(raw) => {
                    self.unverified.put(&chunk);
                    raw.push(chunk);
                }
                Raw::Files { .. } | Raw::Objects { .. } => {}
            }
        }
        if let Raw::Objects { inventory, items } = &mut self.raw {
            *items = inventory.list().map_err(|error| no_answer(&error))?;
        }
        Ok(())
    }

    /// Removes what is not in the folder that goes.
    pub(super) fn clear(&self, chunks: &Chunks) {
        if self.kind == Kind::Bucket {
            chunks.keys().iter().for_each(|key| self.tier.remove(key));
        }
    }

    fn put(&self, chunk: &Arc<Chunk>) -> Result<(), CliError> {
        let put = self.tier.put(chunk);
        if put.is_there() {
            return Ok(());
        }
        let message = format!("a chunk could not be stored ({}): {put:?}", self.name());
        Err(CliError::internal(message)
            .with_hint("see whether there is room, or measure fewer --megabytes"))
    }

    /// All chunks, by as many threads as there are buffers; the time that it took.
    pub(super) fn turn(
        &self,
        work: Work,
        chunks: &Chunks,
        buffers: &mut [AlignedBuffer],
    ) -> Result<Duration, CliError> {
        let jobs = self.prepare(work, chunks, buffers.len());
        let start = Instant::now();
        std::thread::scope(|scope| {
            let threads: Vec<_> = jobs
                .into_iter()
                .zip(buffers)
                .map(|(jobs, buffer)| {
                    scope.spawn(move || {
                        jobs.into_iter().try_for_each(|job| self.one(work, chunks, job, buffer))
                    })
                })
                .collect();
            let gone = || CliError::internal("a thread of the measurement has gone");
            threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| gone())?)
        })?;
        Ok(start.elapsed())
    }

    /// What is not measured: nothing may be there before a write.
    fn prepare(&self, work: Work, chunks: &Chunks, num_threads: usize) -> Vec<Vec<Job>> {
        let mut jobs = vec![Vec::new(); num_threads];
        for (i, key) in chunks.keys().iter().enumerate() {
            let bytes = match (work, &self.raw) {
                (Work::Put, _) => {
                    self.tier.remove(key);
                    chunks.bytes().to_vec()
                }
                (Work::RawWrite, Raw::Files { folder, .. }) => {
                    // If it stays, it is written over.
                    let _ = std::fs::remove_file(raw_path(folder, i));
                    Vec::new()
                }
                _ => Vec::new(),
            };
            jobs[i % num_threads].push((i, bytes));
        }
        jobs
    }

    fn one(
        &self,
        work: Work,
        chunks: &Chunks,
        (i, bytes): Job,
        buffer: &mut [u8],
    ) -> Result<(), CliError> {
        let key = &chunks.keys()[i];
        let out = &mut buffer[..chunks.bytes().len()];
        match work {
            Work::Get => self.get(&*self.tier, key, out),
            Work::GetUnverified => self.get(&*self.unverified, key, out),
            Work::Put => self.put(&chunks.seal(key, bytes)?),
            Work::RawRead | Work::RawWrite => self.raw(work, chunks, i, buffer),
        }
    }

    fn get(&self, tier: &dyn Tier, key: &ChunkKey, out: &mut [u8]) -> Result<(), CliError> {
        let lookup = tier.get(key, 0..SHAPE.num_layers as usize, out);
        if lookup.is_hit() {
            return Ok(());
        }
        Err(CliError::internal(format!("a chunk could not be read ({}): {lookup:?}", self.name())))
    }

    /// `buffer` is in whole blocks.
    fn raw(
        &self,
        work: Work,
        chunks: &Chunks,
        i: usize,
        buffer: &mut [u8],
    ) -> Result<(), CliError> {
        let num_bytes = chunks.bytes().len();
        let out = &mut buffer[..num_bytes];
        match &self.raw {
            Raw::Memory(raw) => out.copy_from_slice(raw[i].bytes()),
            Raw::Files { records, folder, disk } => {
                let (path, done) = match work {
                    Work::RawWrite => {
                        let path = raw_path(folder, i);
                        let written = std::fs::write(&path, chunks.bytes());
                        (path, written)
                    }
                    _ => {
                        let path = records.path(&chunks.keys()[i]);
                        let file = open(&path, disk.is_some());
                        let done = file.and_then(|file| read_payload(&file, buffer, num_bytes));
                        (path, done)
                    }
                };
                done.map_err(|error| CliError::file("reach", &path, &error))?;
            }
            Raw::Objects { inventory, items } => {
                let read = inventory.open(&items[i]).and_then(|object| {
                    let object = object.ok_or(io::ErrorKind::NotFound)?;
                    object.read_at(PAYLOAD_OFFSET, out)
                });
                let num_bytes = read.map_err(|error| no_answer(&error))?;
                if num_bytes != out.len() {
                    return Err(CliError::internal("an object is shorter than its chunk"));
                }
            }
        }
        Ok(())
    }
}

fn raw_path(folder: &Path, i: usize) -> PathBuf {
    folder.join(i.to_string())
}

fn no_answer(error: &io::Error) -> CliError {
    CliError::usage(format!("the bucket does not answer: {error}"))
        .with_hint("check its URL and the AWS_* variables")
}

/// Past the page cache where the file system allows it.
fn open(path: &Path, is_direct: bool) -> io::Result<File> {
    if is_direct {
        let flags = rustix::fs::OFlags::DIRECT.bits() as i32;
        let direct = OpenOptions::new().read(true).custom_flags(flags).open(path);
        if direct.is_ok() {
            return direct;
        }
    }
    File::open(path)
}

/// In one piece, as far as the system pleases: a direct read wants room for whole blocks.
fn read_payload(file: &File, buffer: &mut [u8], num_bytes: usize) -> io::Result<()> {
    let mut done = 0;
    while done < num_bytes {
        match file.read_at(&mut buffer[done..], PAYLOAD_OFFSET + done as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => done += more,
        }
    }
    Ok(())
}
