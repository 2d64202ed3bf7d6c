//! `kvasir store`, on directories that the library filled.

use std::path::{Path, PathBuf};

use engine_core::request::TokenId;
use kv_store::chunk::ChunkShape;
use kv_store::identity::{Identity, IdentityParts};
use kv_store::keys::Salt;
use kv_store::store::{NewChunk, Store, StoreConfig};
use kv_store::tier::DirectoryConfig;
use serde_json::Value;

use super::command::kvasir;

const SHAPE: ChunkShape =
    ChunkShape { num_layers: 2, num_kv_heads: 1, head_dim: 64, element_bytes: 2 };

/// A store with so many chunks of 16 tokens; the first has expired.
fn fill(path: &Path, num_chunks: u32) {
    let identity = Identity::new(&IdentityParts::of_no_model(1));
    let config = StoreConfig {
        chunk_size: 16,
        directory: Some(DirectoryConfig::new(path, 1 << 30)),
        ..StoreConfig::default()
    };
    let store = Store::open(config, identity.unwrap(), SHAPE).unwrap();
    for i in 0..num_chunks {
        let tokens: Vec<TokenId> = (0..16).map(|at| TokenId(at + 100 * i)).collect();
        let chunk = store.chunks_of(&Salt::default(), &tokens).remove(0);
        let tenant = Salt::default().tenant_tag();
        let ttl_ms = (i == 0).then_some(1);
        let new = NewChunk { key: chunk.key, tokens: chunk.tokens, tenant, ttl_ms };
        let bytes = (0..SHAPE.chunk_bytes(16)).map(|at| (at * 7) as u8 ^ i as u8).collect();
        assert!(store.put(new, bytes).is_there());
    }
    std::thread::sleep(std::time::Duration::from_millis(5));
}

fn records(path: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(path.join("records-v1"))
        .unwrap()
        .flat_map(|shard| std::fs::read_dir(shard.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    files
}

/// One bit of a record's payload.
fn damage(record: &Path) {
    let mut bytes = std::fs::read(record).unwrap();
    bytes[4096 + 77] ^= 16;
    std::fs::write(record, bytes).unwrap();
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn what_is_there_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kv");
    fill(&path, 4);
    let store = path.to_str().unwrap();
    let stat = json(&kvasir(&["store", "stat", store, "--json"]).ok());
    assert_eq!(stat["num_records"], 4);
    let group = &stat["groups"][0];
    assert_eq!((&group["num_tokens"], &group["num_expired"]), (&64.into(), &1.into()));
    assert_eq!((&group["dtype"], &group["shape"]), (&"bf16".into(), &"2x1x64".into()));
    assert!(kvasir(&["store", "stat", store]).ok().contains("4 records"));
    let rows = json(&kvasir(&["store", "ls", store, "--json"]).ok());
    assert_eq!(rows.as_array().unwrap().len(), 4);
    assert_eq!(kvasir(&["store", "ls", store]).ok().lines().count(), 4);
    let recipe = folder.path().join("lmcache.yaml");
    std::fs::write(&recipe, format!("storage_backend: file\nstorage_path: {store}\n")).unwrap();
    let stat = json(&kvasir(&["store", "stat", recipe.to_str().unwrap(), "--json"]).ok());
    assert_eq!(stat["num_records"], 4, "by a recipe's configuration");
}

#[test]
fn damage_is_found_and_put_aside_only_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kv");
    fill(&path, 3);
    let store = path.to_str().unwrap();
    assert!(kvasir(&["store", "verify", store]).ok().starts_with("3 good, 0 damaged"));
    let victim = records(&path)[1].clone();
    damage(&victim);
    let run = kvasir(&["store", "verify", store, "--json"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("1 records are damaged"), "{}", run.stderr);
    let found = json(&run.stdout);
    assert_eq!((&found["num_good"], &found["num_damaged"]), (&2.into(), &1.into()));
    let name = victim.file_name().unwrap().to_str().unwrap();
    assert_eq!(found["findings"][0]["key"], name);
    assert!(victim.exists(), "nothing is touched unasked");
    assert_eq!(kvasir(&["store", "verify", store, "--quarantine"]).code, Some(1));
    assert!(!victim.exists());
    let stat = json(&kvasir(&["store", "stat", store, "--json"]).ok());
    assert_eq!((&stat["num_records"], &stat["quarantine"]["num"]), (&2.into(), &1.into()));
    kvasir(&["store", "verify", store]).ok();
}

#[test]
fn gc_removes_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kv");
    fill(&path, 5);
    let store = path.to_str().unwrap();
    damage(&records(&path)[0]);
    assert_eq!(kvasir(&["store", "verify", store, "--quarantine"]).code, Some(1));
    let expired = usize::from(
        json(&kvasir(&["store", "stat", store, "--json"]).ok())["groups"][0]["num_expired"] == 1,
    );
    let dry = json(&kvasir(&["store", "gc", store, "--dry-run", "--json"]).ok());
    assert_eq!((&dry["removed"]["quarantine"]["num"], records(&path).len()), (&1.into(), 4));
    let done = json(&kvasir(&["store", "gc", store, "--json"]).ok());
    assert_eq!(done["removed"], dry["removed"], "what was said is done");
    assert_eq!(records(&path).len(), 4 - expired);
    let one = std::fs::metadata(&records(&path)[0]).unwrap().len();
    let capped = kvasir(&["store", "gc", store, "--max-bytes", &(2 * one).to_string(), "--json"]);
    assert!(json(&capped.ok())["bytes_left"].as_u64().unwrap() <= 2 * one);
    assert_eq!(records(&path).len(), 2);
}

#[test]
fn an_archive_carries_good_records_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    fill(&from, 4);
    let archive = folder.path().join("kv.tar");
    let (source, target) = (from.to_str().unwrap(), to.to_str().unwrap());
    let file = archive.to_str().unwrap();
    assert!(kvasir(&["store", "export", source, file]).ok().contains("exported 4 records"));
    kvasir(&["store", "export", source, file]).usage_error(&["kv.tar"]);
    let done = json(&kvasir(&["store", "import", file, target, "--json"]).ok());
    assert_eq!((&done["imported"], &done["already_there"]), (&4.into(), &0.into()));
    for (one, other) in records(&from).iter().zip(records(&to)) {
        assert_eq!(one.file_name(), other.file_name());
        assert_eq!(std::fs::read(one).unwrap(), std::fs::read(other).unwrap());
    }
    damage(&records(&to)[2]);
    let again = json(&kvasir(&["store", "import", file, target, "--json"]).ok());
    assert_eq!((&again["imported"], &again["already_there"]), (&1.into(), &3.into()), "healed");
    kvasir(&["store", "verify", target]).ok();
    // Damage on the way: that record is left out, and the others come.
    let mut bytes = std::fs::read(&archive).unwrap();
    bytes[512 + 4096 + 33] ^= 1;
    std::fs::write(&archive, &bytes).unwrap();
    let third = folder.path().join("third");
    let run = kvasir(&["store", "import", file, third.to_str().unwrap(), "--json"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let run = json(&run.stdout);
    assert_eq!((&run["imported"], run["refused"].as_array().unwrap().len()), (&3.into(), 1));
    // And damage at the source.
    damage(&records(&from)[0]);
    let other = folder.path().join("other.tar");
    let run = kvasir(&["store", "export", source, other.to_str().unwrap()]);
    assert_eq!(run.code, Some(1));
    assert!(run.stdout.contains("exported 3 records"), "{}", run.stdout);
}

#[test]
fn what_is_no_store_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    kvasir(&["store", "stat", path]).usage_error(&["no KV store in", path]);
    kvasir(&["store", "verify", "nfs://a/../b"]).usage_error(&["nfs://SERVER/EXPORT"]);
    let odd = folder.path().join("odd.tar");
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(3);
    builder.append_data(&mut header, "etc/passwd", &b"abc"[..]).unwrap();
    std::fs::write(&odd, builder.into_inner().unwrap()).unwrap();
    let target = folder.path().join("new");
    kvasir(&["store", "import", odd.to_str().unwrap(), target.to_str().unwrap()])
        .usage_error(&["etc/passwd", "no record"]);
    let missing = folder.path().join("missing.tar");
    kvasir(&["store", "import", missing.to_str().unwrap(), target.to_str().unwrap()])
        .usage_error(&["missing.tar"]);
}
