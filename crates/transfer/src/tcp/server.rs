//! Showing memory to peers.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::line::{Line, LineError};
use super::{Limits, Token};
use crate::error::{Refusal, TransferError};
use crate::memory::{Access, MemoryTable, Notification};
use crate::wire::{Header, Kind, WireError};

/// Serves a table's memory until it is dropped.
pub struct PeerServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    table: Arc<MemoryTable>,
    token: Token,
    limits: Limits,
    is_stopped: AtomicBool,
    /// Who is being served, by a number; taken to end it.
    peers: Mutex<(u64, BTreeMap<u64, TcpStream>)>,
}

impl Shared {
    fn peers(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, TcpStream>)> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PeerServer {
    /// Serves on an address; port 0 takes a free one.
    ///
    /// # Errors
    /// [`TransferError::Io`].
    pub fn start(
        address: impl ToSocketAddrs,
        table: Arc<MemoryTable>,
        token: Token,
        limits: Limits,
    ) -> Result<Self, TransferError> {
        let failed = |error| TransferError::io("cannot serve peers", &error);
        let listener = TcpListener::bind(address).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shared = Arc::new(Shared {
            table,
            token,
            limits,
            is_stopped: AtomicBool::new(false),
            peers: Mutex::default(),
        });
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("transfer-peers".to_owned())
            .spawn(move || accept(&listener, &own))
            .map_err(failed)?;
        Ok(PeerServer { address, shared, thread: Some(thread) })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for PeerServer {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Relaxed);
        for peer in self.shared.peers().1.values() {
            // One that has gone already needs no end.
            let _ = peer.shutdown(Shutdown::Both);
        }
        // A visitor, so that the thread looks up.
        let visit = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let (Ok(_), Some(thread)) = (visit, self.thread.take()) {
            // A panic in it has been told.
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while !shared.is_stopped.load(Relaxed) {
        match listener.accept() {
            Ok((stream, from)) => {
                // Whoever cannot be served finds the connection closed.
                let _ = welcome(stream, from, shared);
            }
            // Out of file descriptors, say: it passes, or not.
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn welcome(stream: TcpStream, from: SocketAddr, shared: &Arc<Shared>) -> io::Result<()> {
    let number = {
        let (next, peers) = &mut *shared.peers();
        if peers.len() >= shared.limits.max_peers || shared.is_stopped.load(Relaxed) {
            return Ok(());
        }
        *next += 1;
        peers.insert(*next, stream.try_clone()?);
        *next
    };
    let own = Arc::clone(shared);
    let serving = std::thread::Builder::new().name("transfer-peer".to_owned()).spawn(move || {
        // However it ended, the peer knows, or is gone.
        let _ = serve(stream, &from.to_string(), &own);
        if let Some(peer) = own.peers().1.remove(&number) {
            let _ = peer.shutdown(Shutdown::Both);
        }
    });
    if serving.is_err() {
        shared.peers().1.remove(&number);
    }
    serving.map(|_| ())
}

/// One peer. What is no message ends the conversation; what cannot be done is refused.
fn serve(stream: TcpStream, from: &str, shared: &Shared) -> Result<(), LineError> {
    let line = Line::open(stream, &shared.token, shared.limits.message, true)?;
    let mut last = 0;
    loop {
        let request = line.receive(shared.limits.idle)?;
        // A message that is said again is not done again.
        if request.sequence <= last {
            return Err(WireError::Unexpected.into());
        }
        last = request.sequence;
        // Bounded by the header's own check.
        let mut payload = vec![0; request.payload_bytes as usize];
        line.payload(&request, &mut payload)?;
        match answer(&request, payload, from, shared)? {
            Ok(None) => line.send(&Header::bare(Kind::Done, last), &[])?,
            Ok(Some(data)) => {
                let num_bytes = data.len() as u64;
                let header = Header { num_bytes, ..Header::bare(Kind::Data, last) };
                line.send(&header.with_payload(&data), &data)?;
            }
            Err(refusal) => {
                let refusal = Some(refusal);
                line.send(&Header { refusal, ..Header::bare(Kind::Refused, last) }, &[])?;
            }
        }
    }
}

/// Bytes for a read, or nothing to say, or why not.
type Answer = Result<Option<Vec<u8>>, Refusal>;

fn answer(
    request: &Header,
    payload: Vec<u8>,
    from: &str,
    shared: &Shared,
) -> Result<Answer, LineError> {
    let find = |is_allowed: fn(Access) -> bool| {
        let memory = shared.table.get(request.memory).ok_or(Refusal::NoSuchMemory)?;
        match memory.access() {
            // As if it were not there.
            Access::Private => return Err(Refusal::NoSuchMemory),
            access if !is_allowed(access) => return Err(Refusal::NotAllowed),
            _ => {}
        }
        let range = memory.range(request.offset, request.num_bytes);
        Ok((Arc::clone(&memory), range.ok_or(Refusal::OutOfRange)?))
    };
    Ok(match request.kind {
        Kind::Read => {
            find(|_| true).map(|(memory, range)| Some(memory.with(|bytes| bytes[range].to_vec())))
        }
        Kind::Write => find(|access| access == Access::ReadWrite).map(|(memory, range)| {
            memory.with_mut(|bytes| bytes[range].copy_from_slice(&payload));
            None
        }),
        Kind::Notify => {
            let notification = Notification { from: from.to_owned(), message: payload };
            shared.table.notify(notification).map(|()| None)
        }
        Kind::Data | Kind::Done | Kind::Refused => return Err(WireError::Unexpected.into()),
    })
}
