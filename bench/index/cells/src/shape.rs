//! The cells of the tables. Like `workload.rs` written for this project's benches, with the standard library alone.
//!
//! `groups` conversations are chains of `depth` blocks of 16 tokens. `stored` of them are cached somewhere and the
//! rest, an eighth, is the user's new turn (not in best8, where all are stored). Up to eight random pods hold a
//! conversation; holder j of k holds the leading `shared + (stored - shared) * (j + 1) / k` blocks.
//!
//! - fan8: nothing is shared between conversations; a query meets 8 pods at 8 depths.
//! - tree8: as fan8, but each holder goes on with a chain of its own up to `stored` blocks: 8 branches a chain.
//! - sys8: the leading eighth is a system prompt that all conversations share and all pods hold; 8 pods go deeper.
//! - best8: all 8 hold all blocks of the query.

/// Most pods that hold one conversation.
const HOLDERS: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    Fan8,
    Tree8,
    Sys8,
    Best8,
}

/// Sizes of one cell of the tables.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub scenario: Scenario,
    pub pods: usize,
    /// Blocks a query.
    pub depth: usize,
    /// Conversations, and queries.
    pub groups: usize,
}

impl Shape {
    /// Blocks of a conversation that are held by a pod.
    pub fn stored(&self) -> usize {
        if self.scenario == Scenario::Best8 { self.depth } else { self.depth - self.depth / 8 }
    }

    /// Leading blocks that are the same in all conversations.
    pub fn shared(&self) -> usize {
        if self.scenario == Scenario::Sys8 { self.depth / 8 } else { 0 }
    }

    pub fn holders(&self) -> usize {
        HOLDERS.min(self.pods)
    }

    /// Blocks of a conversation that holder j holds.
    pub fn held(&self, j: usize) -> usize {
        if self.scenario == Scenario::Best8 {
            return self.stored();
        }
        self.shared() + (self.stored() - self.shared()) * (j + 1) / self.holders()
    }

    /// So many conversations that there are at least that many (pod, block) pairs.
    pub fn with_pairs(mut self, pairs: usize) -> Self {
        let own = |j: usize| match self.scenario {
            Scenario::Tree8 => self.stored(),
            _ => self.held(j) - self.shared(),
        };
        let group: usize = (0..self.holders()).map(own).sum();
        self.groups = pairs.saturating_sub(self.shared() * self.pods).div_ceil(group).max(1);
        self
    }
}
