//! Requests against files, and messages against a flipped bit.

#[path = "../../../fuzz/src/transfer_wire.rs"]
mod invariants;

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use transfer::wire::{HEADER_BYTES, Header, Kind, MAX_PAYLOAD_BYTES, SessionKey, WireError, hello};
use transfer::{
    Access, Agent, Direction, MemoryId, Pair, Posix, Refusal, Remote, Request, Status,
    TransferError,
};

fn agent(folder: &Path) -> Agent {
    agent_with(Posix::new(folder))
}

fn agent_with(posix: Posix) -> Agent {
    let mut agent = Agent::new(2).unwrap();
    agent.add_backend(posix);
    agent
}

fn request(direction: Direction, pairs: Vec<Pair>) -> Request {
    Request { backend: "POSIX".to_owned(), direction, pairs, notification: None }
}

fn file(path: &str, offset: u64) -> Remote {
    Remote::File { path: path.into(), offset }
}

fn run(agent: &Agent, request: Request) -> Status {
    agent.transfer(request).unwrap().wait(Duration::from_secs(20))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Writes and reads of random ranges do what copies between two vectors do.
    #[test]
    fn a_file_is_as_memory(
        steps in prop::collection::vec((any::<bool>(), 0u64..900, 0u64..900, 1u64..100), 1..12),
        is_direct: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let agent = agent_with(match is_direct {
            true => Posix::direct(folder.path()),
            false => Posix::new(folder.path()),
        });
        let mut memory: Vec<u8> = (0..1000).map(|at| (at % 251) as u8).collect();
        let mut there = vec![0; 1000];
        std::fs::write(folder.path().join("a"), &there).unwrap();
        let id = agent.register_memory(memory.clone(), Access::Private);
        for (is_read, offset, remote_offset, num_bytes) in steps {
            let direction = if is_read { Direction::Read } else { Direction::Write };
            let remote = file("a", remote_offset);
            let pair = Pair { memory: id, offset, num_bytes, remote };
            let status = run(&agent, request(direction, vec![pair]));
            prop_assert!(matches!(status, Status::Done), "{status:?}");
            let (here, far) = (offset as usize, remote_offset as usize);
            let len = num_bytes as usize;
            if is_read {
                memory[here..here + len].copy_from_slice(&there[far..far + len]);
            } else {
                there[far..far + len].copy_from_slice(&memory[here..here + len]);
            }
        }
        prop_assert_eq!(std::fs::read(folder.path().join("a")).unwrap(), there);
        prop_assert_eq!(agent.unregister_memory(id).unwrap(), memory);
    }

    #[test]
    fn headers_come_back(
        kind in 0..6, sequence: u64, memory: u64, offset: u64, num_bytes in 0..MAX_PAYLOAD_BYTES, digest: u128
    ) {
        let kind = [Kind::Read, Kind::Write, Kind::Notify, Kind::Data, Kind::Done, Kind::Refused]
            [kind as usize];
        let payload_bytes = match kind {
            Kind::Write | Kind::Data => num_bytes,
            Kind::Notify => num_bytes % 4097,
            _ => 0,
        };
        let refusal = (kind == Kind::Refused).then_some(Refusal::OutOfRange);
        let header = Header {
            kind, sequence, memory: MemoryId(memory), offset, num_bytes, payload_bytes, payload_digest: digest, refusal,
        };
        prop_assert_eq!(Header::decode(&header.encode(&key()), &key()), Ok(header));
    }
}

fn key() -> SessionKey {
    SessionKey::new(b"sixteen secret bytes", &hello([1; 24]), &hello([2; 24]))
}

#[test]
fn no_flipped_bit_is_a_header() {
    let header = Header { num_bytes: 100, ..Header::bare(Kind::Read, 7) };
    let bytes = header.encode(&key());
    for bit in 0..HEADER_BYTES * 8 {
        let mut damaged = bytes;
        damaged[bit / 8] ^= 1 << (bit % 8);
        let decoded = Header::decode(&damaged, &key());
        assert!(matches!(decoded, Err(WireError::Magic | WireError::NotAuthentic)), "bit {bit}");
    }
    for other in [hello([3; 24]), hello([1; 24])] {
        let other = SessionKey::new(b"sixteen secret bytes", &hello([1; 24]), &other);
        assert_eq!(Header::decode(&bytes, &other), Err(WireError::NotAuthentic));
    }
}

/// Authentic and nonsense: what a peer of a broken build would send.
#[test]
fn an_authentic_header_is_bounded_too() {
    let bare = Header::bare;
    let huge = MAX_PAYLOAD_BYTES + 1;
    let headers = [
        Header { payload_bytes: huge, num_bytes: huge, ..bare(Kind::Write, 1) },
        Header { payload_bytes: u64::MAX, num_bytes: u64::MAX, ..bare(Kind::Data, 1) },
        Header { payload_bytes: 4097, ..bare(Kind::Notify, 1) },
        Header { payload_bytes: 1, ..bare(Kind::Done, 1) },
        Header { num_bytes: huge, ..bare(Kind::Read, 1) },
    ];
    for header in headers {
        let decoded = Header::decode(&header.encode(&key()), &key());
        assert!(matches!(decoded, Err(WireError::TooLong(_))), "{header:?}: {decoded:?}");
    }
    let unequal = Header { payload_bytes: 5, num_bytes: 6, ..bare(Kind::Write, 1) };
    let decoded = Header::decode(&unequal.encode(&key()), &key());
    assert_eq!(decoded, Err(WireError::Fields));
    for (at, value) in [(8, 2), (12, 0), (12, 7), (72, 9), (80, 1)] {
        let mut bytes = bare(Kind::Done, 1).encode(&key());
        bytes[at] = value;
        key().seal(&mut bytes);
        let decoded = Header::decode(&bytes, &key());
        assert!(matches!(decoded, Err(WireError::Version(2) | WireError::Fields)), "{at}");
    }
}

#[test]
fn what_cannot_be_done_is_said_before_or_after() {
    let folder = tempfile::tempdir().unwrap();
    let agent = agent(folder.path());
    let id = agent.register_memory(vec![0; 10], Access::Private);
    let pair = |offset, num_bytes, remote| Pair { memory: id, offset, num_bytes, remote };
    let ask = |pairs| agent.transfer(request(Direction::Write, pairs)).map(drop);
    for (offset, num_bytes) in [(0, 11), (10, 1), (u64::MAX, 2), (2, u64::MAX)] {
        let refused = ask(vec![pair(offset, num_bytes, file("a", 0))]);
        assert!(matches!(refused, Err(TransferError::OutOfRange { .. })), "{offset}+{num_bytes}");
    }
    let unknown = Pair { memory: MemoryId(99), offset: 0, num_bytes: 1, remote: file("a", 0) };
    assert!(matches!(ask(vec![unknown]), Err(TransferError::NotRegistered { .. })));
    let gone = Request { backend: "UCX".to_owned(), ..request(Direction::Read, Vec::new()) };
    let error = agent.transfer(gone).map(drop).unwrap_err();
    assert!(error.to_string().contains("POSIX"), "{error}");
    for path in ["../a", "/etc/passwd", "", "a/../../b"] {
        let status = run(&agent, request(Direction::Write, vec![pair(0, 4, file(path, 0))]));
        assert!(matches!(status, Status::Failed(TransferError::Remote { .. })), "{path}");
    }
    let status = run(&agent, request(Direction::Read, vec![pair(0, 4, file("missing", 0))]));
    assert!(matches!(status, Status::Failed(TransferError::Io { .. })), "{status:?}");
    std::fs::write(folder.path().join("short"), b"ab").unwrap();
    let status = run(&agent, request(Direction::Read, vec![pair(0, 4, file("short", 0))]));
    assert!(matches!(status, Status::Failed(TransferError::Io { .. })), "{status:?}");
    let told = Request { notification: Some(vec![1]), ..request(Direction::Read, Vec::new()) };
    assert!(matches!(run(&agent, told), Status::Failed(TransferError::Remote { .. })));
}

/// The fuzzer's seeds are what they are for, and with any byte of them replaced nothing worse happens.
#[test]
fn the_fuzzers_seeds_are_headers() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/transfer_wire");
    for seed in std::fs::read_dir(seeds).unwrap() {
        let seed = std::fs::read(seed.unwrap().path()).unwrap();
        assert!(invariants::transfer_wire(&seed));
        for at in 0..seed.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut changed = seed.clone();
                changed[at] = byte;
                invariants::transfer_wire(&changed);
            }
        }
    }
}
