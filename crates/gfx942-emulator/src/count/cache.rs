//! A model of L2: what of the traffic goes on to memory.

use super::lines::LINE_BYTES;

const CACHE_BYTES: u64 = 4 << 20;
const NUM_WAYS: usize = 16;
const NUM_SETS: usize = (CACHE_BYTES / LINE_BYTES) as usize / NUM_WAYS;

/// No line: an address has no such line number.
const EMPTY: u64 = u64::MAX;

/// One die's L2: 4 MB, 16 ways, least recently used, lines of 128 bytes; a store allocates as a load does.
pub struct Cache {
    /// Set by set, the most recently used line first.
    lines: Box<[u64]>,
}

impl Default for Cache {
    fn default() -> Self {
        Self { lines: vec![EMPTY; NUM_SETS * NUM_WAYS].into() }
    }
}

impl Cache {
    /// Whether `line` was there; it is now.
    pub fn touch(&mut self, line: u64) -> bool {
        let set = line as usize % NUM_SETS;
        let ways = &mut self.lines[set * NUM_WAYS..(set + 1) * NUM_WAYS];
        let found = ways.iter().position(|&held| held == line);
        ways[..=found.unwrap_or(NUM_WAYS - 1)].rotate_right(1);
        ways[0] = line;
        found.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUM_LINES: u64 = CACHE_BYTES / LINE_BYTES;

    #[test]
    fn what_fits_is_missed_once() {
        let mut cache = Cache::default();
        assert_eq!((0..NUM_LINES).filter(|&line| cache.touch(line)).count(), 0);
        assert_eq!((0..NUM_LINES).filter(|&line| cache.touch(line)).count(), NUM_LINES as usize);
    }

    #[test]
    fn the_least_recently_used_line_of_a_set_goes() {
        let mut cache = Cache::default();
        let in_set = |i: u64| i * NUM_SETS as u64;
        (0..NUM_WAYS as u64).for_each(|i| assert!(!cache.touch(in_set(i))));
        assert!(cache.touch(in_set(0)));
        assert!(!cache.touch(in_set(NUM_WAYS as u64)));
        assert!(cache.touch(in_set(0)), "used last");
        assert!(!cache.touch(in_set(1)), "used longest ago");
    }
}
