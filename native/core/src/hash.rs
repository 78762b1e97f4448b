//! Block hashes, and the cumulative link that makes a block's hash stand for its whole prefix.
//!
//! `H_i = link(H_{i-1}, h(block_i))`, with the root in place of `H_{-1}`. The blocks' own hashes do not depend on each
//! other, so the processor works on several at once; only the link is serial, and it is one multiplication. (A serial
//! XXH3 over (parent, tokens) costs about 6.5 ns a link on top of the tokens.)
//!
//! # Odds of a collision
//!
//! Two different prefixes get the same 64-bit hash with probability 2^-64 per pair from XXH3 and the root, plus 2^-64
//! per later block that both share, because a link for a fixed block is not one-to-one: at 2,048 blocks, 2^-53. What
//! counts for routing is a request's block that meets a *foreign* entry: with E entries in the index, N blocks looked
//! up and R requests a second the rate is R·N·E / 2^64. A large fleet (256 pods × 100,000 blocks = 2.6e7 entries,
//! 1,000 requests/s of 512 blocks) makes 7e-7 per second, one in 16 days; and as the search looks only at the
//! O(K log N) probed ones, fewer. What it costs is one request routed as if a pod had a block that it has not: no
//! wrong answer. Engines keep their own hashes; these never leave the router.

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// Hash of one block's tokens, independent of where the block stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct BlockHash(pub u64);

/// Cumulative hash of a block and everything before it, down to the root. Never 0 (the index's empty key).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct SequenceHash(pub u64);

impl SequenceHash {
    /// The hashes as plain numbers, without a copy.
    pub fn raw(hashes: &[Self]) -> &[u64] {
        // SAFETY: as in `slice_from`, the other way round.
        unsafe { std::slice::from_raw_parts(hashes.as_ptr().cast(), hashes.len()) }
    }

    /// Raw hashes as what they are, without a copy.
    pub fn slice_from(raw: &[u64]) -> &[Self] {
        // SAFETY: `SequenceHash` is a transparent wrapper of `u64`, so both slices have one layout and lifetime, and
        // every `u64` is a valid value.
        unsafe { std::slice::from_raw_parts(raw.as_ptr().cast(), raw.len()) }
    }
}

/// Where a chain of hashes starts: all that makes equal tokens different caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Root(SequenceHash);

/// Digits of π's fraction, as in wyhash's defaults: odd, without pattern, and different, so that `link` is not symmetric.
const PARENT_KEY: u64 = 0x2437_54fa_9a29_0aef;
const BLOCK_KEY: u64 = 0xa409_3822_299f_31d1;
/// The block hash that stands between a root and the text chain that starts there.
const TEXT_DOMAIN: BlockHash = BlockHash(0x7465_7874_2d62_6c6b);

impl Root {
    /// The root for a model, its LoRA adapter, the request's cache salt and the block size in tokens. Each part is
    /// tagged and its length is hashed too, so that no two different lists of parts are the same bytes.
    pub fn new(model: &str, lora: Option<&str>, salt: Option<&str>, block_size: usize) -> Self {
        let mut hasher = Xxh3::new();
        for part in [Some(model), lora, salt] {
            hasher.update(&[u8::from(part.is_some())]);
            let text = part.unwrap_or_default();
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.update(&(block_size as u64).to_le_bytes());
        Self(SequenceHash(hasher.digest().max(1)))
    }

    /// What the first block links to.
    pub fn start(self) -> SequenceHash {
        self.0
    }
}

/// Links a block to its prefix: a 64 × 64 → 128 bit multiplication, its halves folded by xor.
///
/// Why this is enough: both operands are already well mixed (XXH3, or an earlier link), so the link has only to
/// combine them without losing what tells them apart. Each bit of the product's middle depends on all bits of both
/// operands, and the fold brings the high half's carries onto the low half, whose low bits depend on few; the tests
/// measure that one flipped bit of either operand flips half of the result. The known hole of a bare multiply-fold is
/// an operand of 0, which would erase the other one (a single block whose hash is BLOCK_KEY would make all prefixes
/// equal): adding the operands back by xor closes it, and costs no latency, as they are ready before the product.
#[inline]
pub fn link(parent: SequenceHash, block: BlockHash) -> SequenceHash {
    let a = parent.0 ^ PARENT_KEY;
    let b = block.0 ^ BLOCK_KEY;
    let product = u128::from(a) * u128::from(b);
    let folded = (product as u64) ^ ((product >> 64) as u64) ^ a ^ b;
    SequenceHash(folded.max(1))
}

/// XXH3-64 of the tokens' little-endian bytes.
#[inline]
pub fn hash_block(tokens: &[u32]) -> BlockHash {
    #[cfg(target_endian = "little")]
    {
        // SAFETY: any u32 is four valid u8, u8 has no alignment, and the bytes live as long as `tokens`.
        let bytes = unsafe { std::slice::from_raw_parts(tokens.as_ptr().cast::<u8>(), size_of_val(tokens)) };
        BlockHash(xxh3_64(bytes))
    }
    #[cfg(target_endian = "big")]
    {
        let mut hasher = Xxh3::new();
        tokens.iter().for_each(|token| hasher.update(&token.to_le_bytes()));
        BlockHash(hasher.digest())
    }
}

/// Cumulative hashes of the full blocks of `tokens`, in place of what `out` held. A last block that is not full is
/// left out, since engines cache only full ones. A block size of 0 gives nothing.
pub fn hash_blocks(root: Root, tokens: &[u32], block_size: usize, out: &mut Vec<SequenceHash>) {
    out.clear();
    extend_blocks(root.start(), tokens, block_size, out);
}

/// Appends the cumulative hashes of the full blocks of `tokens` that follow the prefix `parent`.
pub fn extend_blocks(parent: SequenceHash, tokens: &[u32], block_size: usize, out: &mut Vec<SequenceHash>) {
    if block_size > 0 {
        chain(parent, tokens.chunks_exact(block_size).map(hash_block), out);
    }
}

/// Cumulative hashes of the full blocks of text, for models without a tokenizer, in place of what `out` held. They
/// start from another point than token hashes of the same root, so the two kinds never meet.
pub fn hash_text_blocks(root: Root, text: &[u8], bytes_per_block: usize, out: &mut Vec<SequenceHash>) {
    out.clear();
    if bytes_per_block > 0 {
        let start = link(root.start(), TEXT_DOMAIN);
        chain(start, text.chunks_exact(bytes_per_block).map(|block| BlockHash(xxh3_64(block))), out);
    }
}

#[inline]
fn chain(
    mut parent: SequenceHash,
    blocks: impl ExactSizeIterator<Item = BlockHash>,
    out: &mut Vec<SequenceHash>,
) {
    out.reserve(blocks.len());
    for block in blocks {
        parent = link(parent, block);
        out.push(parent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hashes(root: Root, tokens: &[u32], block_size: usize) -> Vec<SequenceHash> {
        let mut out = vec![SequenceHash(7)];
        hash_blocks(root, tokens, block_size, &mut out);
        out
    }

    fn root() -> Root {
        Root::new("m", None, None, 16)
    }

    proptest! {
        #[test]
        fn a_prefix_has_the_hashes_of_the_prefix(tokens in prop::collection::vec(any::<u32>(), 0..200), cut in 0usize..200, size in 1usize..20) {
            let whole = hashes(root(), &tokens, size);
            let part = hashes(root(), &tokens[..cut.min(tokens.len())], size);
            prop_assert_eq!(whole.len(), tokens.len() / size);
            prop_assert_eq!(&whole[..part.len()], &part[..]);
        }

        #[test]
        fn a_chain_can_be_continued_at_any_block(tokens in prop::collection::vec(any::<u32>(), 16..200), cut in 1usize..12) {
            let whole = hashes(root(), &tokens, 16);
            let cut = cut.min(whole.len());
            let mut resumed = hashes(root(), &tokens[..cut * 16], 16);
            extend_blocks(resumed[cut - 1], &tokens[cut * 16..], 16, &mut resumed);
            prop_assert_eq!(whole, resumed);
        }

        #[test]
        fn one_changed_token_changes_its_block_and_all_later_ones_only(
            tokens in prop::collection::vec(any::<u32>(), 16..200), at in any::<prop::sample::Index>(), flip in 1u32..,
        ) {
            let at = at.index(tokens.len());
            let mut other = tokens.clone();
            other[at] ^= flip;
            let (a, b) = (hashes(root(), &tokens, 8), hashes(root(), &other, 8));
            for (i, (x, y)) in a.iter().zip(&b).enumerate() {
                prop_assert_eq!(x == y, i < at / 8, "block {}", i);
            }
        }

        #[test]
        fn order_of_blocks_counts(first in prop::collection::vec(any::<u32>(), 8), second in prop::collection::vec(any::<u32>(), 8)) {
            prop_assume!(first != second);
            let there = hashes(root(), &[first.clone(), second.clone()].concat(), 8);
            let back = hashes(root(), &[second, first].concat(), 8);
            prop_assert_ne!(there[1], back[1]);
        }

        #[test]
        fn text_and_tokens_of_the_same_bytes_never_meet(tokens in prop::collection::vec(any::<u32>(), 4..64)) {
            let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
            let mut text = Vec::new();
            hash_text_blocks(root(), &bytes, 16, &mut text);
            let tokens = hashes(root(), &tokens, 4);
            prop_assert_eq!(text.len(), tokens.len());
            prop_assert!(text.iter().all(|hash| !tokens.contains(hash)));
        }
    }

    #[test]
    fn every_part_of_the_root_counts_and_none_runs_into_the_next() {
        let roots = [
            Root::new("m", None, None, 16),
            Root::new("m", None, None, 32),
            Root::new("n", None, None, 16),
            Root::new("m", Some(""), None, 16),
            Root::new("m", None, Some(""), 16),
            Root::new("m", Some("a"), None, 16),
            Root::new("m", None, Some("a"), 16),
            Root::new("ma", None, None, 16),
            Root::new("m", Some("ab"), Some("c"), 16),
            Root::new("m", Some("a"), Some("bc"), 16),
        ];
        let mut firsts: Vec<_> = roots.iter().map(|root| hashes(*root, &[1; 16], 16)[0]).collect();
        firsts.sort_unstable();
        firsts.dedup();
        assert_eq!(firsts.len(), roots.len());
    }

    #[test]
    fn no_block_can_erase_what_came_before_it() {
        // The operand of 0, which in a bare multiply-fold makes all parents equal.
        let eraser = BlockHash(BLOCK_KEY);
        assert_ne!(link(SequenceHash(1), eraser), link(SequenceHash(2), eraser));
        let erased = SequenceHash(PARENT_KEY);
        assert_ne!(link(erased, BlockHash(1)), link(erased, BlockHash(2)));
        // The one input whose fold is 0: both operands 0.
        assert_eq!(link(erased, eraser), SequenceHash(1));
    }

    /// Over mixed inputs, flipping any one bit of either operand flips each result bit with probability near 1/2.
    #[test]
    fn the_link_avalanches() {
        const ROUNDS: u64 = 4096;
        let mut flips = [[0u32; 64]; 128];
        for round in 0..ROUNDS {
            let parent = xxh3_64(&round.to_le_bytes());
            let block = xxh3_64(&(round + ROUNDS).to_le_bytes());
            let plain = link(SequenceHash(parent), BlockHash(block)).0;
            for (bit, flipped) in flips.iter_mut().enumerate() {
                let (p, b) = if bit < 64 { (1u64 << bit, 0) } else { (0, 1u64 << (bit - 64)) };
                let mut changed = plain ^ link(SequenceHash(parent ^ p), BlockHash(block ^ b)).0;
                while changed != 0 {
                    flipped[changed.trailing_zeros() as usize] += 1;
                    changed &= changed - 1;
                }
            }
        }
        for (input, counts) in flips.iter().enumerate() {
            let mean = counts.iter().sum::<u32>() as f64 / (64 * ROUNDS) as f64;
            assert!((0.45..0.55).contains(&mean), "input bit {input}: {mean} of all output bits flip");
            for (output, &count) in counts.iter().enumerate() {
                let share = f64::from(count) / ROUNDS as f64;
                assert!((0.2..0.8).contains(&share), "input bit {input} → output bit {output}: {share}");
            }
        }
    }
}
