//! Servers that lie or dawdle, and clients that do.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use transfer::wire::{
    HEADER_BYTES, HELLO_BYTES, Header, Kind, MAX_PAYLOAD_BYTES, SessionKey, WireError, hello,
};
use transfer::{Access, Agent, Direction, PeerServer, Status, TransferError};

use super::{SECRET, failure, limits, pair, reach, request, run, token};

/// A server that speaks well until it answers one read of 8 bytes by `answer`.
fn liar(
    answer: impl FnOnce(&mut TcpStream, &SessionKey, Header) + Send + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut other, own) = ([0; HELLO_BYTES], hello([5; 24]));
        stream.read_exact(&mut other).unwrap();
        stream.write_all(&own).unwrap();
        let key = SessionKey::new(SECRET, &other, &own);
        let mut bytes = [0; HEADER_BYTES];
        stream.read_exact(&mut bytes).unwrap();
        answer(&mut stream, &key, Header::decode(&bytes, &key).unwrap());
    });
    (address, thread)
}

fn data(request: &Header, payload: &[u8]) -> Header {
    let header = Header::bare(Kind::Data, request.sequence).with_payload(payload);
    Header { num_bytes: payload.len() as u64, ..header }
}

/// What a client that asks a liar for 8 bytes gets, and how long that takes.
fn ask(
    answer: impl FnOnce(&mut TcpStream, &SessionKey, Header) + Send + 'static,
) -> (TransferError, Duration) {
    let (address, thread) = liar(answer);
    let (agent, name) = reach(address, token());
    let id = agent.register_memory(vec![0; 8], Access::Private);
    let start = Instant::now();
    let error = failure(run(&agent, request(&name, Direction::Read, pair(id, 0, 8, 1))));
    let took = start.elapsed();
    drop(agent);
    thread.join().unwrap();
    (error, took)
}

fn wire_error(
    answer: impl FnOnce(&mut TcpStream, &SessionKey, Header) + Send + 'static,
) -> WireError {
    match ask(answer).0 {
        TransferError::Wire { error, .. } => error,
        other => panic!("{other}"),
    }
}

#[test]
fn a_lie_is_an_error_with_its_name() {
    let wrong_bytes = wire_error(|stream, key, asked| {
        stream.write_all(&data(&asked, b"12345678").encode(key)).unwrap();
        stream.write_all(b"12345679").unwrap();
    });
    assert_eq!(wrong_bytes, WireError::Digest);
    let longer = wire_error(|stream, key, asked| {
        stream.write_all(&data(&asked, b"123456789").encode(key)).unwrap();
    });
    assert_eq!(longer, WireError::Unexpected);
    let huge = wire_error(|stream, key, asked| {
        let num_bytes = MAX_PAYLOAD_BYTES * 1000;
        let header = Header { payload_bytes: num_bytes, num_bytes, ..data(&asked, b"") };
        stream.write_all(&header.encode(key)).unwrap();
    });
    assert_eq!(huge, WireError::TooLong(MAX_PAYLOAD_BYTES * 1000));
    let stale = wire_error(|stream, key, asked| {
        let old = Header { sequence: asked.sequence - 1, ..data(&asked, b"12345678") };
        stream.write_all(&old.encode(key)).unwrap();
    });
    assert_eq!(stale, WireError::Unexpected);
    let done = wire_error(|stream, key, asked| {
        stream.write_all(&Header::bare(Kind::Done, asked.sequence).encode(key)).unwrap();
    });
    assert_eq!(done, WireError::Unexpected, "no bytes came");
    let forged = wire_error(|stream, key, asked| {
        let mut bytes = data(&asked, b"12345678").encode(key);
        bytes[24] ^= 1;
        stream.write_all(&bytes).unwrap();
    });
    assert_eq!(forged, WireError::NotAuthentic);
    let half = wire_error(|stream, key, asked| {
        stream.write_all(&data(&asked, b"12345678").encode(key)).unwrap();
        stream.write_all(b"1234").unwrap();
    });
    assert_eq!(half, WireError::Closed);
}

/// A byte now and then does not hold a client longer than silence does.
#[test]
fn who_dawdles_is_left() {
    let limit = limits().message;
    let silent = ask(move |stream, _, _| {
        let _ = stream.read(&mut [0]);
    });
    let dripping = ask(|stream, key, asked| {
        for byte in data(&asked, b"12345678").encode(key) {
            if stream.write_all(&[byte]).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    for (error, took) in [silent, dripping] {
        assert!(matches!(error, TransferError::TimedOut { .. }), "{error}");
        assert!(took >= limit && took < 6 * limit, "{took:?}");
    }
}

fn greet(address: SocketAddr) -> (TcpStream, SessionKey) {
    let mut stream = TcpStream::connect(address).unwrap();
    let (own, mut other) = (hello([6; 24]), [0; HELLO_BYTES]);
    stream.write_all(&own).unwrap();
    stream.read_exact(&mut other).unwrap();
    let key = SessionKey::new(SECRET, &own, &other);
    (stream, key)
}

/// Whether the server has ended the conversation.
fn is_ended(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_))
}

#[test]
fn a_server_outlives_its_clients() {
    let agent = Agent::new(1).unwrap();
    let id = agent.register_memory(vec![4; 8], Access::ReadWrite);
    let limits = transfer::Limits { max_peers: 2, ..limits() };
    let table = agent.table().clone();
    let server = PeerServer::start("127.0.0.1:0", table, token(), limits).unwrap();
    let mut noise = TcpStream::connect(server.address()).unwrap();
    noise.write_all(b"GET / HTTP/1.1\r\nHost: somewhere or other\r\n\r\n").unwrap();
    assert!(is_ended(&mut noise));

    // The same message twice: the second is not done.
    let (mut replayer, key) = greet(server.address());
    let write = Header { memory: id, num_bytes: 4, ..Header::bare(Kind::Write, 1) };
    let write = write.with_payload(b"abcd");
    let message = [&write.encode(&key)[..], b"abcd"].concat();
    replayer.write_all(&message).unwrap();
    let mut reply = [0; HEADER_BYTES];
    replayer.read_exact(&mut reply).unwrap();
    assert_eq!(Header::decode(&reply, &key).map(|header| header.kind), Ok(Kind::Done));
    agent.table().get(id).unwrap().with_mut(|bytes| bytes.fill(4));
    replayer.write_all(&message).unwrap();
    assert!(is_ended(&mut replayer));

    // A payload that is not what its digest says changes nothing.
    let (mut liar, key) = greet(server.address());
    liar.write_all(&[&write.encode(&key)[..], b"abce"].concat()).unwrap();
    assert!(is_ended(&mut liar));
    agent.table().get(id).unwrap().with(|bytes| assert_eq!(bytes, [4; 8]));

    // Two who say nothing fill the house, until they are shown out.
    let mut silent = [(); 2].map(|()| TcpStream::connect(server.address()).unwrap());
    std::thread::sleep(Duration::from_millis(100));
    let mut third = TcpStream::connect(server.address()).unwrap();
    assert!(is_ended(&mut third));
    assert!(silent.iter_mut().all(is_ended));
    let (client, name) = reach(server.address(), token());
    let own = client.register_memory(vec![0; 8], Access::Private);
    let read = request(&name, Direction::Read, pair(own, 0, 8, id.0));
    assert!(matches!(run(&client, read), Status::Done));
    drop(server);
    let read = request(&name, Direction::Read, pair(own, 0, 8, id.0));
    assert!(matches!(run(&client, read), Status::Failed(_)));
}
