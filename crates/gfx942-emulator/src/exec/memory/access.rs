//! Lanes at addresses: the loops that all vector memory instructions share.

use bytemuck::Pod;

use super::arena::{Arena, Cursor};
use super::lds::Lds;
use super::raw::Unit;
use super::scratch::Scratch;
use crate::WAVE_SIZE;

/// Which lanes access what.
#[derive(Clone, Copy)]
pub(super) struct Targets {
    /// The address of each lane.
    pub(super) addresses: [u64; WAVE_SIZE],
    /// The lanes that take part.
    pub(super) lanes: u64,
    /// Whether all addresses are known to be the same.
    same: bool,
}

impl Targets {
    /// All of `lanes` at what `address` gives for each.
    #[inline(always)]
    pub(super) fn new(lanes: u64, address: impl Fn(usize) -> u64) -> Self {
        Self { addresses: std::array::from_fn(address), lanes, same: false }
    }

    /// All of `lanes` at one address.
    pub(super) fn same(lanes: u64, address: u64) -> Self {
        Self { addresses: [address; WAVE_SIZE], lanes, same: true }
    }

    /// The one address of all lanes, if there is one.
    pub(super) fn one_address(&self) -> Option<u64> {
        self.same.then_some(self.addresses[0])
    }

    /// The same, `offset` bytes on.
    pub(super) fn offset(&self, offset: u64) -> Self {
        Self::new(self.lanes, |lane| self.addresses[lane].wrapping_add(offset))
    }

    /// The same for some of the lanes.
    pub(super) fn only(&self, lanes: u64) -> Self {
        Self { lanes: self.lanes & lanes, ..*self }
    }

    /// The lanes for which `test` holds.
    pub(super) fn lanes_where(&self, test: impl Fn(u64) -> bool) -> u64 {
        let mut found = 0;
        for_lanes(self.lanes, |lane| found |= u64::from(test(self.addresses[lane])) << lane);
        found
    }
}

/// Does `action` for each of `lanes`, in order.
#[inline(always)]
pub(super) fn for_lanes(lanes: u64, mut action: impl FnMut(usize)) {
    if lanes == u64::MAX {
        for lane in 0..WAVE_SIZE {
            action(lane);
        }
        return;
    }
    let mut rest = lanes;
    while rest != 0 {
        action(rest.trailing_zeros() as usize);
        rest &= rest - 1;
    }
}

/// What lanes move at once.
pub(super) trait Element: Unit + Pod {}

impl<T: Unit + Pod> Element for T {}

/// A memory that lanes address.
pub(super) trait Memory {
    /// The way through it for accesses of one size.
    fn place<T: Element>(&mut self) -> impl Place<T>;
}

/// The way through a memory. `None`: nothing is there.
pub(super) trait Place<T> {
    fn load(&mut self, lane: usize, address: u64) -> Option<T>;
    fn store(&mut self, lane: usize, address: u64, value: T) -> Option<()>;
}

impl Memory for &Arena {
    #[inline(always)]
    fn place<T: Element>(&mut self) -> impl Place<T> {
        Cursor::new(self)
    }
}

impl<T: Unit> Place<T> for Cursor<'_, T> {
    #[inline(always)]
    fn load(&mut self, _lane: usize, address: u64) -> Option<T> {
        Cursor::load(self, address)
    }

    #[inline(always)]
    fn store(&mut self, _lane: usize, address: u64, value: T) -> Option<()> {
        Cursor::store(self, address, value)
    }
}

impl Memory for Lds {
    #[inline(always)]
    fn place<T: Element>(&mut self) -> impl Place<T> {
        self
    }
}

impl<T: Element> Place<T> for &mut Lds {
    #[inline(always)]
    fn load(&mut self, _lane: usize, address: u64) -> Option<T> {
        Lds::load(self, address)
    }

    #[inline(always)]
    fn store(&mut self, _lane: usize, address: u64, value: T) -> Option<()> {
        Lds::store(self, address, value)
    }
}

impl Memory for Scratch {
    #[inline(always)]
    fn place<T: Element>(&mut self) -> impl Place<T> {
        self
    }
}

impl<T: Element> Place<T> for &mut Scratch {
    #[inline(always)]
    fn load(&mut self, lane: usize, address: u64) -> Option<T> {
        Scratch::load(self, lane, address)
    }

    #[inline(always)]
    fn store(&mut self, lane: usize, address: u64, value: T) -> Option<()> {
        Scratch::store(self, lane, address, value)
    }
}

/// Hands what each lane reads to `put`, zeros where nothing is; the lanes where nothing is.
#[inline(always)]
pub(super) fn gather<T: Element>(
    memory: &mut impl Memory,
    targets: &Targets,
    mut put: impl FnMut(usize, T),
) -> u64 {
    let mut outside = 0;
    let mut place = memory.place::<T>();
    for_lanes(targets.lanes, |lane| {
        let value = place.load(lane, targets.addresses[lane]);
        if value.is_none() {
            outside |= 1 << lane;
        }
        put(lane, value.unwrap_or(T::zeroed()));
    });
    outside
}

/// Writes what `get` has for each lane; the lanes where nothing is.
#[inline(always)]
pub(super) fn scatter<T: Element>(
    memory: &mut impl Memory,
    targets: &Targets,
    get: impl Fn(usize) -> T,
) -> u64 {
    let mut outside = 0;
    let mut place = memory.place::<T>();
    for_lanes(targets.lanes, |lane| {
        if place.store(lane, targets.addresses[lane], get(lane)).is_none() {
            outside |= 1 << lane;
        }
    });
    outside
}

/// A memory that has atomics.
pub(super) trait AtomicMemory {
    /// Replaces the dword at `address`; what was there.
    fn update32(&mut self, address: u64, update: impl Fn(u32) -> u32) -> Option<u32>;

    /// Replaces the pair of dwords at `address`; what was there.
    fn update64(&mut self, address: u64, update: impl Fn(u64) -> u64) -> Option<u64>;
}

impl AtomicMemory for &Arena {
    fn update32(&mut self, address: u64, update: impl Fn(u32) -> u32) -> Option<u32> {
        Cursor::<u32>::new(self).access(address, |window| window.update(address, &update))
    }

    fn update64(&mut self, address: u64, update: impl Fn(u64) -> u64) -> Option<u64> {
        Cursor::<u64>::new(self).access(address, |window| window.update(address, &update))
    }
}

impl AtomicMemory for Lds {
    fn update32(&mut self, address: u64, update: impl Fn(u32) -> u32) -> Option<u32> {
        let old = Lds::load(self, address)?;
        Lds::store(self, address, update(old))?;
        Some(old)
    }

    fn update64(&mut self, address: u64, update: impl Fn(u64) -> u64) -> Option<u64> {
        let old = Lds::load(self, address)?;
        Lds::store(self, address, update(old))?;
        Some(old)
    }
}
