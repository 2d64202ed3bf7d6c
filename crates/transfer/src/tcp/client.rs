//! Reaching a peer's memory.

use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, PoisonError};

use super::line::{Line, LineError};
use super::{Limits, Token};
use crate::backend::{Backend, Remote};
use crate::error::TransferError;
use crate::memory::MemoryId;
use crate::wire::{Header, Kind, MAX_NOTIFICATION_BYTES, MAX_PAYLOAD_BYTES, WireError};

/// A peer's memory, over one connection that is made when it is needed, and again after a failure.
pub struct TcpPeer {
    name: String,
    address: SocketAddr,
    token: Token,
    limits: Limits,
    talk: Mutex<Option<Talk>>,
}

struct Talk {
    line: Line,
    sequence: u64,
}

impl TcpPeer {
    /// A peer; nothing is sent yet. Requests name it `tcp://ADDRESS`.
    pub fn new(address: SocketAddr, token: Token, limits: Limits) -> Self {
        TcpPeer { name: format!("tcp://{address}"), address, token, limits, talk: Mutex::new(None) }
    }

    /// Asks, and gives the answer: its payload is in `out`, which must be as long.
    fn ask(
        &self,
        request: Header,
        payload: &[u8],
        answer: Kind,
        out: &mut [u8],
    ) -> Result<(), TransferError> {
        // Half a conversation is none: it is taken out, and put back only if it ended well.
        let mut slot = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
        let done = match slot.take() {
            Some(talk) => Ok(talk),
            None => self.connect(),
        };
        let mut talk = done.map_err(|error| error.of(&self.name))?;
        talk.sequence += 1;
        let request = Header { sequence: talk.sequence, ..request };
        let refusal =
            exchange(&talk.line, &request, payload, answer, out).map_err(|e| e.of(&self.name))?;
        *slot = Some(talk);
        match refusal {
            None => Ok(()),
            Some(refusal) => Err(TransferError::Refused { peer: self.name.clone(), refusal }),
        }
    }

    fn connect(&self) -> Result<Talk, LineError> {
        let limit = self.limits.message;
        let stream = TcpStream::connect_timeout(&self.address, limit).map_err(LineError::Io)?;
        let line = Line::open(stream, &self.token, limit, false)?;
        Ok(Talk { line, sequence: 0 })
    }

    fn memory(&self, remote: &Remote) -> Result<(MemoryId, u64), TransferError> {
        match remote {
            Remote::Memory { memory, offset } => Ok((*memory, *offset)),
            _ => Err(TransferError::Remote {
                backend: self.name.clone(),
                remote: remote.to_string(),
                reason: "a peer has memory only".to_owned(),
            }),
        }
    }
}

fn exchange(
    line: &Line,
    request: &Header,
    payload: &[u8],
    answer: Kind,
    out: &mut [u8],
) -> Result<Option<crate::error::Refusal>, LineError> {
    line.send(request, payload)?;
    let header = line.receive(line.limit())?;
    if header.sequence != request.sequence {
        return Err(WireError::Unexpected.into());
    }
    if header.kind == Kind::Refused {
        return Ok(header.refusal);
    }
    if header.kind != answer || header.payload_bytes != out.len() as u64 {
        return Err(WireError::Unexpected.into());
    }
    line.payload(&header, out)?;
    Ok(None)
}

impl Backend for TcpPeer {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&self, remote: &Remote, out: &mut [u8]) -> Result<(), TransferError> {
        let (memory, mut offset) = self.memory(remote)?;
        for part in out.chunks_mut(MAX_PAYLOAD_BYTES as usize) {
            let num_bytes = part.len() as u64;
            let request = Header { memory, offset, num_bytes, ..Header::bare(Kind::Read, 0) };
            self.ask(request, &[], Kind::Data, part)?;
            offset = offset.saturating_add(num_bytes);
        }
        Ok(())
    }

    fn write(&self, remote: &Remote, bytes: &[u8]) -> Result<(), TransferError> {
        let (memory, mut offset) = self.memory(remote)?;
        for part in bytes.chunks(MAX_PAYLOAD_BYTES as usize) {
            let num_bytes = part.len() as u64;
            let request = Header { memory, offset, num_bytes, ..Header::bare(Kind::Write, 0) };
            self.ask(request.with_payload(part), part, Kind::Done, &mut [])?;
            offset = offset.saturating_add(num_bytes);
        }
        Ok(())
    }

    fn notify(&self, message: &[u8]) -> Result<(), TransferError> {
        if message.len() as u64 > MAX_NOTIFICATION_BYTES {
            return Err(TransferError::Remote {
                backend: self.name.clone(),
                remote: format!("a notification of {} bytes", message.len()),
                reason: format!("{MAX_NOTIFICATION_BYTES} are the most"),
            });
        }
        let request = Header::bare(Kind::Notify, 0).with_payload(message);
        self.ask(request, message, Kind::Done, &mut [])
    }
}
