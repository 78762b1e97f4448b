//! One tier's blocks of one pod: what its events say, and what they said before some were lost.

use super::{EngineHash, EngineMap};
use crate::hash::SequenceHash;

/// Blocks by the engine's names.
#[derive(Default)]
pub(super) struct Tier {
    /// Stored, and not removed since.
    sure: EngineMap,
    /// Stored before events were lost: the removal of some may be among those.
    doubtful: EngineMap,
}

impl Tier {
    pub(super) fn len(&self) -> usize {
        self.sure.len() + self.doubtful.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.sure.bytes() + self.doubtful.bytes()
    }

    /// Starts loading what [`Tier::prefetch`] will look at; of blocks that are doubtful, nothing.
    #[inline]
    pub(super) fn prefetch_bucket(&self, hash: EngineHash) {
        self.sure.prefetch_bucket(hash);
    }

    /// Starts loading what a change of the block will look at.
    #[inline]
    pub(super) fn prefetch(&self, hash: EngineHash) {
        self.sure.prefetch(hash);
    }

    /// What the router calls the block.
    pub(super) fn get(&self, hash: EngineHash) -> Option<SequenceHash> {
        self.sure.get(hash).or_else(|| self.doubtful.get(hash))
    }

    /// One more copy. Answers whether the plane has to learn of the block.
    pub(super) fn add(&mut self, hash: EngineHash, block: SequenceHash) -> bool {
        // Stored again: if a copy was there before the loss, nobody knows whether it still is. One is sure.
        let known = if self.doubtful.is_empty() { None } else { self.doubtful.forget(hash) };
        self.sure.add(hash, block) && known != Some(block)
    }

    /// One copy less. Answers the block if it was the last that is known of.
    pub(super) fn remove(&mut self, hash: EngineHash) -> Option<SequenceHash> {
        if !self.doubtful.is_empty()
            && let Some(block) = self.doubtful.forget(hash)
        {
            return Some(block);
        }
        self.sure.remove(hash)
    }

    /// Events were lost: from now on all that was sure is doubtful.
    pub(super) fn doubt(&mut self) {
        let mut sure = std::mem::take(&mut self.sure);
        if self.doubtful.is_empty() {
            self.doubtful = sure;
        } else {
            sure.drain(|hash, block| {
                self.doubtful.add(hash, block);
            });
        }
    }

    /// Takes out what is doubtful.
    pub(super) fn drain_doubtful(&mut self, out: &mut Vec<SequenceHash>) {
        self.doubtful.drain(|_, block| out.push(block));
    }

    /// Takes out doubtful blocks until no more than `most` are left of all. Which of them is chance: nothing is known
    /// of any.
    pub(super) fn keep(&mut self, most: usize, out: &mut Vec<SequenceHash>) {
        let excess = self.len().saturating_sub(most);
        for _ in 0..excess {
            let Some(block) = self.doubtful.pop() else { return };
            out.push(block);
        }
    }
}
