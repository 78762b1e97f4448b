//! The prefix index: which pods hold the leading blocks of a prompt?
//!
//! - [`search`]: the query, and what it guarantees
//! - [`forest`]: the chains of all prompts · [`writer`]: storing and removing · [`draft`], [`publish`]: a chain's next
//!   snapshot · [`books`]: what the writer lock protects
//! - [`chain`]: a snapshot · [`chains`]: chains by number · [`blocks`], [`table`], [`key`]: block → place in a chain
//! - [`pool`], [`arena`]: memory, on huge pages · [`garbage`]: memory that readers may still look at
//! - [`slots`]: generations and the alive mask · [`sweep`]: a removed pod's blocks leave in the background
//! - [`owned`]: an index that hands out its own slots · [`naive`]: the same by linear scan, for tests and benches
//!
//! Readers take no lock and never wait for a writer. docs/design/index.md draws it.

mod arena;
mod blocks;
mod books;
mod chain;
mod chains;
mod draft;
mod forest;
mod garbage;
mod key;
pub mod naive;
pub mod owned;
mod pool;
mod publish;
mod search;
mod slots;
mod sweep;
mod sync;
mod table;
#[cfg(test)]
mod tests;
mod writer;

pub use search::Match;
pub use slots::Slots;

use crate::hash::SequenceHash;
use crate::pods::PodRef;
use crossbeam_epoch as epoch;
use forest::Forest;
use search::{Way, search};
use std::sync::Arc;
use sweep::Sweeps;

/// How many pods an index has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 64 pods; 8 bytes a chain.
    Pods64,
    /// 256 pods; 32 bytes a chain.
    Pods256,
    /// 1,024 pods; 128 bytes a chain.
    Pods1024,
}

impl Width {
    /// The width of exactly that many pods, if there is one.
    pub fn exactly(pods: usize) -> Option<Self> {
        [Self::Pods64, Self::Pods256, Self::Pods1024].into_iter().find(|width| width.pods() == pods)
    }

    /// Number of slots.
    pub fn pods(self) -> usize {
        match self {
            Self::Pods64 => 64,
            Self::Pods256 => 256,
            Self::Pods1024 => 1024,
        }
    }
}

/// A query's answer and its scratch memory, kept by the caller and reused: after the first few queries of a size,
/// none allocates.
#[derive(Default)]
pub struct Matches {
    pairs: Vec<Match>,
    /// Another index's answer.
    others: Vec<Match>,
    way1: Way<1>,
    way4: Way<4>,
    way16: Way<16>,
}

impl Matches {
    /// Pods with at least one block, deepest first, by slot where equal.
    pub fn as_slice(&self) -> &[Match] {
        &self.pairs
    }

    /// Forgets the last answer.
    pub fn clear(&mut self) {
        self.pairs.clear();
    }
}

enum Tables {
    Pods64(Forest<1>),
    Pods256(Forest<4>),
    Pods1024(Forest<16>),
}

/// Runs the same expression on whichever table there is.
macro_rules! each_width {
    ($tables:expr, $table:ident => $run:expr) => {
        match $tables {
            Tables::Pods64($table) => $run,
            Tables::Pods256($table) => $run,
            Tables::Pods1024($table) => $run,
        }
    };
}

impl Tables {
    fn sweep(&self, slots: &Slots, gone: &[u64; 16]) {
        each_width!(self, table => table.sweep(slots, &first_words(gone)));
    }
}

fn first_words<const W: usize>(words: &[u64; 16]) -> [u64; W] {
    std::array::from_fn(|word| words[word])
}

struct Inner {
    width: Width,
    tables: Tables,
    slots: Arc<Slots>,
    sweeps: Sweeps,
}

/// Block hash → pods, shared by all threads of the process. Cloning shares it.
#[derive(Clone)]
pub struct PrefixIndex {
    inner: Arc<Inner>,
}

impl PrefixIndex {
    /// An empty index over `slots`, which several indexes may share.
    pub fn new(width: Width, slots: Arc<Slots>) -> Self {
        let tables = match width {
            Width::Pods64 => Tables::Pods64(Forest::new()),
            Width::Pods256 => Tables::Pods256(Forest::new()),
            Width::Pods1024 => Tables::Pods1024(Forest::new()),
        };
        Self { inner: Arc::new(Inner { width, tables, slots, sweeps: Sweeps::new() }) }
    }

    /// Room for pods.
    pub fn width(&self) -> Width {
        self.inner.width
    }

    /// Notes that the pod holds these blocks, a stretch of a chain that follows the block `parent` (`None`: it starts
    /// at the root, or nobody knows). Idempotent. Without effect if the pod's slot is closed for it.
    pub fn store(&self, pod: PodRef, parent: Option<SequenceHash>, hashes: &[SequenceHash]) {
        if pod.slot() < self.inner.width.pods() {
            each_width!(&self.inner.tables, table => table.store(&self.inner.slots, pod, parent, hashes));
        }
    }

    /// Notes that the pod holds these blocks no more. Idempotent; hashes it never had are passed over.
    pub fn remove(&self, pod: PodRef, hashes: &[SequenceHash]) {
        if pod.slot() < self.inner.width.pods() {
            each_width!(&self.inner.tables, table => table.remove(&self.inner.slots, pod, hashes));
        }
    }

    /// Notes that the pod holds nothing any more; it stays in use. Looks at all chains on the calling thread, so that stores which follow are not lost. Queries do not wait for it.
    pub fn clear(&self, pod: PodRef) {
        if pod.slot() < self.inner.width.pods() && self.inner.slots.is_open(pod) {
            let mut gone = [0; 16];
            gone[pod.slot() / 64] = 1 << (pod.slot() % 64);
            each_width!(&self.inner.tables, table => {
                table.sweep(&self.inner.slots, &first_words(&gone));
            });
        }
    }

    /// Ranks the living pods by the leading blocks of `hashes` that they hold, into `out`. Takes no lock. See the
    /// `search` module for what a depth means when blocks are missing in between.
    pub fn query(&self, hashes: &[SequenceHash], out: &mut Matches) {
        let slots = &self.inner.slots;
        let guard = epoch::pin();
        let Matches { pairs, way1, way4, way16, .. } = out;
        match &self.inner.tables {
            Tables::Pods64(table) => search(table, &guard, slots.alive_words(), hashes, way1, pairs),
            Tables::Pods256(table) => search(table, &guard, slots.alive_words(), hashes, way4, pairs),
            Tables::Pods1024(table) => search(table, &guard, slots.alive_words(), hashes, way16, pairs),
        }
    }

    /// As [`PrefixIndex::query`], but adds to the answer that `out` has of another index over the same slots: a pod in
    /// both has the greater depth.
    pub fn query_more(&self, hashes: &[SequenceHash], out: &mut Matches) {
        std::mem::swap(&mut out.pairs, &mut out.others);
        self.query(hashes, out);
        if out.others.is_empty() {
            return;
        }
        out.pairs.append(&mut out.others);
        // The stable sort finds that these are two sorted runs, and merges them.
        out.pairs.sort_by_key(|found| (std::cmp::Reverse(found.depth), found.slot));
        let mut seen = [0; 16];
        out.pairs.retain(|found| {
            let slot = usize::from(found.slot);
            let new = !chain::has::<16>(&seen, slot);
            chain::add::<16>(&mut seen, slot);
            new
        });
    }

    /// Whether stores for this pod take effect.
    pub fn accepts(&self, pod: PodRef) -> bool {
        self.inner.slots.is_open(pod)
    }

    /// Whether no bit of a pod that left is in the slot. Only then may the slot have a new pod.
    pub fn is_swept(&self, slot: usize) -> bool {
        self.inner.sweeps.is_swept(slot)
    }

    /// Blocks until the sweeps under way are done.
    pub fn wait_swept(&self) {
        self.inner.sweeps.wait();
    }

    /// Frees memory that was replaced and that no query looks at any more. Whoever stores and removes does so too; this
    /// is for an index at rest.
    pub fn tidy(&self) {
        each_width!(&self.inner.tables, table => table.tidy());
    }

    /// Blocks that some pod holds. Takes the writers' lock for a moment.
    pub fn entries(&self) -> usize {
        each_width!(&self.inner.tables, table => table.held())
    }

    /// Bytes in use, without what waits for its last reader.
    pub fn bytes(&self) -> usize {
        each_width!(&self.inner.tables, table => table.bytes())
    }
}

/// Removes a pod from `slots` and all the indexes over them. From here on no query answers it (one that began before
/// may still); its bits leave in the background. Answers false if the pod was gone already.
///
/// Whoever hands out the slots calls this under its own lock, together with [`Slots::open`] and [`Slots::show`].
pub fn retire(slots: &Slots, indexes: &[PrefixIndex], pod: PodRef) -> bool {
    if !slots.is_open(pod) {
        return false;
    }
    // First of all the marks, so that there is no moment at which the slot looks free *and* swept.
    indexes.iter().for_each(|index| index.inner.sweeps.expect(pod.slot()));
    slots.close(pod);
    indexes.iter().for_each(|index| Sweeps::start(&index.inner, pod.slot()));
    true
}
