//! Prompts that branch off each other, block by block.

use crate::hash::SequenceHash;
use proptest::prelude::*;

/// Number of prompts in a family.
pub(super) const PROMPTS: usize = 6;

/// How the hashes of a family spread over the tables.
#[derive(Clone, Copy, Debug)]
pub(super) enum Spread {
    /// As real hashes do.
    Even,
    /// Eight blocks at a time have one tag in one shard: only the chains can tell them apart.
    Alike,
    /// Small numbers, shifted.
    Low(u32),
}

/// A family of prompts of equal length; each but the first leaves an earlier one at some block.
#[derive(Clone, Debug)]
pub(super) struct Prompts {
    blocks: usize,
    /// By prompt: the one that it leaves, and the first block that is its own.
    leaves: Vec<(usize, usize)>,
    spread: Spread,
}

/// The inverse of the tables' multiplier modulo 2^64, so that a test can choose what a hash is scrambled to.
const UNSCRAMBLE: u64 = {
    let multiplier = 0x9E37_79B9_7F4A_7C15_u64;
    let mut inverse = multiplier;
    let mut round = 0;
    // Newton: each step doubles the number of low bits that are right.
    while round < 6 {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(multiplier.wrapping_mul(inverse)));
        round += 1;
    }
    assert!(inverse.wrapping_mul(multiplier) == 1);
    inverse
};

impl Prompts {
    pub(super) fn new(blocks: usize, leaves: Vec<(usize, usize)>, spread: Spread) -> Self {
        assert!(leaves.iter().enumerate().skip(1).all(|(prompt, leave)| leave.0 < prompt));
        Self { blocks, leaves, spread }
    }

    /// Blocks of each prompt.
    pub(super) fn blocks(&self) -> usize {
        self.blocks
    }

    fn hash(&self, mut prompt: usize, block: usize) -> SequenceHash {
        while prompt > 0 && block < self.leaves[prompt].1 {
            prompt = self.leaves[prompt].0;
        }
        let number = (prompt * self.blocks + block) as u64 + 1;
        SequenceHash(match self.spread {
            Spread::Even => number.wrapping_mul(0xD6E8_FEB8_6659_FD93),
            Spread::Alike => {
                let tag = (number / 8).wrapping_mul(0x9E37_79B1) << 32;
                (tag | number).wrapping_mul(UNSCRAMBLE)
            }
            Spread::Low(shift) => number << shift,
        })
    }

    /// A prompt's hashes.
    pub(super) fn get(&self, prompt: usize) -> Vec<SequenceHash> {
        (0..self.blocks).map(|block| self.hash(prompt, block)).collect()
    }
}

/// Hashes that are in no prompt.
pub(super) fn unseen(count: usize) -> impl Iterator<Item = SequenceHash> {
    (0..count as u64).map(|number| SequenceHash(!(number << 48 | number)))
}

/// Short prompts, in which stretches meet all the time, and long ones, whose batches are written in pieces.
pub(super) fn prompts() -> impl Strategy<Value = Prompts> {
    let blocks = if cfg!(miri) {
        (8usize..16).boxed()
    } else {
        prop_oneof![3 => 8usize..32, 2 => 100usize..300, 1 => 900usize..1500].boxed()
    };
    let spread = prop_oneof![
        3 => Just(Spread::Even),
        1 => Just(Spread::Alike),
        1 => (0u32..48).prop_map(Spread::Low),
    ];
    let leaves = prop::collection::vec((any::<prop::sample::Index>(), 0usize..=8), PROMPTS);
    (blocks, leaves, spread).prop_map(|(blocks, leaves, spread)| {
        let leave = |(prompt, (other, eighths)): (usize, (prop::sample::Index, usize))| {
            (if prompt == 0 { 0 } else { other.index(prompt) }, blocks * eighths / 8)
        };
        Prompts::new(blocks, leaves.into_iter().enumerate().map(leave).collect(), spread)
    })
}
