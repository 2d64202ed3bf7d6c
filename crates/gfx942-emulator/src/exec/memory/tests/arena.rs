//! The arena: poison, gaps, use after free, and bytes.

use std::collections::HashMap;
use std::sync::Barrier;

use proptest::prelude::*;

use super::*;
use crate::exec::memory::{Allocation, ArenaError, Usage};

fn arena(capacity: u64) -> Arena {
    Arena::new(ArenaConfig { capacity, poison: POISON, ..ArenaConfig::default() }).unwrap()
}

fn dword(arena: &Arena, address: u64) -> Result<u32, ArenaError> {
    let mut bytes = [0; 4];
    arena.read(address, &mut bytes).map(|()| u32::from_le_bytes(bytes))
}

#[test]
fn fresh_memory_is_poison_also_after_it_was_used() {
    let arena = arena(1 << 20);
    for _ in 0..3 {
        let address = arena.allocate(200_000, MemoryKind::Device).unwrap();
        for offset in [0, 4, 65_276, 65_280, 131_072, 199_996] {
            assert_eq!(dword(&arena, address + offset), Ok(POISON), "at {offset}");
        }
        arena.fill(address, 200_000, &[7]).unwrap();
        assert_eq!(dword(&arena, address + 199_996), Ok(0x0707_0707));
        arena.free(address).unwrap();
    }
}

#[test]
fn the_whole_device_costs_nothing() {
    let arena = Arena::new(ArenaConfig::default()).unwrap();
    let size = 191 << 30;
    let address = arena.allocate(size, MemoryKind::Device).unwrap();
    assert_eq!(dword(&arena, address + size - 4), Ok(0xfffa_fffa));
    assert!(f32::from_bits(0xfffa_fffa).is_nan());
    assert_eq!(arena.usage().in_use, size);
}

#[test]
fn addresses_are_aligned_to_256_and_no_more() {
    let arena = arena(8 << 20);
    for size in [1, 255, 65_536, 1 << 20] {
        assert_eq!(arena.allocate(size, MemoryKind::Device).unwrap() % 512, 256);
    }
}

#[test]
fn outside_of_an_allocation_is_an_error_that_names_it() {
    let arena = arena(1 << 20);
    let (a, b) = (
        arena.allocate(1000, MemoryKind::Device).unwrap(),
        arena.allocate(5000, MemoryKind::Device).unwrap(),
    );
    assert!(dword(&arena, a + 996).is_ok());
    let past = |address, text: &str| {
        let error = dword(&arena, address).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    };
    past(a + 997, &format!("byte 997 of the allocation of 1000 bytes at {a:#x}"));
    past(a + 1016, &format!("16 bytes past the end of the allocation of 1000 bytes at {a:#x}"));
    past(b - 12, &format!("12 bytes before the allocation of 5000 bytes at {b:#x}"));
    past(0, "bytes before the allocation of 1000 bytes");
    past(u64::MAX - 1, "past the end of the allocation of 5000 bytes");
    assert!(b - (a + 1000) >= 1 << 20, "a gap");
}

#[test]
fn freed_memory_is_an_error_that_says_so() {
    let arena = arena(1 << 20);
    let address = arena.allocate(1000, MemoryKind::Device).unwrap();
    arena.free(address).unwrap();
    let error = dword(&arena, address + 8).unwrap_err().to_string();
    assert!(error.contains("byte 8 of the freed allocation of 1000 bytes"), "{error}");
    assert!(arena.free(address).is_err(), "freed twice");
    assert!(arena.free(address + 4).is_err(), "not the start");
    assert!(arena.allocate(1000, MemoryKind::Device).unwrap() != address, "reused at once");
}

#[test]
fn capacity_is_kept_and_addresses_come_back() {
    let arena = arena(1 << 20);
    assert!(arena.allocate(0, MemoryKind::Device).is_err());
    let big = arena.allocate(1 << 20, MemoryKind::Device).unwrap();
    let full = arena.allocate(1, MemoryKind::Device);
    let error = ArenaError::OutOfMemory { asked: 1, left: 0, capacity: 1 << 20 };
    assert_eq!(full, Err(error));
    assert!(arena.allocate(u64::MAX, MemoryKind::Device).is_err());
    arena.free(big).unwrap();
    let usage = Usage { capacity: 1 << 20, in_use: 0, peak: 1 << 20, host: 0 };
    assert_eq!(arena.usage(), usage);
    // Many times the range of addresses: freed ones must join again.
    let first = arena.allocate(1 << 20, MemoryKind::Device).unwrap();
    arena.free(first).unwrap();
    let mut since = 0;
    for round in 0..20_000 {
        let address = arena.allocate(1 << 20, MemoryKind::Device).unwrap();
        arena.free(address).unwrap();
        if address == first {
            since = round;
        }
    }
    assert!(since > 10_000, "as late as possible, and yet at last: {since}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn allocations_never_meet(steps in prop::collection::vec((any::<u32>(), 1..40_u64 << 20), 1..600)) {
        let arena = arena(1 << 30);
        let mut live: Vec<Allocation> = Vec::new();
        for (choice, num_bytes) in steps {
            if choice % 3 == 0 && !live.is_empty() {
                let freed = live.swap_remove(choice as usize / 3 % live.len());
                prop_assert!(arena.free(freed.address).is_ok());
                prop_assert_eq!(arena.allocation(freed.address), None);
            } else if let Ok(address) = arena.allocate(num_bytes, MemoryKind::Device) {
                let end = address + num_bytes;
                for other in &live {
                    let apart = end + (1 << 20) <= other.address
                        || other.address + other.num_bytes + (1 << 20) <= address;
                    prop_assert!(apart, "{:#x} and {:#x}", address, other.address);
                }
                live.push(arena.allocation(end - 1).unwrap());
            }
        }
        let in_use: u64 = live.iter().map(|at| at.num_bytes.next_multiple_of(4096)).sum();
        prop_assert_eq!(arena.usage().in_use, in_use);
    }
}

#[test]
fn the_host_uses_pinned_memory_by_pointer() {
    let arena = arena(1 << 20);
    let address = arena.allocate(100_000, MemoryKind::Host).unwrap();
    assert_eq!(arena.usage().host, 102_400);
    assert_eq!(arena.allocation(address + 99_999).unwrap().kind, MemoryKind::Host);
    // SAFETY: an allocation of 100000 bytes, which only this thread uses.
    let bytes = unsafe { std::slice::from_raw_parts_mut(address as *mut u8, 100_000) };
    assert_eq!(bytes[..4], POISON.to_le_bytes());
    bytes[70_000] = 42;
    let mut byte = [0];
    arena.read(address + 70_000, &mut byte).unwrap();
    assert_eq!(byte, [42], "the poison must not come later");
}

#[test]
fn first_touches_on_many_threads_lose_nothing() {
    const THREADS: usize = 8;
    let arena = arena(64 << 20);
    for _ in 0..50 {
        let address = arena.allocate(65_536, MemoryKind::Device).unwrap();
        let barrier = Barrier::new(THREADS);
        std::thread::scope(|scope| {
            for thread in 0..THREADS as u64 {
                let (arena, barrier) = (&arena, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    arena.write(address + 8 * thread, &[thread as u8; 8]).unwrap();
                });
            }
        });
        for thread in 0..THREADS as u64 {
            let expected = u32::from_le_bytes([thread as u8; 4]);
            assert_eq!(dword(&arena, address + 8 * thread), Ok(expected));
        }
        arena.free(address).unwrap();
    }
}

/// Something the host does.
#[derive(Clone, Debug)]
enum Step {
    Write(u64, Vec<u8>),
    Fill(u64, u64, Vec<u8>),
    Copy(u64, u64, u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = || 0..140_000_u64;
    let bytes = |size| prop::collection::vec(any::<u8>(), 0..size);
    let step = prop_oneof![
        (at(), bytes(100)).prop_map(|(at, bytes)| Step::Write(at, bytes)),
        (at(), 0..70_000_u64, 1..5_usize).prop_map(|(at, n, size)| Step::Fill(
            at,
            n,
            pattern(size)
        )),
        (at(), at(), 0..70_000_u64).prop_map(|(to, from, n)| Step::Copy(to, from, n)),
    ];
    prop::collection::vec(step, 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bytes_are_as_in_a_map(steps in steps()) {
        const SIZE: u64 = 140_003;
        let arena = arena(1 << 20);
        let base = arena.allocate(SIZE, MemoryKind::Device).unwrap();
        let mut model: HashMap<u64, u8> = HashMap::new();
        for step in steps {
            match step {
                Step::Write(at, bytes) => {
                    let fits = at + bytes.len() as u64 <= SIZE;
                    prop_assert_eq!(arena.write(base + at, &bytes).is_ok(), fits || bytes.is_empty());
                    if fits {
                        model.extend((at..).zip(bytes));
                    }
                }
                Step::Fill(at, n, pattern) => {
                    let fits = at + n <= SIZE;
                    prop_assert_eq!(arena.fill(base + at, n, &pattern).is_ok(), fits || n == 0);
                    if fits {
                        model.extend((at..at + n).zip(pattern.iter().copied().cycle()));
                    }
                }
                Step::Copy(to, from, n) => {
                    let n = n.min(to.abs_diff(from));
                    let fits = to + n <= SIZE && from + n <= SIZE;
                    prop_assert_eq!(arena.copy(base + to, base + from, n).is_ok(), fits || n == 0);
                    if fits {
                        let poison = |at: u64| POISON.to_le_bytes()[at as usize % 4];
                        let bytes: Vec<u8> = (from..from + n)
                            .map(|at| model.get(&at).copied().unwrap_or(poison(at)))
                            .collect();
                        model.extend((to..).zip(bytes));
                    }
                }
            }
        }
        let mut bytes = vec![0; SIZE as usize];
        arena.read(base, &mut bytes).unwrap();
        for (at, byte) in (0..).zip(bytes) {
            let poison = POISON.to_le_bytes()[at as usize % 4];
            prop_assert_eq!(byte, model.get(&at).copied().unwrap_or(poison), "at {}", at);
        }
    }
}
