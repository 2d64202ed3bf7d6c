//! Peers over TCP: two processes, and peers that lie, dawdle or are strangers.

mod liars;
mod process;

use std::net::SocketAddr;
use std::time::Duration;

use process::Peer;
use transfer::wire::WireError;
use transfer::{
    Access, Agent, Direction, Limits, MemoryId, Pair, PeerServer, Refusal, Remote, Request, Status,
    TcpPeer, Token, TransferError,
};

pub(crate) const SECRET: &[u8] = b"a token that both sides know";

pub(crate) fn token() -> Token {
    Token::new(SECRET).unwrap()
}

pub(crate) fn limits() -> Limits {
    Limits { message: Duration::from_millis(700), ..Limits::default() }
}

/// An agent that reaches one peer, and the peer's name there.
pub(crate) fn reach(address: SocketAddr, token: Token) -> (Agent, String) {
    let mut agent = Agent::new(2).unwrap();
    agent.add_backend(TcpPeer::new(address, token, limits()));
    (agent, format!("tcp://{address}"))
}

pub(crate) fn request(backend: &str, direction: Direction, pair: Pair) -> Request {
    Request { backend: backend.to_owned(), direction, pairs: vec![pair], notification: None }
}

pub(crate) fn pair(memory: MemoryId, offset: u64, num_bytes: u64, remote: u64) -> Pair {
    let remote = Remote::Memory { memory: MemoryId(remote), offset };
    Pair { memory, offset, num_bytes, remote }
}

pub(crate) fn run(agent: &Agent, request: Request) -> Status {
    agent.transfer(request).unwrap().wait(Duration::from_secs(20))
}

pub(crate) fn failure(status: Status) -> TransferError {
    match status {
        Status::Failed(error) => error,
        other => panic!("{other:?}"),
    }
}

/// Longer than one message, so that it goes in parts.
const NUM_BYTES: usize = (16 << 20) + 12_345;

#[test]
fn another_processes_memory_is_written_and_read() {
    let peer = Peer::start(NUM_BYTES);
    let (agent, name) = reach(peer.address, token());
    let bytes: Vec<u8> = (0..NUM_BYTES).map(|at| (at * 7 + at / 256) as u8).collect();
    let out = agent.register_memory(bytes.clone(), Access::Private);
    let back = agent.register_memory(vec![0; NUM_BYTES], Access::Private);
    let write = Request {
        notification: Some(b"layer 3 is there".to_vec()),
        ..request(&name, Direction::Write, pair(out, 0, NUM_BYTES as u64, 1))
    };
    assert!(matches!(run(&agent, write), Status::Done));
    assert_eq!(peer.heard(), "layer 3 is there", "after the bytes");
    let read = request(&name, Direction::Read, pair(back, 0, NUM_BYTES as u64, 1));
    assert!(matches!(run(&agent, read), Status::Done));
    assert!(agent.unregister_memory(back).unwrap() == bytes);
}

#[test]
fn a_process_that_dies_is_an_error_in_time_and_another_can_come() {
    let mut peer = Peer::start(100);
    let (agent, name) = reach(peer.address, token());
    let id = agent.register_memory(vec![1; 100], Access::Private);
    let write = || request(&name, Direction::Write, pair(id, 0, 100, 1));
    assert!(matches!(run(&agent, write()), Status::Done));
    peer.kill();
    let start = std::time::Instant::now();
    let error = failure(run(&agent, write()));
    assert!(matches!(error, TransferError::Wire { .. } | TransferError::Io { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5));
    let (agent, name) = reach(Peer::start(100).address, token());
    drop((agent, name));
}

#[test]
fn memory_is_shown_as_far_as_it_is_shown() {
    let served = Agent::new(1).unwrap();
    let private = served.register_memory(vec![1; 50], Access::Private);
    let readable = served.register_memory(vec![2; 50], Access::Read);
    let writable = served.register_memory(vec![3; 50], Access::ReadWrite);
    let server =
        PeerServer::start("127.0.0.1:0", served.table().clone(), token(), limits()).unwrap();
    let (agent, name) = reach(server.address(), token());
    let id = agent.register_memory(vec![9; 50], Access::Private);
    let ask = |direction, num_bytes, remote: MemoryId| {
        run(&agent, request(&name, direction, pair(id, 10, num_bytes, remote.0)))
    };
    let refused = |status| match failure(status) {
        TransferError::Refused { refusal, .. } => refusal,
        other => panic!("{other}"),
    };
    use Direction::{Read, Write};
    assert_eq!(refused(ask(Read, 5, private)), Refusal::NoSuchMemory);
    assert_eq!(refused(ask(Read, 5, MemoryId(77))), Refusal::NoSuchMemory);
    assert_eq!(refused(ask(Write, 5, readable)), Refusal::NotAllowed);
    let far = Remote::Memory { memory: readable, offset: u64::MAX };
    let beyond = Pair { memory: id, offset: 0, num_bytes: 5, remote: far };
    assert_eq!(refused(run(&agent, request(&name, Read, beyond))), Refusal::OutOfRange);
    assert!(matches!(ask(Read, 40, readable), Status::Done), "a refusal ends no conversation");
    assert!(matches!(ask(Write, 5, writable), Status::Done));
    served.table().get(readable).unwrap().with(|bytes| assert_eq!(bytes, [2; 50]));
    served.table().get(private).unwrap().with(|bytes| assert_eq!(bytes, [1; 50]));
    // What was read before it was written back: twos, then the nines that memory began with.
    served.table().get(writable).unwrap().with(|bytes| assert_eq!(bytes[10..15], [2; 5]));
    agent.table().get(id).unwrap().with(|bytes| assert_eq!((bytes[9], bytes[10]), (9, 2)));
}

#[test]
fn a_stranger_gets_nowhere() {
    let peer = Peer::start(100);
    let (agent, name) = reach(peer.address, Token::new(*b"another token, as long").unwrap());
    let id = agent.register_memory(vec![0; 100], Access::Private);
    let error = failure(run(&agent, request(&name, Direction::Read, pair(id, 0, 100, 1))));
    let is_closed = matches!(error, TransferError::Wire { error: WireError::Closed, .. });
    assert!(is_closed, "{error}");
    assert!(Token::new(*b"too short").is_none());
}
