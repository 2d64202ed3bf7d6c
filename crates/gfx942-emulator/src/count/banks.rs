//! How long the LDS works on one access.

use crate::exec::{Access, AccessKind};

/// Banks of LDS, each a dword wide.
const NUM_BANKS: usize = 32;
const BANK_BYTES: usize = 4;

/// Cycles of one access to LDS: those that any access of its width takes, and those that bank conflicts add.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct LdsCycles {
    /// One for each phase: the LDS moves 128 bytes a cycle.
    pub base: u64,
    /// What lanes of one phase wait for each other because their dwords lie in one bank.
    pub conflict: u64,
}

/// The cycles of `access`, by a model: consecutive lanes share a phase as long as they ask for 128 bytes in all, a phase
/// takes as many cycles as the busiest bank has different dwords to serve, and an atomic serves each lane by itself.
pub fn lds_cycles(access: &Access<'_>) -> LdsCycles {
    let dwords = access.num_bytes.div_ceil(BANK_BYTES).max(1);
    // 96 bits take part in phases as 128 do.
    let lanes_per_phase = (NUM_BANKS / dwords.next_power_of_two()).max(1);
    if dwords * BANK_BYTES == access.num_bytes && access.consecutive_bytes().is_some() {
        // What most kernels do, and can have no conflict.
        let num_phases = crate::WAVE_SIZE.div_ceil(lanes_per_phase) as u64;
        return LdsCycles { base: num_phases, conflict: 0 };
    }
    let mut cycles = LdsCycles::default();
    for first in (0..crate::WAVE_SIZE).step_by(lanes_per_phase) {
        let mask = access.lanes >> first & (u64::MAX >> (64 - lanes_per_phase));
        if mask == 0 {
            continue;
        }
        let addresses = &access.addresses[first..first + lanes_per_phase];
        cycles.base += 1;
        let next_to_each_other = |pair: &[u64]| pair[1] == pair[0] + access.num_bytes as u64;
        if dwords * BANK_BYTES == access.num_bytes && addresses.windows(2).all(next_to_each_other) {
            continue;
        }
        let busiest = busiest_bank(addresses, mask, dwords, access.kind == AccessKind::Atomic);
        cycles.conflict += busiest - 1;
    }
    cycles
}

/// The most dwords that one bank serves; equal dwords are served together unless `each` lane counts.
fn busiest_bank(addresses: &[u64], mask: u64, dwords: usize, each: bool) -> u64 {
    // LDS has 64 KiB: its dwords count in 16 bits. What lies beyond (an error elsewhere) is folded into it.
    let mut served = [[0u16; NUM_BANKS]; NUM_BANKS];
    let mut num_served = [0usize; NUM_BANKS];
    for (lane, &address) in addresses.iter().enumerate() {
        if mask >> lane & 1 == 0 {
            continue;
        }
        let first = address / BANK_BYTES as u64;
        for dword in first..first.saturating_add(dwords as u64) {
            let (bank, dword) = ((dword % NUM_BANKS as u64) as usize, dword as u16);
            let known = &served[bank][..num_served[bank]];
            if each || !known.contains(&dword) {
                served[bank][num_served[bank]] = dword;
                num_served[bank] += 1;
            }
        }
    }
    num_served.into_iter().max().unwrap_or(0).max(1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::Space;

    fn cycles(kind: AccessKind, num_bytes: usize, address: impl Fn(u64) -> u64) -> (u64, u64) {
        let addresses = std::array::from_fn(|lane| address(lane as u64));
        let access = Access {
            kind,
            space: Space::Lds,
            lanes: u64::MAX,
            addresses: &addresses,
            num_bytes,
            outside: 0,
        };
        let LdsCycles { base, conflict } = lds_cycles(&access);
        (base, conflict)
    }

    #[test]
    fn consecutive_lanes_do_not_wait_for_each_other() {
        for (num_bytes, phases) in [(1, 2), (4, 2), (8, 4), (16, 8)] {
            let seen = cycles(AccessKind::Load, num_bytes, |lane| lane * num_bytes as u64);
            assert_eq!(seen, (phases, 0), "{num_bytes} bytes");
        }
    }

    #[test]
    fn a_broadcast_is_served_once_but_an_atomic_lane_by_lane() {
        assert_eq!(cycles(AccessKind::Load, 4, |_| 64), (2, 0));
        assert_eq!(cycles(AccessKind::Atomic, 4, |_| 64), (2, 62));
    }

    #[test]
    fn a_stride_of_all_banks_serialises_a_phase() {
        assert_eq!(cycles(AccessKind::Load, 4, |lane| lane * 128), (2, 62));
        assert_eq!(cycles(AccessKind::Store, 4, |lane| lane * 8), (2, 2));
        assert_eq!(cycles(AccessKind::Load, 16, |lane| lane * 128), (8, 56));
        assert_eq!(cycles(AccessKind::Load, 4, |lane| lane * 132), (2, 0));
    }

    #[test]
    fn inactive_phases_cost_nothing() {
        let addresses = [0; 64];
        let access = Access {
            kind: AccessKind::Load,
            space: Space::Lds,
            lanes: 0xffff_ffff,
            addresses: &addresses,
            num_bytes: 4,
            outside: 0,
        };
        assert_eq!(lds_cycles(&access), LdsCycles { base: 1, conflict: 0 });
    }
}
