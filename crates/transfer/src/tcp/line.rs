//! One conversation, with a deadline for everything.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::Token;
use crate::error::TransferError;
use crate::wire::{self, HEADER_BYTES, HELLO_BYTES, Header, SessionKey, WireError};

/// Why a conversation ends.
#[derive(Debug)]
pub(super) enum LineError {
    Io(io::Error),
    TimedOut(Duration),
    Wire(WireError),
}

impl From<WireError> for LineError {
    fn from(error: WireError) -> Self {
        LineError::Wire(error)
    }
}

impl LineError {
    pub(super) fn of(self, peer: &str) -> TransferError {
        let peer = peer.to_owned();
        match self {
            LineError::Io(error) => TransferError::io(peer, &error),
            LineError::TimedOut(after) => TransferError::TimedOut { peer, after },
            LineError::Wire(error) => TransferError::Wire { peer, error },
        }
    }
}

pub(super) struct Line {
    stream: TcpStream,
    key: SessionKey,
    limit: Duration,
}

impl Line {
    /// The first messages. The server's goes second, so that who cannot speak learns nothing.
    pub(super) fn open(
        stream: TcpStream,
        token: &Token,
        limit: Duration,
        is_server: bool,
    ) -> Result<Self, LineError> {
        stream.set_nodelay(true).map_err(LineError::Io)?;
        let own = wire::hello(nonce());
        let mut other = [0; HELLO_BYTES];
        let until = Until::after(limit);
        if !is_server {
            write_all(&stream, &own, &until)?;
        }
        read_exact(&stream, &mut other, &until)?;
        wire::check_hello(&other)?;
        if is_server {
            write_all(&stream, &own, &until)?;
        }
        let (client, server) = if is_server { (&other, &own) } else { (&own, &other) };
        let key = SessionKey::new(&token.0, client, server);
        Ok(Line { stream, key, limit })
    }

    pub(super) fn send(&self, header: &Header, payload: &[u8]) -> Result<(), LineError> {
        let until = Until::after(self.limit);
        write_all(&self.stream, &header.encode(&self.key), &until)?;
        write_all(&self.stream, payload, &until)
    }

    /// The next header, which may be so long in coming.
    pub(super) fn receive(&self, patience: Duration) -> Result<Header, LineError> {
        let mut bytes = [0; HEADER_BYTES];
        read_exact(&self.stream, &mut bytes[..1], &Until::after(patience))?;
        read_exact(&self.stream, &mut bytes[1..], &Until::after(self.limit))?;
        Ok(Header::decode(&bytes, &self.key)?)
    }

    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// The payload of `header`, which is as long as `out`.
    pub(super) fn payload(&self, header: &Header, out: &mut [u8]) -> Result<(), LineError> {
        read_exact(&self.stream, out, &Until::after(self.limit))?;
        if wire::digest(out) == header.payload_digest {
            Ok(())
        } else {
            Err(WireError::Digest.into())
        }
    }
}

/// The system's randomness, through the seed that every hash map has.
fn nonce() -> [u8; 24] {
    let mut nonce = [0; 24];
    for part in nonce.chunks_exact_mut(8) {
        part.copy_from_slice(&RandomState::new().build_hasher().finish().to_le_bytes());
    }
    nonce
}

/// A moment. Whoever sends a byte now and then does not move it.
struct Until {
    limit: Duration,
    moment: Instant,
}

impl Until {
    fn after(limit: Duration) -> Self {
        Until { limit, moment: Instant::now() + limit }
    }

    fn left(&self) -> Result<Duration, LineError> {
        let left = self.moment.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(LineError::TimedOut(self.limit)) } else { Ok(left) }
    }

    /// What a read or a write of no bytes means.
    fn judge(&self, result: io::Result<usize>) -> Result<usize, LineError> {
        match result {
            Ok(0) => Err(WireError::Closed.into()),
            Ok(num_bytes) => Ok(num_bytes),
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => Ok(0),
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Err(LineError::TimedOut(self.limit)),
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Err(WireError::Closed.into()),
                _ => Err(LineError::Io(error)),
            },
        }
    }
}

fn read_exact(mut stream: &TcpStream, out: &mut [u8], until: &Until) -> Result<(), LineError> {
    let mut done = 0;
    while done < out.len() {
        stream.set_read_timeout(Some(until.left()?)).map_err(LineError::Io)?;
        done += until.judge(stream.read(&mut out[done..]))?;
    }
    Ok(())
}

fn write_all(mut stream: &TcpStream, bytes: &[u8], until: &Until) -> Result<(), LineError> {
    let mut done = 0;
    while done < bytes.len() {
        stream.set_write_timeout(Some(until.left()?)).map_err(LineError::Io)?;
        done += until.judge(stream.write(&bytes[done..]))?;
    }
    Ok(())
}
