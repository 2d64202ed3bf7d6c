//! A tier that fails as often as it is told to.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::passed_through;
use crate::keys::ChunkKey;
use crate::outcome::{Corruption, Lookup, Miss, Put};
use crate::tier::{Chunk, Tier};

/// Of a thousand calls, how many fail in each way. Reads fail in one of three, writes in one of two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultRates {
    /// Reads of what is there that find nothing.
    pub lost: u16,
    /// Reads that the storage fails.
    pub io: u16,
    /// Reads that find other bytes; the caller's buffer holds some.
    pub corrupt: u16,
    /// Writes that fail.
    pub failed: u16,
    /// Writes that are reported and never happened.
    pub forgotten: u16,
}

/// Faults that happened: a test of failures asserts that there were some.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// Reads that were made to fail.
    pub reads: u64,
    /// Writes that were made to fail.
    pub writes: u64,
}

/// A tier with faults from a seed: the same calls in the same order fail in the same way.
pub struct Faulty {
    inner: Arc<dyn Tier>,
    rates: FaultRates,
    seed: u64,
    calls: AtomicU64,
    reads: AtomicU64,
    writes: AtomicU64,
}

impl Faulty {
    /// `inner` with faults.
    pub fn new(inner: Arc<dyn Tier>, rates: FaultRates, seed: u64) -> Self {
        let zero = AtomicU64::default;
        Faulty { inner, rates, seed, calls: zero(), reads: zero(), writes: zero() }
    }

    /// Faults so far.
    pub fn faults(&self) -> FaultCounts {
        FaultCounts { reads: self.reads.load(Relaxed), writes: self.writes.load(Relaxed) }
    }

    /// 64 random bits, by the number of the call (splitmix64).
    fn random(&self) -> u64 {
        let call = self.calls.fetch_add(1, Relaxed);
        let mut bits = self.seed.wrapping_add((call + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }
}

impl Tier for Faulty {
    passed_through!();

    fn get(&self, key: &ChunkKey, layers: Range<usize>, out: &mut [u8]) -> Lookup {
        let FaultRates { lost, io, corrupt, .. } = self.rates;
        let random = self.random();
        let draw = random % 1000;
        let [lost, io, corrupt] = [lost, io, corrupt].map(u64::from);
        if draw >= lost + io + corrupt {
            return self.inner.get(key, layers, out);
        }
        self.reads.fetch_add(1, Relaxed);
        // Whoever uses the buffer of a failed read shall find out.
        let filler = random.to_le_bytes();
        out.iter_mut().zip(filler.iter().cycle()).for_each(|(to, from)| *to = *from);
        match draw {
            draw if draw < lost => Lookup::Miss(Miss::Absent),
            draw if draw < lost + io => Lookup::Miss(Miss::Io),
            _ => Lookup::Corrupt(Corruption::Raw {
                layer: u32::try_from(layers.start).unwrap_or(u32::MAX),
            }),
        }
    }

    fn put(&self, chunk: &Arc<Chunk>) -> Put {
        let FaultRates { failed, forgotten, .. } = self.rates;
        let draw = self.random() % 1000;
        let [failed, forgotten] = [failed, forgotten].map(u64::from);
        if draw >= failed + forgotten {
            return self.inner.put(chunk);
        }
        self.writes.fetch_add(1, Relaxed);
        if draw < failed { Put::Failed } else { Put::Stored }
    }
}
