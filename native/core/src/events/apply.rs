//! What an event changes: tokens become the router's own hashes, and the pod's ledger follows.

use super::batch::{Medium, Removed, Sink, Stored};
use super::cursor::Malformed;
use super::stats::FeedStats;
use crate::exact::{EngineHash, Mode};
use crate::hash::{BlockHash, Root, SequenceHash, hash_block, link};
use crate::pods::{CacheShape, PodRef};
use crate::state::SharedState;

/// KV groups of a hybrid model that describe no prefix, by number; models have two to five.
const MOST_GROUPS: usize = 16;

/// What is remembered from one event to the next.
#[derive(Default)]
pub(super) struct Applier {
    blocks: Vec<(EngineHash, SequenceHash)>,
    gone: Vec<SequenceHash>,
    /// Removed one by one, as vLLM tells it, and taken out together: a chain is then rewritten once.
    removed: Vec<EngineHash>,
    removed_from: Option<Medium>,
    /// The group whose blocks are prefixes: the first with full attention.
    prefix_group: Option<u32>,
    other_groups: Vec<u32>,
    /// The last root, and what it is of.
    root: Option<(RootOf, SequenceHash)>,
    block_size: u32,
}

#[derive(PartialEq)]
struct RootOf {
    lora: Option<Box<[u8]>>,
    salt: Option<Box<[u8]>>,
    block_size: u32,
    variant: Option<u32>,
}

/// A batch's way into the state.
pub(super) struct Target<'a> {
    pub(super) state: &'a SharedState,
    pub(super) stats: &'a FeedStats,
    pub(super) pod: PodRef,
    pub(super) model: &'a str,
    pub(super) applier: &'a mut Applier,
    /// Stored blocks that could not be placed, in this batch.
    pub(super) orphans: u64,
    /// The cache was emptied: whatever was lost before, the pod is exact from here on.
    pub(super) cleared: bool,
}

impl Applier {
    /// Full attention keeps every block of a prompt, so its blocks describe prefixes; of several such groups, one is
    /// enough. Sliding windows and state-space layers drop what is behind them. (Engines before hybrid models say no
    /// kind, and have one group.)
    fn describes_prefix(&mut self, group: u32, kind: Option<&[u8]>) -> bool {
        if self.other_groups.contains(&group) {
            return false;
        }
        let full = match kind {
            None => true,
            Some(kind) => kind == b"full_attention" || kind.starts_with(b"mla"),
        };
        if full && self.prefix_group.is_none_or(|known| known == group) {
            self.prefix_group = Some(group);
            return true;
        }
        if self.other_groups.len() < MOST_GROUPS {
            self.other_groups.push(group);
        }
        false
    }
}

impl Target<'_> {
    /// What the first block of a prompt links to.
    fn root(&mut self, event: &Stored<'_>) -> SequenceHash {
        let variant = self.state.pods.cache_shape(self.pod).variant;
        let same = |of: &RootOf| {
            of.lora.as_deref() == event.lora
                && of.salt.as_deref() == event.salt
                && (of.block_size, of.variant) == (event.block_size, variant)
        };
        if let Some((of, root)) = &self.applier.root
            && same(of)
        {
            return *root;
        }
        let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let (lora, salt) = (text(event.lora), text(event.salt));
        // An adapter is a model of its own to clients, with a name of its own.
        let model = lora.as_deref().unwrap_or(self.model);
        let variant_name = variant.and_then(|variant| self.state.model_name(variant));
        let root =
            Root::new(model, variant_name.as_deref(), salt.as_deref(), event.block_size as usize).start();
        let of = RootOf {
            lora: event.lora.map(Into::into),
            salt: event.salt.map(Into::into),
            block_size: event.block_size,
            variant,
        };
        self.applier.root = Some((of, root));
        root
    }

    /// Takes out what was removed since the last event of another kind.
    pub(super) fn flush(&mut self) {
        let Some(medium) = self.applier.removed_from.take() else { return };
        let Applier { gone, removed, .. } = &mut *self.applier;
        self.state.exact.remove(self.pod, medium, removed, gone);
        removed.clear();
        if !gone.is_empty() && medium == Medium::Gpu && self.state.exact.mode(self.pod) == Mode::Stale {
            self.state.predicted.drop_blocks(self.pod, gone);
        }
    }

    fn note_block_size(&mut self, block_size: u32) {
        if self.applier.block_size != block_size {
            self.applier.block_size = block_size;
            self.state.pods.set_cache_shape(self.pod, CacheShape { block_size, ..CacheShape::default() });
        }
    }

    /// Copies in another tier, told without tokens: the blocks are known by their names.
    fn copies(&mut self, event: &Stored<'_>) {
        self.applier.blocks.clear();
        for &hash in event.hashes {
            match self.state.exact.block(self.pod, hash) {
                Some(block) => self.applier.blocks.push((hash, block)),
                // A tier below may name larger blocks of its own. That says nothing of the GPU's.
                None => FeedStats::add(&self.stats.orphans, 1),
            }
        }
        self.state.exact.store(self.pod, event.medium, None, &self.applier.blocks);
    }
}

impl Sink for Target<'_> {
    fn stored(&mut self, event: &Stored<'_>) -> Result<(), Malformed> {
        FeedStats::add(&self.stats.events, event.hashes.len() as u64);
        self.flush();
        if !self.applier.describes_prefix(event.group, event.kind) || !self.state.exact.follows(self.pod) {
            return Ok(());
        }
        if event.tokens.is_empty() {
            self.copies(event);
            return Ok(());
        }
        if event.medium == Medium::Gpu {
            self.note_block_size(event.block_size);
        }
        let parent = match event.parent {
            None => None,
            Some(hash) => match self.state.exact.block(self.pod, hash) {
                Some(block) => Some(block),
                None => {
                    let count = event.hashes.len() as u64;
                    FeedStats::add(&self.stats.orphans, count);
                    self.orphans += count;
                    return Ok(());
                }
            },
        };
        let mut last = parent.unwrap_or_else(|| self.root(event));
        let mut extras = event.extras.iter().peekable();
        let blocks = event.tokens.chunks_exact(event.block_size as usize).zip(event.hashes).zip(0u32..);
        let linked = blocks.map(|((tokens, &hash), at)| {
            let mut block = hash_block(tokens);
            if let Some(&&(_, digest)) = extras.peek().filter(|extra| extra.0 == at) {
                block = BlockHash(block.0 ^ digest);
                extras.next();
            }
            last = link(last, block);
            (hash, last)
        });
        self.applier.blocks.clear();
        self.applier.blocks.extend(linked);
        self.state.exact.store(self.pod, event.medium, parent, &self.applier.blocks);
        Ok(())
    }

    fn removed(&mut self, event: &Removed<'_>) {
        FeedStats::add(&self.stats.events, event.hashes.len() as u64);
        if self.applier.other_groups.contains(&event.group) {
            return;
        }
        if self.applier.removed_from.is_some_and(|medium| medium != event.medium) {
            self.flush();
        }
        self.applier.removed_from = Some(event.medium);
        self.applier.removed.extend_from_slice(event.hashes);
    }

    fn cleared(&mut self) {
        self.flush();
        self.cleared = true;
        self.orphans = 0;
        self.state.begin_exact(self.pod);
    }
}
