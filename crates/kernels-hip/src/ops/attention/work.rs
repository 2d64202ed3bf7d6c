//! Lists of work for persistent kernels: `kernels/include/attention_work.h`.
//!
//! A strand is sixteen packed queries of a KV head of a sequence: its partitions are independent, and neighbouring ones
//! in one place share a start. Strands are dealt to work-groups, the longest first, so that none has more work than a
//! limit: what is left of a strand goes where it fits best, or, if it fits nowhere, as many partitions as fit go where most
//! room is. The limit is about the least that needs no more work-groups than the device runs at once, and at most the
//! average, one partition and two starts: a work-group is added only where no other has room for a partition and its
//! start, and each has at most one start that the average does not have, because whoever was given a part has no room
//! for a partition then.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::mem::{offset_of, size_of};
use std::ops::Range;

use bytemuck::{NoUninit, Pod, Zeroable};

use super::mapping::COLUMNS;
use super::repack::grown;
use super::shape::PARTITION;
use super::split::START_QUARTERS;
use crate::buffer::Buffer;
use crate::device::Device;
use crate::ops::count;
use crate::result::Result;
use crate::stream::Stream;

/// Positions of a tile, the unit of work.
const TILE: usize = 64;

/// Tiles of a partition.
const TILES: u64 = (PARTITION / TILE) as u64;

/// What a stretch of neighbouring partitions costs besides its tiles, in tiles: the cost model of `split`.
const START: u64 = TILES / 4 * START_QUARTERS as u64;

/// `AttentionItem` of the header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Item {
    pub seq_idx: u32,
    pub kv_head: u32,
    pub first_column: u32,
    pub first_partition: u32,
    pub end_partition: u32,
}

const _: () = assert!(offset_of!(Item, kv_head) == 4);
const _: () = assert!(offset_of!(Item, first_column) == 8);
const _: () = assert!(offset_of!(Item, first_partition) == 12);
const _: () = assert!(offset_of!(Item, end_partition) == 16);
const _: () = assert!(size_of::<Item>() == 20);

/// `AttentionWork` of the header.
#[derive(Clone, Copy, Default, NoUninit)]
#[repr(C)]
pub(super) struct AttentionWork {
    pub bounds: u64,
    pub items: u64,
}

const _: () = assert!(offset_of!(AttentionWork, items) == 8);
const _: () = assert!(size_of::<AttentionWork>() == 16);

/// What sequences are cut by, beside their lengths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Heads {
    /// Query heads of a KV head.
    pub group: usize,
    /// KV heads.
    pub num_kv_heads: usize,
    /// Tokens that a row attends.
    pub window: Option<u32>,
}

/// How much a work-group may have to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Limit {
    /// The least for which that many work-groups are enough.
    Workgroups(usize),
    /// As much as this many whole partitions in one place.
    Partitions(usize),
}

struct Strand {
    seq_idx: u32,
    kv_head: u32,
    first_column: u32,
    /// Tiles that some query attends.
    tiles: Range<u64>,
}

impl Strand {
    fn partitions(&self) -> Range<u64> {
        self.tiles.start / TILES..self.tiles.end.div_ceil(TILES)
    }

    /// Tiles of some partitions.
    fn cost(&self, partitions: Range<u64>) -> u64 {
        let end = self.tiles.end.min(partitions.end * TILES);
        end.saturating_sub(self.tiles.start.max(partitions.start * TILES))
    }

    /// Where a stretch of whole partitions from `first` on ends that has at most `room` tiles.
    fn end_within(&self, first: u64, room: u64) -> u64 {
        let end = self.tiles.start.max(first * TILES).saturating_add(room);
        if end >= self.tiles.end { self.partitions().end } else { (end / TILES).max(first) }
    }
}

impl Heads {
    /// Those of sequences of rows and tokens `lens`, the longest first.
    fn strands(&self, lens: &[(u32, u32)], strands: &mut Vec<Strand>) {
        strands.clear();
        let window = self.window.map_or(usize::MAX, |window| window as usize);
        for (seq_idx, &(num_rows, seq_len)) in lens.iter().enumerate() {
            let before = (seq_len - num_rows) as usize;
            let num_columns = num_rows as usize * self.group;
            for first_column in (0..num_columns).step_by(COLUMNS) {
                let last_column = (first_column + COLUMNS).min(num_columns) - 1;
                let low = (before + first_column / self.group + 1).saturating_sub(window);
                let end = before + last_column / self.group + 1;
                strands.extend((0..self.num_kv_heads).map(|kv_head| Strand {
                    seq_idx: seq_idx as u32,
                    kv_head: kv_head as u32,
                    first_column: first_column as u32,
                    tiles: (low / TILE) as u64..end.div_ceil(TILE) as u64,
                }));
            }
        }
        strands.sort_by_key(|strand| Reverse(strand.tiles.end - strand.tiles.start));
    }
}

/// Work-groups by the room that they have left.
#[derive(Default)]
struct Rooms {
    by_room: BTreeMap<u64, Vec<usize>>,
    num_workgroups: usize,
}

impl Rooms {
    /// The one with the least room of `least` or more.
    fn take_tightest(&mut self, least: u64) -> Option<(u64, usize)> {
        let (&room, _) = self.by_room.range(least..).next()?;
        self.take(room)
    }

    /// The one with the most room, if that is `least` or more.
    fn take_widest(&mut self, least: u64) -> Option<(u64, usize)> {
        let (&room, _) = self.by_room.last_key_value().filter(|(room, _)| **room >= least)?;
        self.take(room)
    }

    fn take(&mut self, room: u64) -> Option<(u64, usize)> {
        let workgroups = self.by_room.get_mut(&room)?;
        let workgroup = workgroups.pop()?;
        if workgroups.is_empty() {
            self.by_room.remove(&room);
        }
        Some((room, workgroup))
    }

    fn add(&mut self, limit: u64) -> (u64, usize) {
        self.num_workgroups += 1;
        (limit, self.num_workgroups - 1)
    }

    fn put_back(&mut self, room: u64, workgroup: usize) {
        // Less than a start and a tile is of no use.
        if room > START {
            self.by_room.entry(room).or_default().push(workgroup);
        }
    }
}

/// Deals strands to work-groups of at most `limit`, and gives how many that takes.
fn deal(strands: &[Strand], limit: u64, mut put: impl FnMut(usize, &Strand, Range<u64>)) -> usize {
    let mut rooms = Rooms::default();
    for strand in strands {
        let Range { start: mut next, end } = strand.partitions();
        while next < end {
            let (room, workgroup) = rooms
                .take_tightest(START + strand.cost(next..end))
                .or_else(|| rooms.take_widest(START + TILES))
                .unwrap_or_else(|| rooms.add(limit));
            // A partition at least, whatever the limit.
            let stop = strand.end_within(next, room.saturating_sub(START)).max(next + 1);
            put(workgroup, strand, next..stop);
            rooms.put_back(room.saturating_sub(START + strand.cost(next..stop)), workgroup);
            next = stop;
        }
    }
    rooms.num_workgroups
}

/// Each work-group's items.
#[derive(Default)]
struct Plan {
    bounds: Vec<u32>,
    items: Vec<Item>,
}

impl Plan {
    fn make(&mut self, strands: &[Strand], limit: Limit) {
        let limit = match limit {
            Limit::Partitions(count) => START + TILES * count as u64,
            Limit::Workgroups(room) => least_limit(strands, room),
        };
        let mut dealt = Vec::new();
        let num_workgroups = deal(strands, limit, |workgroup, strand, partitions| {
            let item = Item {
                seq_idx: strand.seq_idx,
                kv_head: strand.kv_head,
                first_column: strand.first_column,
                first_partition: partitions.start as u32,
                end_partition: partitions.end as u32,
            };
            dealt.push((workgroup, item));
        });
        dealt.sort_by_key(|(workgroup, _)| *workgroup);
        self.items.clear();
        self.items.extend(dealt.iter().map(|(_, item)| item));
        self.bounds.clear();
        let before = |workgroup: usize| dealt.partition_point(|(other, _)| *other < workgroup);
        self.bounds.extend((0..=num_workgroups).map(|workgroup| before(workgroup) as u32));
    }
}

fn least_limit(strands: &[Strand], room: usize) -> u64 {
    let room = room.max(1);
    let total: u64 = strands.iter().map(|s| START + s.tiles.end - s.tiles.start).sum();
    let average = total.div_ceil(room as u64);
    // That is enough, as said above; less is looked for by halves.
    let (mut low, mut enough) = (START + TILES, average + TILES + 2 * START);
    while low < enough {
        let middle = low.midpoint(enough);
        if deal(strands, middle, |_, _, _| ()) <= room { enough = middle } else { low = middle + 1 }
    }
    enough
}

/// The lists of the last batch, on the device: one for each kind of layer, for windows differ. The layers of a step ask
/// for what its first one of the kind made, or [`WorkLists::prepare`] before it.
#[derive(Default)]
pub(super) struct WorkLists {
    lists: Vec<WorkList>,
}

impl WorkLists {
    /// The list for sequences of rows and tokens `lens`, made unless it is there; its number of work-groups, and itself as
    /// kernels take it.
    pub fn make(
        &mut self,
        on: (&Device, &Stream),
        kind: (Heads, Limit),
        lens: impl Iterator<Item = (u32, u32)> + Clone,
    ) -> Result<(usize, AttentionWork)> {
        let place = self.lists.iter().position(|list| list.kind == kind);
        let place = place.unwrap_or_else(|| {
            self.lists.push(WorkList::new(kind));
            self.lists.len() - 1
        });
        self.lists[place].make(on, lens)
    }

    /// Makes every list that the last batch needed for this one, so that no layer has to wait for it.
    pub fn prepare(
        &mut self,
        on: (&Device, &Stream),
        lens: impl Iterator<Item = (u32, u32)> + Clone,
    ) -> Result<()> {
        self.lists.iter_mut().try_for_each(|list| list.make(on, lens.clone()).map(|_| ()))
    }
}

/// Memory grows, and is used again.
struct WorkList {
    kind: (Heads, Limit),
    is_made: bool,
    lens: Vec<(u32, u32)>,
    strands: Vec<Strand>,
    plan: Plan,
    /// The plan in words: bounds, then items. What the device has.
    words: Vec<u32>,
    on_device: Option<Buffer<u32>>,
}

impl WorkList {
    fn new(kind: (Heads, Limit)) -> Self {
        WorkList {
            kind,
            is_made: false,
            lens: Vec::new(),
            strands: Vec::new(),
            plan: Plan::default(),
            words: Vec::new(),
            on_device: None,
        }
    }

    fn make(
        &mut self,
        (device, stream): (&Device, &Stream),
        lens: impl Iterator<Item = (u32, u32)> + Clone,
    ) -> Result<(usize, AttentionWork)> {
        if !(self.is_made && lens.clone().eq(self.lens.iter().copied())) {
            self.is_made = false;
            self.lens.clear();
            self.lens.extend(lens);
            let (heads, limit) = self.kind;
            heads.strands(&self.lens, &mut self.strands);
            self.plan.make(&self.strands, limit);
            count("pieces of work", self.plan.items.len())?;
            self.copy(device, stream)?;
            self.is_made = true;
        }
        let bounds = self.on_device.as_ref().map_or(0, Buffer::address);
        let items = bounds + size_of_val(self.plan.bounds.as_slice()) as u64;
        Ok((self.plan.bounds.len() - 1, AttentionWork { bounds, items }))
    }

    /// Gives the device the plan, unless it has the same one: most steps add a token to a tile that was there.
    fn copy(&mut self, device: &Device, stream: &Stream) -> Result<()> {
        let items: &[u32] = bytemuck::cast_slice(&self.plan.items);
        let words = [self.plan.bounds.as_slice(), items].concat();
        if words == self.words {
            return Ok(());
        }
        // Until the copy is done, the device has neither.
        self.words.clear();
        grown(device, &mut self.on_device, words.len())?;
        if let Some(on_device) = &mut self.on_device {
            on_device.write_at(stream, 0, &words)?;
        }
        self.words = words;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, BinaryHeap};

    use engine_core::dtype::DType;
    use proptest::prelude::*;

    use super::*;
    use crate::ops::attention::shape::AttentionShape;
    use crate::ops::attention::split::{WAVES_PER_COMPUTE_UNIT, partitions_per_workgroup};

    const ROOM: usize = 304 * WAVES_PER_COMPUTE_UNIT;
    const LLAMA: Heads = Heads { group: 4, num_kv_heads: 8, window: None };

    fn plan(heads: Heads, lens: &[(u32, u32)], limit: Limit) -> (Vec<Strand>, Plan) {
        let (mut strands, mut plan) = (Vec::new(), Plan::default());
        heads.strands(lens, &mut strands);
        plan.make(&strands, limit);
        (strands, plan)
    }

    /// What each work-group has to do, in tiles.
    fn loads(strands: &[Strand], plan: &Plan) -> Vec<u64> {
        let cost = |item: &Item| {
            let of = (item.seq_idx, item.kv_head, item.first_column);
            let strand =
                strands.iter().find(|s| (s.seq_idx, s.kv_head, s.first_column) == of).unwrap();
            START + strand.cost(item.first_partition.into()..item.end_partition.into())
        };
        let items = |range: &[u32]| &plan.items[range[0] as usize..range[1] as usize];
        plan.bounds.windows(2).map(|range| items(range).iter().map(cost).sum()).collect()
    }

    /// The same of work-groups with as many partitions each as v4's cost model says.
    fn split_loads(heads: Heads, lens: &[(u32, u32)]) -> Vec<u64> {
        let shape = AttentionShape {
            q_dtype: DType::BF16,
            kv_dtype: DType::BF16.into(),
            num_qo_heads: heads.group * heads.num_kv_heads,
            num_kv_heads: heads.num_kv_heads,
            head_dim: 128,
            block_size: 16,
            has_token_scales: false,
            max_num_rows: 1,
            max_seq_len: 0,
        };
        let each = partitions_per_workgroup(&shape, lens.iter().copied(), 304) as u64;
        let mut strands = Vec::new();
        heads.strands(lens, &mut strands);
        let of_strand = |strand: &Strand| {
            let borders = strand.partitions().step_by(each as usize);
            borders.map(|first| START + strand.cost(first..first + each)).collect::<Vec<_>>()
        };
        strands.iter().flat_map(of_strand).collect()
    }

    /// The time until all is done over the least, if each of `room` places takes the next work-group when it is free.
    fn imbalance(loads: &[u64], room: usize) -> f64 {
        let mut free_at: BinaryHeap<_> = vec![Reverse(0); room].into();
        let mut end = 0;
        for load in loads {
            let Reverse(begin) = free_at.pop().unwrap();
            end = end.max(begin + load);
            free_at.push(Reverse(begin + load));
        }
        end as f64 * room as f64 / loads.iter().sum::<u64>() as f64
    }

    /// A long sequence and 63 of `first`, `first + step`, ... tokens: for the list and for the split.
    fn ragged(first: u32, step: u32) -> [f64; 2] {
        let mut lens = vec![(1, 65_536)];
        lens.extend((0..63).map(|idx| (1, first + step * idx)));
        let (strands, plan) = plan(LLAMA, &lens, Limit::Workgroups(ROOM));
        let list = imbalance(&loads(&strands, &plan), ROOM);
        let split = imbalance(&split_loads(LLAMA, &lens), ROOM);
        println!("time over the least: {list:.2} for the list, {split:.2} for the split");
        [list, split]
    }

    #[test]
    fn one_long_sequence_among_short_ones_is_spread() {
        // Little more than a partition for each work-group, which nobody can halve.
        let [list, split] = ragged(64, 7);
        assert!(list < 1.45 && split > 1.7, "{list} {split}");
        let [list, split] = ragged(1000, 50);
        assert!(list < 1.1 && split > 1.25, "{list} {split}");
    }

    #[test]
    fn equal_sequences_are_cut_where_whole_ones_do_not_fit() {
        let (strands, plan) = plan(LLAMA, &[(1, 8192); 64], Limit::Workgroups(ROOM));
        let list = imbalance(&loads(&strands, &plan), ROOM);
        assert!(list < 1.16, "{list}");
    }

    #[test]
    fn nothing_is_no_work() {
        let (_, plan) = plan(LLAMA, &[(0, 70), (0, 0)], Limit::Workgroups(ROOM));
        assert_eq!((plan.bounds.as_slice(), plan.items.len()), ([0].as_slice(), 0));
    }

    fn sequences() -> impl Strategy<Value = Vec<(u32, u32)>> {
        let len = prop_oneof![0_u32..200, 400_u32..1200, 1_u32..70_000];
        let sequence = (len, 0_u32..9).prop_map(|(len, rows)| (rows.min(len), len));
        prop::collection::vec(sequence, 0..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Whatever the lengths: every partition that a row attends is somebody's, once, and nobody has much more than the average.
        #[test]
        fn all_partitions_are_dealt_once_and_evenly(
            lens in sequences(),
            (group, num_kv_heads) in prop::sample::select(vec![(1, 1), (4, 8), (7, 2), (40, 1)]),
            window in prop::option::of(1_u32..3000),
            room in prop::sample::select(vec![1, 7, 304, ROOM]),
            partitions in prop::option::of(1_usize..5),
        ) {
            let heads = Heads { group, num_kv_heads, window };
            let limit = partitions.map_or(Limit::Workgroups(room), Limit::Partitions);
            let (strands, plan) = plan(heads, &lens, limit);
            let mut wanted = BTreeSet::new();
            for (seq_idx, &(num_rows, len)) in lens.iter().enumerate() {
                for column in 0..num_rows as usize * group {
                    let position = len - num_rows + (column / group) as u32;
                    let first = (position + 1).saturating_sub(window.unwrap_or(u32::MAX));
                    for kv_head in 0..num_kv_heads as u32 {
                        let of = (seq_idx as u32, kv_head, (column / COLUMNS * COLUMNS) as u32);
                        let of_partition = |partition| (of, partition);
                        let partitions = first / PARTITION as u32..=position / PARTITION as u32;
                        wanted.extend(partitions.map(of_partition));
                    }
                }
            }
            let mut dealt = BTreeSet::new();
            for item in &plan.items {
                for partition in item.first_partition..item.end_partition {
                    let of = (item.seq_idx, item.kv_head, item.first_column);
                    prop_assert!(dealt.insert((of, partition)), "{item:?} is another's");
                }
            }
            prop_assert_eq!(&dealt, &wanted);
            prop_assert_eq!(plan.bounds.last().copied(), Some(plan.items.len() as u32));
            prop_assert!(plan.bounds.windows(2).all(|range| range[0] < range[1]));
            let busiest = loads(&strands, &plan).into_iter().max().unwrap_or(0);
            if let Limit::Partitions(count) = limit {
                prop_assert!(busiest <= START + TILES * count as u64);
            } else {
                prop_assert!(plan.bounds.len() - 1 <= room);
                let total: u64 = strands.iter().map(|s| START + s.cost(s.partitions())).sum();
                prop_assert!(busiest <= total.div_ceil(room as u64) + TILES + 2 * START);
            }
        }
    }
}
