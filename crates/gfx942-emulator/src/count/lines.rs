//! The cache lines that one access touches.

use crate::exec::Access;

/// A cache line of the vector L1 and of L2.
pub const LINE_BYTES: u64 = 128;

/// The lines that an access touches, each once, in ascending order.
#[derive(Default)]
pub struct Lines(Vec<u64>);

impl Lines {
    /// Collects the lines of `access`, replacing what was there.
    pub fn collect(&mut self, access: &Access<'_>) -> &[u64] {
        self.0.clear();
        if let Some(bytes) = access.consecutive_bytes() {
            self.0.extend(bytes.start / LINE_BYTES..=(bytes.end - 1) / LINE_BYTES);
            return &self.0;
        }
        let mut ascending = true;
        let mut lanes = access.lanes;
        while lanes != 0 {
            let address = access.addresses[lanes.trailing_zeros() as usize];
            lanes &= lanes - 1;
            let last_byte = address.saturating_add(access.num_bytes.max(1) as u64 - 1);
            for line in address / LINE_BYTES..=last_byte / LINE_BYTES {
                match self.0.last() {
                    Some(&last) if last == line => continue,
                    Some(&last) => ascending &= last < line,
                    None => {}
                }
                self.0.push(line);
            }
        }
        if !ascending {
            self.0.sort_unstable();
            self.0.dedup();
        }
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::{AccessKind, Space};

    fn lines(lanes: u64, num_bytes: usize, address: impl Fn(u64) -> u64) -> Vec<u64> {
        let addresses = std::array::from_fn(|lane| address(lane as u64));
        let kind = AccessKind::Load;
        let access = Access {
            kind,
            space: Space::Global,
            lanes,
            addresses: &addresses,
            num_bytes,
            outside: 0,
        };
        Lines::default().collect(&access).to_vec()
    }

    #[test]
    fn a_coalesced_access_touches_each_line_once() {
        assert_eq!(lines(u64::MAX, 4, |lane| 1024 + lane * 4), [8, 9]);
        assert_eq!(lines(u64::MAX, 16, |lane| lane * 16), (0..8).collect::<Vec<_>>());
        assert_eq!(lines(1, 4, |_| 126), [0, 1], "an access across a border");
    }

    #[test]
    fn scattered_lanes_touch_a_line_each_and_order_does_not_matter() {
        assert_eq!(lines(u64::MAX, 4, |lane| lane * 4096).len(), 64);
        assert_eq!(lines(u64::MAX, 4, |lane| (63 - lane) * 4), [0, 1]);
        assert_eq!(lines(0b101, 4, |lane| 512u64.wrapping_sub(lane * 128)), [2, 4]);
    }
}
