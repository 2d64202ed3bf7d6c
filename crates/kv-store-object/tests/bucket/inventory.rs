//! What looks after a bucket, over HTTP.

use std::sync::Arc;

use kv_store::codec::codecs;
use kv_store::inventory::{self, Inventory, Item, Remains, Verdict};
use kv_store::outcome::Put;
use kv_store::record::Plain;
use kv_store::tier::Tier;
use kv_store_object::BucketInventory;

use crate::s3::{BUCKET, config, start};
use crate::support::{chunk, get, key, open};

#[test]
fn a_buckets_records_are_seen_by_those_who_look_after_it() {
    let (root, server) = start();
    let config = config(&server);
    let codecs = codecs(Arc::new(Plain));
    let tier = open(&config);
    for i in 0..3 {
        assert_eq!(tier.put(&chunk(i)), Put::Stored);
    }
    let bucket = BucketInventory::open(&config).unwrap();
    let items = bucket.list().unwrap();
    assert_eq!(items.iter().map(|item| item.key).collect::<Vec<_>>(), [0, 1, 2].map(key));
    for item in &items {
        let Verdict::Good(header) = inventory::header(&bucket, item) else { panic!("{item:?}") };
        assert_eq!((header.key, header.record_bytes()), (item.key, item.bytes));
        assert!(matches!(inventory::verify(&bucket, item, &codecs), Verdict::Good(_)));
    }
    let (_, record) = inventory::read(&bucket, &items[1], &codecs).unwrap();
    let name = key(1).to_string();
    let shard = format!("a/b/records-v{}/{}", kv_store::record::VERSION, &name[..2]);
    let file = root.path().join(BUCKET).join(shard).join(&name);
    let mut damaged = record.clone();
    damaged[4096 + 9] ^= 1;
    std::fs::write(&file, damaged).unwrap();
    assert!(matches!(inventory::verify(&bucket, &items[1], &codecs), Verdict::Damaged(_)));
    assert!(!bucket.publish(&key(1), &record).unwrap(), "nothing is replaced");
    assert!(!bucket.quarantine(&items[0], &codecs).unwrap(), "a good one stays");
    assert!(bucket.quarantine(&items[1], &codecs).unwrap());
    assert!(bucket.publish(&key(1), &record).unwrap());
    assert!(get(&tier, 1).is_hit());
    let bytes = items[1].bytes;
    assert_eq!(bucket.quarantined().unwrap(), Remains { num: 1, bytes });
    assert_eq!(bucket.empty_quarantine().unwrap(), Remains { num: 1, bytes });
    bucket.remove(&items[2]).unwrap();
    assert_eq!(bucket.list().unwrap().len(), 2);
    let gone = Item { key: key(9), bytes: 10_000 };
    assert!(!matches!(inventory::verify(&bucket, &gone, &codecs), Verdict::Good(_)));
}
