//! All shards' tables under one name: where is a block?

use super::chain::Chain;
use super::chains::Chains;
use super::garbage::{Garbage, Piece};
use super::key::{Key, SHARD_BITS};
use super::pool::Pool;
use super::sync::AtomicU64;
use super::table::{Found, Head, MIN_LOG, Place, Table, give_up, move_to};
use crate::hash::SequenceHash;
use crossbeam_epoch::Guard;

const SHARDS: usize = 1 << SHARD_BITS;

/// Block → place, for readers. Writers come with a [`Counts`], of which there is one.
pub(super) struct Blocks {
    heads: Box<[Head]>,
}

/// How full a shard's table is.
#[derive(Clone, Copy, Default)]
struct Count {
    /// Words that are not free, those given up included; never more than 3/4 of the table.
    used: usize,
    /// Of these, the ones of a block.
    live: usize,
}

/// How full the tables are; who has it may write to them.
pub(super) struct Counts(Box<[Count]>);

/// What a writer needs to write to the tables.
pub(super) struct Tables<'a, const W: usize> {
    pub(super) counts: &'a mut Counts,
    pub(super) garbage: &'a mut Garbage<W>,
    pub(super) pool: &'a mut Pool,
}

impl Blocks {
    pub(super) fn new(pool: &mut Pool) -> (Self, Counts) {
        let heads = (0..SHARDS).map(|_| Head::new(pool)).collect();
        (Self { heads }, Counts(vec![Count::default(); SHARDS].into()))
    }

    #[inline]
    pub(super) fn prefetch(&self, hash: SequenceHash) {
        let key = Key::new(hash);
        self.heads[key.shard()].table().prefetch(key);
    }

    /// The chain that has a block, and the block's place. The guard keeps the tables that readers may meet.
    ///
    /// A word may have been read just before its chain was cut, and the chain just after: then the word has changed
    /// since, and is read again.
    #[inline]
    pub(super) fn find<'a, const W: usize>(
        &self,
        chains: &Chains<W>,
        guard: &'a Guard,
        hash: SequenceHash,
    ) -> Option<(&'a Chain<W>, Place)> {
        let key = Key::new(hash);
        let (mut found, mut stale) = (None, None);
        loop {
            let before = stale.take();
            let holds = |place: Place| {
                found = holder(chains, guard, place, key);
                if found.is_none() {
                    stale = Some(place);
                }
                found.is_some()
            };
            // SAFETY: the table's address is read here, under the guard.
            match unsafe { self.heads[key.shard()].table().find(key, holds) } {
                Found::Block(_, place) => return found.map(|chain| (chain, place)),
                Found::Vacant(_) if stale == before => return None,
                Found::Vacant(_) => {}
            }
        }
    }

    #[inline]
    fn entry<'a, const W: usize>(&self, chains: &Chains<W>, guard: &'a Guard, key: Key) -> Found<'a> {
        // SAFETY: the table's address is read here, under the guard.
        unsafe {
            self.heads[key.shard()].table().find(key, |place| holder(chains, guard, place, key).is_some())
        }
    }

    /// Notes the place of a block, unless one is known: then answers that.
    pub(super) fn insert<const W: usize>(
        &self,
        tables: &mut Tables<'_, W>,
        chains: &Chains<W>,
        guard: &Guard,
        hash: SequenceHash,
        place: Place,
    ) -> Option<Place> {
        let key = Key::new(hash);
        let vacant = match self.entry(chains, guard, key) {
            Found::Block(_, known) => return Some(known),
            Found::Vacant(vacant) => vacant,
        };
        let capacity = self.heads[key.shard()].table().capacity();
        if vacant.fresh && (tables.counts.0[key.shard()].used + 1) * 4 > capacity * 3 {
            self.rebuild(tables, key.shard());
            return self.insert(tables, chains, guard, hash, place);
        }
        let count = &mut tables.counts.0[key.shard()];
        count.used += usize::from(vacant.fresh);
        count.live += 1;
        vacant.fill(key, place);
        None
    }

    fn slot<'a>(&self, _guard: &'a Guard, key: Key, at: Place) -> Option<&'a AtomicU64> {
        // SAFETY: the table's address is read here, under the guard.
        match unsafe { self.heads[key.shard()].table().find(key, |place| place == at) } {
            Found::Block(slot, _) => Some(slot),
            Found::Vacant(_) => None,
        }
    }

    /// Forgets the block that is at `at`.
    pub(super) fn remove<const W: usize>(
        &self,
        tables: &mut Tables<'_, W>,
        guard: &Guard,
        hash: SequenceHash,
        at: Place,
    ) {
        let key = Key::new(hash);
        let Some(slot) = self.slot(guard, key, at) else { return };
        give_up(slot);
        tables.counts.0[key.shard()].live -= 1;
        self.shrink(tables, key.shard());
    }

    /// The block at `from` is at `to` from now on; there is no moment at which it is not found.
    pub(super) fn relocate(&self, guard: &Guard, hash: SequenceHash, from: Place, to: Place) {
        let key = Key::new(hash);
        if let Some(slot) = self.slot(guard, key, from) {
            move_to(slot, key, to);
        }
    }

    /// Replaces a table that has become far too large. Growth needs 3/4, a rebuild leaves 1/4 to 1/2, and this waits
    /// for 1/8: between two rebuilds a fixed share of the words must change, so each change pays O(1) for them.
    fn shrink<const W: usize>(&self, tables: &mut Tables<'_, W>, shard: usize) {
        let capacity = self.heads[shard].table().capacity();
        if capacity > 1 << MIN_LOG && tables.counts.0[shard].live * 8 < capacity {
            self.rebuild(tables, shard);
        }
    }

    /// Copies the blocks into a table of fitting size and publishes it. Readers go on in the old table, which changes
    /// no more and is freed when the last of them has left.
    fn rebuild<const W: usize>(&self, tables: &mut Tables<'_, W>, shard: usize) {
        let (head, count) = (&self.heads[shard], &mut tables.counts.0[shard]);
        let log = ((count.live + 1) * 2).next_power_of_two().trailing_zeros().max(MIN_LOG);
        let next = Table::allocate(tables.pool, log);
        // SAFETY: only the holder of the counts retires tables, that is this function, and `next` is its own.
        let copied = unsafe { head.table().copy_into(next) };
        *count = Count { used: copied, live: copied };
        tables.garbage.retire(Piece::Table(head.replace(next)));
    }
}

/// The chain at a place, if it has the block there.
#[inline]
fn holder<'a, const W: usize>(
    chains: &Chains<W>,
    guard: &'a Guard,
    place: Place,
    key: Key,
) -> Option<&'a Chain<W>> {
    chains.get(guard, place.id).filter(|chain| chain.holds(place.offset, key.hash))
}
