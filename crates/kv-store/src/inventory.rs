//! The records of a place, seen without knowing whose KV they are: for those who look after it, not for an engine.
//!
//! A record says of itself all that is needed to verify it alone. What is removed or put aside here may be in use: its
//! readers miss.

use std::io;

use crate::keys::ChunkKey;
use crate::outcome::{Corruption, Miss};
use crate::record::{self, Codecs, Header, ReadAt, Unverified};
pub use crate::tier::DirectoryInventory;

/// A record by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// The key that it is under.
    pub key: ChunkKey,
    /// What it takes of the storage, bytes.
    pub bytes: u64,
}

/// What is there besides records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    /// Files or objects.
    pub num: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A place with records. Anything may change between two calls.
pub trait Inventory: Send + Sync {
    /// The records, by their keys.
    ///
    /// # Errors
    /// The storage's.
    fn list(&self) -> io::Result<Vec<Item>>;

    /// A record; `None` if there is none.
    ///
    /// # Errors
    /// The storage's.
    fn open(&self, item: &Item) -> io::Result<Option<Box<dyn ReadAt>>>;

    /// Takes a record out of readers' way, and keeps it; whether it was so. It is verified again where it then lies, and
    /// a good one goes back.
    ///
    /// # Errors
    /// The storage's.
    fn quarantine(&self, item: &Item, codecs: &Codecs) -> io::Result<bool>;

    /// Removes a record.
    ///
    /// # Errors
    /// The storage's.
    fn remove(&self, item: &Item) -> io::Result<()>;

    /// Adds a verified record, durably; whether there was none under its key.
    ///
    /// # Errors
    /// The storage's.
    fn publish(&self, key: &ChunkKey, record: &[u8]) -> io::Result<bool>;

    /// What is in quarantine.
    ///
    /// # Errors
    /// The storage's.
    fn quarantined(&self) -> io::Result<Remains>;

    /// Removes what is in quarantine.
    ///
    /// # Errors
    /// The storage's.
    fn empty_quarantine(&self) -> io::Result<Remains>;
}

/// What a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All that it says of itself is so.
    Good(Box<Header>),
    /// It is wrong.
    Damaged(Corruption),
    /// It may be good: its codec is not known here.
    UnknownCodec,
    /// It went while it was looked for.
    Gone,
    /// The storage did not say.
    Unreadable,
}

/// Reads a record and compares all its bytes with its digests.
pub fn verify(inventory: &dyn Inventory, item: &Item, codecs: &Codecs) -> Verdict {
    match inventory.open(item) {
        Err(_) => Verdict::Unreadable,
        Ok(None) => Verdict::Gone,
        Ok(Some(source)) => verdict(record::verify_alone(&*source, &item.key, codecs)),
    }
}

/// Reads what a record says of itself, and nothing more.
pub fn header(inventory: &dyn Inventory, item: &Item) -> Verdict {
    match inventory.open(item) {
        Err(_) => Verdict::Unreadable,
        Ok(None) => Verdict::Gone,
        Ok(Some(source)) => {
            verdict(record::header_alone(&*source, &item.key).map(|(header, _)| header))
        }
    }
}

/// The bytes of a record, verified as they then are in memory.
///
/// # Errors
/// Why it is not good.
pub fn read(
    inventory: &dyn Inventory,
    item: &Item,
    codecs: &Codecs,
) -> Result<(Header, Vec<u8>), Verdict> {
    let source = match inventory.open(item) {
        Err(_) => return Err(Verdict::Unreadable),
        Ok(None) => return Err(Verdict::Gone),
        Ok(Some(source)) => source,
    };
    let header = record::header_alone(&*source, &item.key);
    let (header, _) = header.map_err(|unverified| verdict(Err(unverified)))?;
    if source.num_bytes().map_err(|_| Verdict::Unreadable)? < header.record_bytes() {
        return Err(Verdict::Damaged(Corruption::Truncated));
    }
    let mut bytes = vec![0; header.record_bytes() as usize];
    let mut done = 0;
    while done < bytes.len() {
        match source.read_at(done as u64, &mut bytes[done..]) {
            Ok(0) | Err(_) => return Err(Verdict::Unreadable),
            Ok(num_bytes) => done += num_bytes,
        }
    }
    match record::verify_alone(&&bytes[..], &item.key, codecs) {
        Ok(header) => Ok((header, bytes)),
        Err(unverified) => Err(verdict(Err(unverified))),
    }
}

/// What reading a record came to.
pub fn verdict(read: Result<Header, Unverified>) -> Verdict {
    match read {
        Ok(header) => Verdict::Good(Box::new(header)),
        Err(Unverified::Corrupt(Corruption::Codec)) => Verdict::UnknownCodec,
        Err(Unverified::Corrupt(corruption)) => Verdict::Damaged(corruption),
        Err(Unverified::Miss(Miss::Absent)) => Verdict::Gone,
        Err(Unverified::Miss(_)) => Verdict::Unreadable,
    }
}
