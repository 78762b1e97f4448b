//! A prompt's blocks as the pods of one kind cache them.
//!
//! Pods that serve one model may run it with different block sizes, or, while a new version is rolled out, with another
//! tokenizer or template. A request is tokenized once per such variant and hashed once per pair of variant and block
//! size in its pool, of which there is mostly one. A pod has blocks of its own kind of chain only, so what is found is
//! counted in tokens, the one unit that all have in common.

use crate::hash::{Root, SequenceHash, extend_blocks, extend_text_blocks};
use crate::model::{BYTES_PER_TOKEN, Model, Prompt};
use std::sync::Arc;

/// One kind of chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainKind {
    /// The model whose files the pods run, by number, where that is not the one that is asked for.
    pub variant: Option<u32>,
    /// Tokens in a block.
    pub block_size: u32,
}

/// A model, and the kinds of chains that its pods have.
#[derive(Clone)]
pub struct Plan {
    /// The model that is asked for.
    pub model: Arc<Model>,
    /// Never empty.
    pub kinds: Arc<[ChainKind]>,
}

impl Plan {
    /// A model whose pods run its own files at its own block size.
    pub fn of(model: Arc<Model>) -> Self {
        let kinds = Arc::new([ChainKind { variant: None, block_size: model.block_size() }]);
        Self { model, kinds }
    }
}

/// A prompt's blocks.
pub struct Chain {
    /// Whose they are.
    pub kind: ChainKind,
    /// What its first block links to.
    pub start: SequenceHash,
    /// Cumulative hashes of the full blocks.
    pub hashes: Vec<SequenceHash>,
    /// Tokens that an engine can take from its cache at most: it computes at least the prompt's last one, and reuses
    /// whole blocks only.
    pub most: u32,
}

impl Chain {
    /// The blocks of a prompt of `model`, as a variant of it sees it: the tokens' as far as they are known, and behind
    /// them the text's.
    pub fn new(
        kind: ChainKind,
        model: &Model,
        variant: Option<&Model>,
        prompt: &Prompt,
        salt: Option<&str>,
    ) -> Self {
        let size = kind.block_size as usize;
        let mut hashes = Vec::new();
        let start = Root::new(model.name(), variant.map(Model::name), salt, size).start();
        extend_blocks(start, &prompt.tokens, size, &mut hashes);
        if !prompt.exact {
            let parent = hashes.last().copied().unwrap_or(start);
            extend_text_blocks(parent, &prompt.text, size * BYTES_PER_TOKEN, &mut hashes);
        }
        let most = if prompt.exact {
            let tokens = prompt.tokens.len() as u32;
            tokens.saturating_sub(1) / kind.block_size.max(1) * kind.block_size
        } else {
            prompt.total_tokens
        };
        Self { kind, start, hashes, most }
    }

    /// The chain of a longer prompt of tokens, which begins with this one's.
    pub fn continued(&self, tokens: &[u32]) -> Vec<SequenceHash> {
        let size = self.kind.block_size as usize;
        let mut hashes = self.hashes.clone();
        let parent = hashes.last().copied().unwrap_or(self.start);
        extend_blocks(parent, tokens.get(hashes.len() * size..).unwrap_or_default(), size, &mut hashes);
        hashes
    }

    /// Tokens of so many leading blocks, as far as a cache can serve them.
    pub fn tokens(&self, blocks: u32) -> u32 {
        blocks.saturating_mul(self.kind.block_size).min(self.most)
    }
}
