//! The tier over HTTP, against a server that someone else wrote.

use std::sync::Arc;

use kv_store::eviction::lru;
use kv_store::outcome::{Lookup, Miss, Put};
use kv_store::tier::Tier;
use kv_store_object::ObjectConfig;
use object_store::aws::AmazonS3Builder;
use tempfile::TempDir;

use crate::server::{ACCESS_KEY, SECRET_KEY, Server};
use crate::support::{chunk, get, key, open};

pub const BUCKET: &str = "kv-chunks";

pub fn start() -> (TempDir, Server) {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join(BUCKET)).unwrap();
    let server = Server::start(root.path());
    (root, server)
}

pub fn config(server: &Server) -> ObjectConfig {
    ObjectConfig::s3_with(client(server, SECRET_KEY), BUCKET, "a/b").unwrap()
}

pub fn client(server: &Server, secret_key: &str) -> AmazonS3Builder {
    AmazonS3Builder::new()
        .with_endpoint(&server.endpoint)
        .with_region("us-east-1")
        .with_access_key_id(ACCESS_KEY)
        .with_secret_access_key(secret_key)
}

#[test]
fn chunks_survive_in_a_bucket_and_are_shared() {
    let (_root, server) = start();
    let tier = open(&config(&server));
    assert!(matches!(get(&tier, 1), Lookup::Miss(Miss::Absent)));
    for i in 0..8 {
        assert_eq!(tier.put(&chunk(i)), Put::Stored);
    }
    drop(tier);
    let tier = open(&config(&server));
    assert_eq!(tier.usage().num_chunks, 8, "listed");
    for i in 0..8 {
        assert!(get(&tier, i).is_hit());
        assert_eq!(tier.put(&chunk(i)), Put::AlreadyThere, "the server refuses the second write");
    }
    tier.remove(&key(3));
    assert!(matches!(get(&tier, 3), Lookup::Miss(Miss::Absent)));
}

#[test]
fn of_many_writers_at_once_one_writes() {
    let (_root, server) = start();
    let config = config(&server);
    let puts: Vec<Put> = std::thread::scope(|scope| {
        let writers: Vec<_> =
            (0..6).map(|_| scope.spawn(|| open(&config).put(&chunk(1)))).collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    // This server fails some of several writers at once; a failure promises nothing, and harms nobody.
    assert!(puts.iter().all(|put| put.is_there() || *put == Put::Failed), "{puts:?}");
    assert!(puts.contains(&Put::Stored), "{puts:?}");
    let tier = open(&config);
    assert!(get(&tier, 1).is_hit());
    assert_eq!(tier.put(&chunk(1)), Put::AlreadyThere);
}

/// The server keeps objects as files, and a file can be damaged behind its back.
#[test]
fn damage_on_the_server_is_a_miss_and_put_aside() {
    let (root, server) = start();
    let tier = open(&config(&server));
    assert_eq!(tier.put(&chunk(1)), Put::Stored);
    let name = key(1).to_string();
    let shard = format!("a/b/records-v{}/{}", kv_store::record::VERSION, &name[..2]);
    let file = root.path().join(BUCKET).join(shard).join(&name);
    let mut record = std::fs::read(&file).unwrap();
    record[4096 + 100] ^= 4;
    std::fs::write(&file, &record).unwrap();
    assert!(matches!(get(&tier, 1), Lookup::Corrupt(_)));
    assert!(!file.exists());
    assert_eq!((tier.stats().corrupt, tier.stats().quarantined), (1, 1));
    assert!(root.path().join(BUCKET).join("a/b/quarantine").join(&name).exists());
    assert_eq!(tier.put(&chunk(1)), Put::Stored);
    assert!(get(&tier, 1).is_hit());
}

#[test]
fn a_server_that_dies_is_a_miss() {
    let (_root, mut server) = start();
    let config = ObjectConfig { policy: lru(), ..config(&server) };
    let tier = Arc::new(open(&config));
    assert_eq!(tier.put(&chunk(1)), Put::Stored);
    server.kill();
    assert!(matches!(get(&*tier, 1), Lookup::Miss(Miss::Io)));
    assert_eq!(tier.put(&chunk(2)), Put::Failed);
    assert!(tier.may_have(&key(1)), "nobody said that it is gone");
    assert_eq!(tier.stats().io_misses, 1);
}
