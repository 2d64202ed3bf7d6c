//! The transfer layer's words, over a real S3 server.

use std::io::ErrorKind;
use std::time::Duration;

use kv_store_object::ObjectBackend;
use transfer::{Access, Agent, Direction, MemoryId, Pair, Remote, Request, Status, TransferError};

use crate::s3::{config, start};

fn run(
    agent: &Agent,
    direction: Direction,
    memory: MemoryId,
    key: &str,
    from: u64,
    len: u64,
) -> Status {
    let remote = Remote::Object { key: key.to_owned(), offset: from };
    let pair = Pair { memory, offset: 0, num_bytes: len, remote };
    let backend = "OBJ".to_owned();
    let request = Request { backend, direction, pairs: vec![pair], notification: None };
    agent.transfer(request).unwrap().wait(Duration::from_secs(20))
}

#[test]
fn memory_becomes_an_object_and_a_range_of_it_memory() {
    let (_root, server) = start();
    let mut agent = Agent::new(2).unwrap();
    agent.add_backend(ObjectBackend::new(&config(&server)).unwrap());
    let bytes: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
    let from = agent.register_memory(bytes.clone(), Access::Private);
    let to = agent.register_memory(vec![0; 5_000], Access::Private);
    let write = |key: &str, from_byte| run(&agent, Direction::Write, from, key, from_byte, 100_000);
    let read = |key: &str, from_byte| run(&agent, Direction::Read, to, key, from_byte, 5_000);
    assert!(matches!(write("kv/one", 0), Status::Done));
    assert!(matches!(read("kv/one", 77_000), Status::Done));
    let found = agent.unregister_memory(to).unwrap();
    assert!(found == bytes[77_000..82_000]);

    let to = agent.register_memory(found, Access::Private);
    let read = |key: &str, from_byte| run(&agent, Direction::Read, to, key, from_byte, 5_000);
    let absent = read("kv/none", 0);
    assert!(
        matches!(absent, Status::Failed(TransferError::Io { kind: ErrorKind::NotFound, .. })),
        "{absent:?}"
    );
    for refused in [
        write("kv/one", 1),
        write("../one", 0),
        write("kv//one", 0),
        write("", 0),
        read("/kv/one", 0),
        read("kv/one", u64::MAX),
        read("kv/one", 98_000),
    ] {
        assert!(matches!(refused, Status::Failed(TransferError::Remote { .. })), "{refused:?}");
    }
    assert!(agent.unregister_memory(to).unwrap() == bytes[77_000..82_000], "nothing else came");
}
