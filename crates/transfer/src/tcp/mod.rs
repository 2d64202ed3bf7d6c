//! Peers over TCP: [`TcpPeer`] reaches the memory that another process' [`PeerServer`] shows.

mod client;
mod line;
mod server;

use std::fmt;
use std::time::Duration;

pub use client::TcpPeer;
pub use server::PeerServer;

/// What both sides know and strangers do not.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Vec<u8>);

impl Token {
    /// At least 16 bytes that nobody guesses; `None` for fewer.
    pub fn new(secret: impl Into<Vec<u8>>) -> Option<Self> {
        let secret = secret.into();
        (secret.len() >= 16).then_some(Token(secret))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// What a side puts up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a message may take, from its first byte to its last; and how long an answer may.
    pub message: Duration,
    /// How long a server keeps a peer that says nothing.
    pub idle: Duration,
    /// Most peers of a server at once.
    pub max_peers: usize,
}

impl Default for Limits {
    /// Ten seconds for a message, five minutes of silence, 64 peers.
    fn default() -> Self {
        Limits { message: Duration::from_secs(10), idle: Duration::from_secs(300), max_peers: 64 }
    }
}
