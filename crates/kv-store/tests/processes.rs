//! Real processes on a real file system, killed at any moment.
//!
//! The parent starts this same program again, which then is a child: it stores and reads until it is killed, and says
//! what `strict` acknowledged.
#![forbid(unsafe_code)]

#[path = "store/support.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kv_store::keys::{ChunkKey, ChunkOf, Salt};
use kv_store::outcome::{Put, TierKind};
use kv_store::store::{Store, StoreConfig};
use kv_store::tier::{DirectoryConfig, Durability};

use support::{SHAPE, bytes_of, identity, new_chunk};

const RECORD_BYTES: u64 = 8192;
const NUM_TOKENS: usize = 8;
const LEASE_MS: u64 = 1_000;
/// A child's directory, cap in records, keys and seed.
const CHILD: &str = "KV_STORE_TEST_CHILD";
/// What a child says of wrong bytes.
const WRONG: &str = "wrong";

fn open(dir: &Path, cap_records: u64) -> Store {
    let directory = DirectoryConfig {
        durability: Durability::Strict,
        lease_ms: LEASE_MS,
        ..DirectoryConfig::new(dir, cap_records * RECORD_BYTES)
    };
    let config = StoreConfig {
        chunk_size: NUM_TOKENS,
        directory: Some(directory),
        ..StoreConfig::default()
    };
    Store::open(config, identity(1), SHAPE).unwrap()
}

fn chunk(i: u64) -> ChunkOf {
    let key = ChunkKey::root(&identity(1), &Salt::tenant(i.to_string()));
    ChunkOf { key, tokens: 0..NUM_TOKENS }
}

/// Whether there is a hit, which then is exact.
fn get(store: &Store, i: u64) -> Result<bool, String> {
    let key = chunk(i).key;
    let mut out = vec![0; SHAPE.chunk_bytes(NUM_TOKENS)];
    let lookup = store.get(&key, 0..3, &mut out);
    if lookup.is_hit() && out != bytes_of(&key, NUM_TOKENS) {
        return Err(format!("{WRONG} bytes of chunk {i}"));
    }
    Ok(lookup.is_hit())
}

/// Not a test by itself: what a child does.
#[test]
fn child() {
    let Ok(task) = std::env::var(CHILD) else { return };
    let mut parts = task.rsplitn(4, ':');
    let mut number = || parts.next().unwrap().parse::<u64>().unwrap();
    let (mut state, num_keys, cap_records) = (number(), number(), number());
    let store = open(Path::new(parts.next().unwrap()), cap_records);
    let mut said = std::io::stdout();
    loop {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let i = (state >> 33) % num_keys;
        if state >> 63 == 0 {
            let chunk = chunk(i);
            let puts = store.put(new_chunk(&chunk), bytes_of(&chunk.key, NUM_TOKENS));
            match puts.of(TierKind::Disk).unwrap() {
                Put::Stored | Put::AlreadyThere => writeln!(said, "kept {i}").unwrap(),
                _ => continue,
            }
        } else {
            match get(&store, i) {
                Ok(true) => writeln!(said, "read {i}").unwrap(),
                Ok(false) => continue,
                Err(wrong) => writeln!(said, "{wrong}").unwrap(),
            }
        }
        said.flush().unwrap();
    }
}

/// A child, and who listens to it.
struct Running {
    child: Child,
    said: JoinHandle<Vec<String>>,
}

impl Running {
    fn start(dir: &Path, cap_records: u64, num_keys: u64, seed: u64) -> Self {
        let task = format!("{}:{cap_records}:{num_keys}:{seed}", dir.display());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(CHILD, task)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = std::thread::spawn(move || lines.map_while(Result::ok).collect());
        Running { child, said }
    }

    /// Kills it with SIGKILL; what it said until then.
    fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.said.join().unwrap()
    }
}

fn kept(said: &[String]) -> BTreeSet<u64> {
    said.iter().filter_map(|line| line.strip_prefix("kept ")?.parse().ok()).collect()
}

fn assert_no_wrong(said: &[String]) {
    let wrong: Vec<_> = said.iter().filter(|line| line.contains(WRONG)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// Waits until nothing is left of those that died.
fn wait_for_order(dir: &Path) {
    let start = Instant::now();
    loop {
        let count = |name: &str| std::fs::read_dir(dir.join(name)).unwrap().count();
        let (staging, members) = (count("staging"), count("members"));
        if (staging, members) == (0, 1) {
            return;
        }
        let waited = start.elapsed();
        assert!(waited < Duration::from_secs(30), "{staging} staging files, {members} members");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn what_strict_acknowledged_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("kv");
    let mut acknowledged = BTreeSet::new();
    for round in 0..16 {
        let child = Running::start(&dir, 1000, 200, 1 + round);
        std::thread::sleep(Duration::from_millis(40 + 37 * round % 160));
        let said = child.kill();
        assert_no_wrong(&said);
        acknowledged.extend(kept(&said));
        let store = open(&dir, 1000);
        for &i in &acknowledged {
            assert_eq!(get(&store, i), Ok(true), "round {round}: chunk {i} was acknowledged");
        }
    }
    assert!(acknowledged.len() > 20, "{}", acknowledged.len());
    let _store = open(&dir, 1000);
    wait_for_order(&dir);
}

/// Bytes of records, staging and quarantine, each file once.
fn taken(dir: &Path) -> u64 {
    let mut files = BTreeMap::new();
    let shards = std::fs::read_dir(dir.join("records-v1")).into_iter().flatten().flatten();
    let others = ["staging", "quarantine"].map(|name| dir.join(name));
    for dir in shards.map(|entry| entry.path()).chain(others) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if let Ok(metadata) = entry.metadata() {
                files.insert(metadata.ino(), metadata.blocks() * 512);
            }
        }
    }
    files.values().sum()
}

#[test]
fn eight_processes_on_one_directory() {
    const NUM_PROCESSES: usize = 8;
    const CAP_RECORDS: u64 = 64;
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("kv");
    let mut seed = 100;
    let mut start = || {
        seed += 1;
        Running::start(&dir, CAP_RECORDS, 3 * CAP_RECORDS, seed)
    };
    let mut children: Vec<_> = (0..NUM_PROCESSES).map(|_| start()).collect();
    let begin = Instant::now();
    let mut said = Vec::new();
    let mut most = 0;
    let mut num_kills = 0;
    while begin.elapsed() < Duration::from_secs(15) {
        for _ in 0..8 {
            std::thread::sleep(Duration::from_millis(50));
            most = most.max(taken(&dir));
        }
        let killed = std::mem::replace(&mut children[num_kills % NUM_PROCESSES], start());
        said.extend(killed.kill());
        num_kills += 1;
    }
    children.into_iter().for_each(|child| said.extend(child.kill()));
    assert_no_wrong(&said);
    let num_reads = said.iter().filter(|line| line.starts_with("read")).count();
    println!(
        "{num_kills} kills, {} stored, {num_reads} read, at most {most} bytes",
        kept(&said).len()
    );
    assert!(num_reads > 100, "{num_reads}");
    // A batch of this cap is one record.
    let cap_bytes = CAP_RECORDS * RECORD_BYTES;
    assert!(most <= cap_bytes + RECORD_BYTES, "{most} bytes of {cap_bytes}");
    assert!(most > cap_bytes / 2, "{most} bytes of {cap_bytes}: the cap was not reached");
    let store = open(&dir, CAP_RECORDS);
    for i in 0..3 * CAP_RECORDS {
        get(&store, i).unwrap();
    }
    wait_for_order(&dir);
    assert!(taken(&dir) <= cap_bytes);
}
