//! Events as engines send them while they serve: pods store the next blocks of what they hold, and evict them again.

use crate::events::{removed, stored};
use crate::inputs::next_block;
use crate::workload::{BATCH, Block, SplitMix, Workload};
use dynamo_kv_router::RouterEvent;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Blocks that one conversation grows by before it is evicted again.
const GROWTH: usize = 4 * BATCH;
/// Conversations that are grown at any time.
const GROWN: usize = 16;
/// Events between two looks at the clock: 256 µs of them at 500,000 blocks a second.
const STRIDE: usize = 8;

pub struct Update {
    pub pod: u16,
    /// A store, behind this block; otherwise a removal.
    pub parent: Option<Block>,
    pub blocks: Vec<Block>,
}

impl Update {
    pub fn event(&self) -> RouterEvent {
        match &self.parent {
            Some(parent) => stored(self.pod, Some(parent), &self.blocks),
            None => removed(self.pod, &self.blocks),
        }
    }
}

/// About so many blocks of updates, half stores and half removals, that leave an index as it was.
///
/// Half of the conversations grow along the blocks of the queries, so that these meet what is being written, the other
/// half branch off from them. No pod grows one conversation twice at a time.
pub fn script(workload: &Workload, blocks: usize) -> Vec<Update> {
    let mut random = SplitMix(4242);
    let mut holdings = workload.holdings.clone();
    random.shuffle(&mut holdings);
    let growths = (blocks / 2 / GROWTH).max(1);
    let grown: Vec<(u16, Block, Vec<Block>)> = (0..growths)
        .map(|number| {
            let holding = &holdings[number % holdings.len()];
            let chain = &workload.chains[holding.group];
            let parent = chain[holding.depth - 1];
            let along = &chain[holding.depth..chain.len().min(holding.depth + GROWTH)];
            let along = if number % 2 == 0 { along } else { &[] };
            (holding.pod, parent, grow(parent, along, &mut random))
        })
        .collect();
    let mut updates = Vec::new();
    for number in 0..growths + GROWN {
        let store = grown.get(number).map(|(pod, parent, blocks)| stores(*pod, *parent, blocks));
        let evict = number.checked_sub(GROWN).map(|old| removals(grown[old].0, &grown[old].2));
        let (mut store, mut evict) = (store.into_iter().flatten(), evict.into_iter().flatten());
        for _ in 0..GROWTH / BATCH {
            updates.extend(store.next());
            updates.extend(evict.next());
        }
    }
    updates
}

/// These blocks and then new ones.
fn grow(parent: Block, along: &[Block], random: &mut SplitMix) -> Vec<Block> {
    let mut blocks = along.to_vec();
    while blocks.len() < GROWTH {
        let last = *blocks.last().unwrap_or(&parent);
        blocks.push(next_block(Some(&last), &random.tokens()));
    }
    blocks
}

fn stores(pod: u16, parent: Block, blocks: &[Block]) -> Vec<Update> {
    let parents = std::iter::once(parent).chain(blocks.chunks(BATCH).map(|batch| batch[batch.len() - 1]));
    parents
        .zip(blocks.chunks(BATCH))
        .map(|(parent, batch)| Update { pod, parent: Some(parent), blocks: batch.to_vec() })
        .collect()
}

fn removals(pod: u16, blocks: &[Block]) -> Vec<Update> {
    let leaf_first: Vec<Block> = blocks.iter().rev().copied().collect();
    leaf_first.chunks(BATCH).map(|batch| Update { pod, parent: None, blocks: batch.to_vec() }).collect()
}

/// Holds updates to a rate.
pub struct Pace {
    start: OnceLock<Instant>,
    stride: Duration,
}

impl Pace {
    pub fn new(blocks_a_second: usize) -> Self {
        let stride = Duration::from_secs_f64((STRIDE * BATCH) as f64 / blocks_a_second as f64);
        Self { start: OnceLock::new(), stride }
    }

    /// Updates that may go at once.
    pub fn strides<'a>(&self, updates: &'a [Update]) -> std::slice::Chunks<'a, Update> {
        updates.chunks(STRIDE)
    }

    /// Sleeps until the stride of that number is due; the first starts the clock.
    pub fn wait(&self, number: usize) {
        let due = *self.start.get_or_init(Instant::now) + self.stride * number as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}
