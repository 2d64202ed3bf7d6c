//! Answers come as they finish; lines go out in the order of the input.

use std::collections::BTreeMap;

/// Holds back what came too early.
#[derive(Debug)]
pub(crate) struct InOrder<T> {
    next: usize,
    early: BTreeMap<usize, T>,
}

impl<T> InOrder<T> {
    /// Nothing has come yet.
    pub(crate) fn new() -> InOrder<T> {
        InOrder { next: 0, early: BTreeMap::new() }
    }

    /// Takes the item with number `index` and gives every item whose turn it now is.
    pub(crate) fn push(&mut self, index: usize, item: T) -> Vec<T> {
        self.early.insert(index, item);
        let mut ready = Vec::new();
        while let Some(item) = self.early.remove(&self.next) {
            ready.push(item);
            self.next += 1;
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_wait_for_their_turn_and_no_longer() {
        let mut order = InOrder::new();
        assert_eq!(order.push(1, 'b'), Vec::<char>::new());
        assert_eq!(order.push(0, 'a'), ['a', 'b']);
        assert_eq!(order.push(2, 'c'), ['c']);
        assert_eq!(order.push(4, 'e'), Vec::<char>::new());
        assert_eq!(order.push(3, 'd'), ['d', 'e']);
    }
}
