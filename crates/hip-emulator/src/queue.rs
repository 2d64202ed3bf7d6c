//! Streams: what is queued, what must come before what, and what a synchronisation has to run.
//!
//! Every submission gets a ticket. It comes after what is before it in its stream, and after the points that it was
//! given: recorded events, and by HIP's rule for the null stream, what the null stream and the blocking streams hold.
//! All of these have lower tickets, so the order of tickets satisfies every dependency.

use std::collections::{BTreeMap, VecDeque};

/// A stream's number. 0 is the null stream.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StreamId(pub usize);

/// The stream that is always there.
pub const NULL_STREAM: StreamId = StreamId(0);

/// A place in a stream: everything up to a ticket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Point {
    stream: StreamId,
    ticket: u64,
}

struct Op<W> {
    ticket: u64,
    after: Vec<Point>,
    work: W,
}

struct Stream<W> {
    queue: VecDeque<Op<W>>,
    /// Whether it and the null stream wait for each other.
    is_blocking: bool,
    priority: i32,
}

/// All streams.
pub struct Streams<W> {
    streams: BTreeMap<StreamId, Stream<W>>,
    next_id: usize,
    next_ticket: u64,
}

impl<W> Default for Streams<W> {
    fn default() -> Self {
        let null = Stream { queue: VecDeque::new(), is_blocking: true, priority: 0 };
        Self { streams: BTreeMap::from([(NULL_STREAM, null)]), next_id: 1, next_ticket: 0 }
    }
}

impl<W> Streams<W> {
    /// A new stream.
    pub fn create(&mut self, is_blocking: bool, priority: i32) -> StreamId {
        let id = StreamId(self.next_id);
        self.next_id += 1;
        self.streams.insert(id, Stream { queue: VecDeque::new(), is_blocking, priority });
        id
    }

    /// Whether there is such a stream.
    pub fn contains(&self, id: StreamId) -> bool {
        self.streams.contains_key(&id)
    }

    /// A stream's priority, and whether the null stream and it wait for each other.
    pub fn settings(&self, id: StreamId) -> Option<(i32, bool)> {
        self.streams.get(&id).map(|stream| (stream.priority, stream.is_blocking))
    }

    /// Forgets a stream and what is left in it: [`take`](Self::take) that first.
    pub fn destroy(&mut self, id: StreamId) {
        self.streams.remove(&id);
    }

    /// Queues `work` behind everything in `stream` and behind `after`.
    pub fn submit(&mut self, stream: StreamId, after: &[Point], work: W) -> Option<Point> {
        let is_blocking = self.streams.get(&stream)?.is_blocking;
        let mut after: Vec<Point> = after.iter().copied().filter(|p| !self.is_done(*p)).collect();
        if is_blocking {
            let others = self.streams.iter().filter(|(id, other)| {
                **id != stream
                    && other.is_blocking
                    && (stream == NULL_STREAM || **id == NULL_STREAM)
            });
            after.extend(others.filter_map(|(id, other)| {
                other.queue.back().map(|op| Point { stream: *id, ticket: op.ticket })
            }));
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.streams.get_mut(&stream)?.queue.push_back(Op { ticket, after, work });
        Some(Point { stream, ticket })
    }

    /// The last thing in `stream`, where there is one.
    pub fn last(&self, stream: StreamId) -> Option<Point> {
        let ticket = self.streams.get(&stream)?.queue.back()?.ticket;
        Some(Point { stream, ticket })
    }

    /// The next thing in `stream`, where there is one.
    pub fn first(&self, stream: StreamId) -> Option<Point> {
        let ticket = self.streams.get(&stream)?.queue.front()?.ticket;
        Some(Point { stream, ticket })
    }

    /// The last thing in each stream that has any.
    pub fn all(&self) -> Vec<Point> {
        self.streams.keys().filter_map(|id| self.last(*id)).collect()
    }

    /// Whether everything up to `point` was taken.
    pub fn is_done(&self, point: Point) -> bool {
        self.first(point.stream).is_none_or(|first| first.ticket > point.ticket)
    }

    /// Takes out what has to run for `points` to be done, in an order in which it may run.
    pub fn take(&mut self, points: &[Point]) -> Vec<W> {
        let mut needed: BTreeMap<StreamId, u64> = BTreeMap::new();
        let mut open = points.to_vec();
        while let Some(Point { stream, ticket }) = open.pop() {
            let Some(Stream { queue, .. }) = self.streams.get(&stream) else {
                continue;
            };
            // Up to the first number everything was looked at.
            let looked_at = needed.get(&stream).map_or(0, |ticket| ticket + 1);
            if ticket < looked_at {
                continue;
            }
            needed.insert(stream, ticket);
            let start = queue.partition_point(|op| op.ticket < looked_at);
            let ops = queue.range(start..).take_while(|op| op.ticket <= ticket);
            open.extend(ops.flat_map(|op| op.after.iter().copied()));
        }
        let mut taken = Vec::new();
        for (stream, ticket) in needed {
            if let Some(Stream { queue, .. }) = self.streams.get_mut(&stream) {
                let num_ops = queue.partition_point(|op| op.ticket <= ticket);
                taken.extend(queue.drain(..num_ops).map(|op| (op.ticket, op.work)));
            }
        }
        taken.sort_unstable_by_key(|(ticket, _)| *ticket);
        taken.into_iter().map(|(_, work)| work).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_runs_in_order_and_no_further_than_asked() {
        let mut streams = Streams::default();
        let stream = streams.create(false, 0);
        let first = streams.submit(stream, &[], 1).unwrap();
        let second = streams.submit(stream, &[], 2).unwrap();
        let third = streams.submit(stream, &[], 3).unwrap();
        assert_eq!(streams.take(&[second]), [1, 2]);
        assert!(streams.is_done(first) && streams.is_done(second) && !streams.is_done(third));
        assert!(streams.take(&[first]).is_empty());
        assert_eq!(streams.take(&[third]), [3]);
    }

    #[test]
    fn independent_streams_stay_queued_and_awaited_ones_run_first() {
        let mut streams = Streams::default();
        let [a, b, c] = [(); 3].map(|()| streams.create(false, 0));
        streams.submit(c, &[], "c1");
        let event = streams.submit(a, &[], "a1").unwrap();
        streams.submit(a, &[], "a2");
        streams.submit(b, &[event], "b1");
        let last = streams.submit(b, &[], "b2").unwrap();
        assert_eq!(streams.take(&[last]), ["a1", "b1", "b2"]);
        let rest = streams.all();
        assert_eq!(streams.take(&rest), ["c1", "a2"]);
    }

    #[test]
    fn waits_are_followed_through_streams() {
        let mut streams = Streams::default();
        let ids: Vec<StreamId> = (0..100).map(|_| streams.create(false, 0)).collect();
        let mut event = streams.submit(ids[0], &[], 0).unwrap();
        for (i, id) in ids.iter().enumerate().skip(1).chain(ids.iter().enumerate()) {
            event = streams.submit(*id, &[event], i).unwrap();
        }
        let ran = streams.take(&[event]);
        let expected: Vec<usize> = (0..100).chain(0..100).collect();
        assert_eq!(ran, expected);
    }

    #[test]
    fn the_null_stream_and_blocking_streams_wait_for_each_other() {
        let mut streams = Streams::default();
        let blocking = streams.create(true, 0);
        let free = streams.create(false, 0);
        streams.submit(blocking, &[], "blocking 1");
        streams.submit(free, &[], "free");
        streams.submit(NULL_STREAM, &[], "null");
        let last = streams.submit(blocking, &[], "blocking 2").unwrap();
        assert_eq!(streams.take(&[last]), ["blocking 1", "null", "blocking 2"]);
        assert_eq!(streams.take(&streams.all()), ["free"]);
    }
}
