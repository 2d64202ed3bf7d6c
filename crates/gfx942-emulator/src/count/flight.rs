//! Load bytes in flight: what hides the latency of memory.

use std::collections::VecDeque;

/// The vector-memory instructions of one wave that no `s_waitcnt vmcnt` has waited for, oldest first: bytes loaded (0 for
/// a store).
#[derive(Clone, Default)]
pub struct Flight {
    bytes: VecDeque<u64>,
    total: u64,
}

impl Flight {
    /// A vector-memory instruction was issued. Returns the bytes in flight.
    pub fn issue(&mut self, load_bytes: u64) -> u64 {
        self.bytes.push_back(load_bytes);
        self.total += load_bytes;
        self.total
    }

    /// The wave waits until at most `left` are in flight. Returns the bytes that were in flight before.
    pub fn wait(&mut self, left: usize) -> u64 {
        let before = self.total;
        while self.bytes.len() > left {
            self.total -= self.bytes.pop_front().unwrap_or(0);
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_leaves_the_newest() {
        let mut flight = Flight::default();
        assert_eq!(flight.issue(256), 256);
        assert_eq!(flight.issue(0), 256);
        assert_eq!(flight.issue(1024), 1280);
        assert_eq!(flight.wait(2), 1280);
        assert_eq!(flight.wait(1), 1024, "the store went");
        assert_eq!(flight.wait(0), 1024);
        assert_eq!(flight.wait(0), 0);
    }
}
