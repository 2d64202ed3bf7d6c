//! What a bucket says no with, and what becomes of it.

use std::process::Command;
use std::sync::Arc;

use engine_core::request::TokenId;
use kv_store::clock::SystemClock;
use kv_store::config::{KvConfig, Overrides, Source, ThisMachine};
use kv_store::eviction::Pins;
use kv_store::keys::Salt;
use kv_store::outcome::{Lookup, Miss, Put, TierKind};
use kv_store::store::{NewChunk, Store};
use kv_store::tier::Tier;
use kv_store_object::{ObjectConfig, ObjectError, ObjectTier, OpenError};

use crate::s3::{BUCKET, client, config, start};
use crate::server::{ACCESS_KEY, SECRET_KEY, Server};
use crate::support::{CHUNK_BYTES, SHAPE, bytes, chunk, expected, get, open};

#[test]
fn a_bucket_that_is_busy_or_broken_is_a_miss() {
    let (root, server) = start();
    let tier = open(&config(&server));
    assert_eq!(tier.put(&chunk(1)), Put::Stored);
    for (i, code) in ["SlowDown", "InternalError", "ServiceUnavailable"].into_iter().enumerate() {
        Server::trouble(root.path(), Some(code));
        assert!(matches!(get(&tier, 1), Lookup::Miss(Miss::Io)), "{code}");
        assert_eq!(tier.put(&chunk(2)), Put::Failed, "{code}");
        let stats = tier.stats();
        assert_eq!((stats.io_misses, stats.failed), (i as u64 + 1, i as u64 + 1), "{code}");
        assert_eq!((stats.corrupt, stats.quarantined, stats.misses), (0, 0, 0), "{code}");
        Server::trouble(root.path(), None);
        assert!(get(&tier, 1).is_hit(), "{code} has passed");
    }
}

fn refusal(config: &ObjectConfig) -> ObjectError {
    let opened = ObjectTier::open(config, expected(), Arc::new(SystemClock::new()));
    opened.err().expect("it cannot be opened")
}

#[test]
fn what_is_wrong_is_said_when_it_is_opened() {
    let (_root, server) = start();
    let nobody = ObjectConfig::s3_with(client(&server, SECRET_KEY), "no-such-bucket", "").unwrap();
    let error = refusal(&nobody);
    assert!(matches!(error, ObjectError::NoBucket { .. }), "{error:?}");
    assert!(error.to_string().contains("no bucket no-such-bucket"), "{error}");
    let stranger = ObjectConfig::s3_with(client(&server, "wrong"), BUCKET, "").unwrap();
    let error = refusal(&stranger);
    assert!(matches!(error, ObjectError::Denied { .. }), "{error:?}");
    assert!(error.to_string().contains("AWS_SECRET_ACCESS_KEY"), "{error}");
}

const WORKER: &str = "KV_STORE_TEST_S3_FROM_ENVIRONMENT";

/// Opens what a recipe's file names, with the environment's credentials, as a process that has them does.
#[test]
fn a_recipe_opens_a_bucket_with_the_environments_credentials() {
    if std::env::var_os(WORKER).is_some() {
        return from_environment();
    }
    let (_root, server) = start();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "refusals::a_recipe_opens_a_bucket_with_the_environments_credentials"])
        .env(WORKER, "1")
        .env("AWS_ENDPOINT_URL", &server.endpoint)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .status();
    assert!(status.unwrap().success());
    let tier = open(&config(&server));
    assert_eq!(tier.usage().num_chunks, 1, "what that process stored");
    drop(server);
}

fn from_environment() {
    let store = open_store(&format!("s3://{BUCKET}/a/b")).unwrap();
    let tokens: Vec<TokenId> = (0..16).map(TokenId).collect();
    let new = store.chunks_of(&Salt::default(), &tokens).remove(0);
    let new = NewChunk {
        key: new.key,
        tokens: new.tokens,
        tenant: Salt::default().tenant_tag(),
        ttl_ms: None,
    };
    let puts = store.put(new.clone(), bytes(1));
    assert_eq!(puts.of(TierKind::Object), Some(Put::Stored), "{puts:?}");
    let mut out = vec![0; CHUNK_BYTES];
    let Lookup::Hit(found) = store.get(&new.key, 0..2, &mut out) else { panic!("it is there") };
    assert_eq!(found.tier, TierKind::Object);
    let missing = open_store("s3://no-such-bucket/x").err().expect("there is none");
    assert!(missing.to_string().contains("no bucket no-such-bucket"), "{missing}");
}

fn open_store(place: &str) -> Result<Store, OpenError> {
    open_text(&format!("storage_backend: file\nstorage_path: {place}\n"))
}

fn open_text(text: &str) -> Result<Store, OpenError> {
    let text = format!("chunk_size: 16\n{text}");
    let resolved = KvConfig::read(Source::Text(&text), &Overrides::default(), &ThisMachine);
    let config = resolved.unwrap().expect("a configuration").config;
    kv_store_object::open(&config, 4096, 16, &Pins::default(), expected().identity.clone(), SHAPE)
}

/// What a file says of a bucket comes before what the environment says, whose server is another's.
#[test]
fn a_file_reaches_its_own_server_with_its_own_credentials() {
    let test = "refusals::a_file_reaches_its_own_server_with_its_own_credentials";
    if let Ok(endpoint) = std::env::var(WORKER) {
        let query = format!("endpoint_url={endpoint}&region=us-east-1&addressing_style=path");
        let place = format!("s3://{BUCKET}/a/b?{query}");
        let keys =
            |key, secret| format!("s3_access_key_id: {key}\ns3_secret_access_key: {secret}\n");
        let text = |keys: String| format!("storage_path: {place}\n{keys}");
        open_text(&text(keys(ACCESS_KEY, SECRET_KEY))).unwrap();
        let denied = open_text(&text(keys(ACCESS_KEY, "hush"))).err().expect("a wrong key");
        assert!(denied.to_string().contains("s3_secret_access_key"), "{denied}");
        assert!(!format!("{denied} {denied:?}").contains("hush"), "{denied:?}");
        assert!(open_text(&text(String::new())).is_err(), "the environment's key is wrong");
        return;
    }
    let (_root, server) = start();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(WORKER, &server.endpoint)
        .env("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
        .env("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        .env("AWS_REGION", "eu-west-3")
        .env("AWS_ACCESS_KEY_ID", "another")
        .env("AWS_SECRET_ACCESS_KEY", "another")
        .env("AWS_SESSION_TOKEN", "another")
        .status();
    assert!(status.unwrap().success());
}
