//! What the writer lock protects.

use super::blocks::{Counts, Tables};
use super::draft::{Draft, Island};
use super::garbage::Garbage;
use super::pool::Pool;
use super::table::{FIRST_ID, MAX_ID};

/// What a writer knows of a chain besides its snapshot.
#[derive(Default)]
pub(super) struct Ledger {
    /// Hashes in the array that some snapshot reached, now or earlier.
    pub(super) written: u32,
    /// Blocks that some pod holds.
    pub(super) held: u32,
    pub(super) islands: Option<Box<[Island]>>,
}

/// All that the writer lock protects.
pub(super) struct Books<const W: usize> {
    pub(super) counts: Counts,
    /// By chain number; the first [`FIRST_ID`] are not used.
    pub(super) ledgers: Vec<Ledger>,
    pub(super) free: Vec<u32>,
    /// Sweeps under way.
    pub(super) sweeps: usize,
    pub(super) held: usize,
    pub(super) pool: Pool,
    pub(super) draft: Draft<W>,
    pub(super) garbage: Garbage<W>,
}

impl<const W: usize> Books<W> {
    pub(super) fn new(counts: Counts, pool: Pool) -> Self {
        let ledgers = (0..FIRST_ID).map(|_| Ledger::default()).collect();
        Self {
            counts,
            ledgers,
            free: Vec::new(),
            sweeps: 0,
            held: 0,
            pool,
            draft: Draft::default(),
            garbage: Garbage::new(),
        }
    }

    /// Gives back what no reader has any more.
    pub(super) fn empty_bin(&mut self) {
        self.garbage.empty_bin(&mut self.pool);
    }

    pub(super) fn tables(&mut self) -> Tables<'_, W> {
        Tables { counts: &mut self.counts, garbage: &mut self.garbage, pool: &mut self.pool }
    }

    /// Where no chain is left: after churn, no memory is kept for as many again.
    pub(super) fn settle(&mut self) {
        if self.sweeps == 0
            && !self.free.is_empty()
            && self.free.len() + FIRST_ID as usize == self.ledgers.len()
        {
            self.ledgers.truncate(FIRST_ID as usize);
            self.ledgers.shrink_to_fit();
            self.free = Vec::new();
        }
    }

    pub(super) fn held(&self) -> usize {
        self.held
    }

    pub(super) fn bytes(&self) -> usize {
        self.pool.used() - self.garbage.bytes()
            + self.ledgers.capacity() * size_of::<Ledger>()
            + self.free.capacity() * size_of::<u32>()
    }

    /// A number without a chain; `None` if there are more chains than numbers.
    pub(super) fn new_id(&mut self) -> Option<u32> {
        // While a sweep is under way, only numbers that it comes to later.
        if self.sweeps == 0
            && let Some(id) = self.free.pop()
        {
            return Some(id);
        }
        let id = u32::try_from(self.ledgers.len()).ok().filter(|&id| id <= MAX_ID)?;
        self.ledgers.push(Ledger::default());
        Some(id)
    }
}
