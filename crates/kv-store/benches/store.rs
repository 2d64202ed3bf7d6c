//! What the tiers reach, beside what the machine does: GB/s of put and get by chunk size and depth, verified as always,
//! and the same bytes by `memcpy` and by plain direct reads. `cargo bench -p kv-store`.
//!
//! Disk files are made in the working directory's file system (`TMPDIR` names another): a file system in memory has no
//! direct reads. The disk's own cache is not emptied: both sides read the same files.

use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use host_io::AlignedBuffer;
use kv_store::chunk::ChunkShape;
use kv_store::clock::SystemClock;
use kv_store::digest::Digest;
use kv_store::disk::{DirectDisk, Disk, LocalDisk};
use kv_store::eviction::lru;
use kv_store::identity::{Identity, IdentityParts};
use kv_store::keys::{ChunkKey, TenantTag};
use kv_store::outcome::ChunkMeta;
use kv_store::tier::{Chunk, DirectoryConfig, DirectoryTier, Expected, HostConfig, HostTier, Tier};

/// SmolLM2's: 23,040 bytes a token.
const SHAPE: ChunkShape =
    ChunkShape { num_layers: 30, num_kv_heads: 3, head_dim: 64, element_bytes: 2 };
/// So many bytes are read in turn: more than the processor's caches hold.
const WORKING_SET_BYTES: usize = 192 << 20;

fn expected() -> Arc<Expected> {
    let identity = Identity::new(&IdentityParts::of_no_model(1));
    Arc::new(Expected { identity: identity.expect("every part is there"), shape: SHAPE })
}

fn key(i: usize) -> ChunkKey {
    ChunkKey(*blake3::hash(&i.to_le_bytes()).as_bytes())
}

/// Chunks that fill the working set.
fn chunks(num_tokens: usize) -> Vec<Arc<Chunk>> {
    let num_bytes = SHAPE.chunk_bytes(num_tokens);
    let mut state = 1u32;
    let bytes: Vec<u8> = (0..num_bytes)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    let meta = ChunkMeta {
        first_token: 0,
        num_tokens: num_tokens as u32,
        tenant: TenantTag::SHARED,
        created_ms: 1,
        expires_ms: None,
    };
    (0..WORKING_SET_BYTES / num_bytes)
        .map(|i| {
            let chunk = Chunk::seal(&SHAPE, key(i), meta.clone(), bytes.clone());
            Arc::new(chunk.expect("as many bytes as the shape says"))
        })
        .collect()
}

/// Runs `one` for all chunks, by so many threads.
fn all(
    num_chunks: usize,
    depth: usize,
    out: &mut [Vec<u8>],
    one: impl Fn(usize, &mut [u8]) + Sync,
) {
    if depth == 1 {
        (0..num_chunks).for_each(|i| one(i, &mut out[0]));
        return;
    }
    std::thread::scope(|scope| {
        for (thread, out) in out.iter_mut().take(depth).enumerate() {
            let one = &one;
            scope.spawn(move || (thread..num_chunks).step_by(depth).for_each(|i| one(i, out)));
        }
    });
}

fn group<'a>(c: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group.sample_size(10);
    group.warm_up_time(std::time::Duration::from_millis(500));
    group.measurement_time(std::time::Duration::from_secs(3));
    group
}

fn memory(c: &mut Criterion) {
    let mut group = group(c, "memory");
    for num_tokens in [64, 256] {
        let chunks = chunks(num_tokens);
        let num_bytes = chunks[0].bytes().len();
        group.throughput(Throughput::Bytes((num_bytes * chunks.len()) as u64));
        let config = HostConfig { cap_bytes: 1 << 40, policy: lru() };
        let tier = HostTier::new(&config, expected(), Arc::new(SystemClock::new()));
        chunks.iter().for_each(|chunk| assert!(tier.put(chunk).is_there()));
        for depth in [1, 2] {
            let mut out = vec![vec![0; num_bytes]; depth];
            let name = |what: &str| BenchmarkId::new(what, format!("{num_tokens} tokens x{depth}"));
            group.bench_function(name("memcpy"), |b| {
                b.iter(|| {
                    all(chunks.len(), depth, &mut out, |i, out| {
                        out.copy_from_slice(black_box(chunks[i].bytes()));
                    });
                });
            });
            group.bench_function(name("get"), |b| {
                b.iter(|| {
                    all(chunks.len(), depth, &mut out, |i, out| {
                        assert!(tier.get(&key(i), 0..30, out).is_hit());
                    });
                });
            });
        }
        group.bench_function(
            BenchmarkId::new("digest alone", format!("{num_tokens} tokens")),
            |b| {
                b.iter(|| {
                    for chunk in &chunks {
                        black_box(Digest::of(chunk.bytes()));
                    }
                });
            },
        );
    }
    group.finish();
}

fn tier(path: &Path, disk: Arc<dyn Disk>) -> DirectoryTier {
    let config = DirectoryConfig { disk, ..DirectoryConfig::new(path, 1 << 40) };
    DirectoryTier::open(&config, expected(), Arc::new(SystemClock::new()))
        .expect("the directory can be written")
}

fn record(path: &Path, i: usize) -> std::path::PathBuf {
    let name = key(i).to_string();
    path.join("records-v1").join(&name[..1]).join(name)
}

/// Past the page cache where the file system allows it.
fn open_direct(path: &Path) -> File {
    let flags = rustix::fs::OFlags::DIRECT.bits() as i32;
    let direct = OpenOptions::new().read(true).custom_flags(flags).open(path);
    direct.or_else(|_| File::open(path)).expect("it is there")
}

fn disk(c: &mut Criterion) {
    let folder = tempfile::tempdir_in(std::env::var_os("TMPDIR").unwrap_or_else(|| ".".into()))
        .expect("the working directory can be written");
    let mut group = group(c, "disk");
    for num_tokens in [64, 256] {
        let chunks = chunks(num_tokens);
        let num_bytes = chunks[0].bytes().len();
        group.throughput(Throughput::Bytes((num_bytes * chunks.len()) as u64));
        let path = folder.path().join(num_tokens.to_string());
        let cached = tier(&path, Arc::new(LocalDisk));
        chunks.iter().for_each(|chunk| assert!(cached.put(chunk).is_there()));
        let direct = DirectDisk::new(&path);
        println!("direct reads: {:?}", direct.fallbacks());
        let direct = tier(&path, Arc::new(direct));
        for depth in [1, 4] {
            let name = |what: &str| BenchmarkId::new(what, format!("{num_tokens} tokens x{depth}"));
            let mut out = vec![vec![0; num_bytes]; depth];
            let tiers = [("get, page cache", &cached), ("get, direct", &direct)];
            for (what, tier) in tiers {
                group.bench_function(name(what), |b| {
                    b.iter(|| {
                        all(chunks.len(), depth, &mut out, |i, out| {
                            assert!(tier.get(&key(i), 0..30, out).is_hit());
                        });
                    });
                });
            }
            // The same files, nothing looked at: into pages as the device wants them.
            let mut aligned: Vec<AlignedBuffer> =
                (0..depth).map(|_| AlignedBuffer::new(num_bytes)).collect();
            group.bench_function(name("raw, direct"), |b| {
                b.iter(|| {
                    std::thread::scope(|scope| {
                        for (thread, out) in aligned.iter_mut().enumerate() {
                            let path = &path;
                            let num_chunks = chunks.len();
                            scope.spawn(move || {
                                for i in (thread..num_chunks).step_by(depth) {
                                    let file = open_direct(&record(path, i));
                                    file.read_exact_at(out, 4096).expect("it can be read");
                                }
                            });
                        }
                    });
                });
            });
        }
        group.bench_function(BenchmarkId::new("put", format!("{num_tokens} tokens")), |b| {
            b.iter(|| {
                for chunk in &chunks {
                    cached.remove(chunk.key());
                    assert!(cached.put(chunk).is_there());
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, memory, disk);
criterion_main!(benches);
