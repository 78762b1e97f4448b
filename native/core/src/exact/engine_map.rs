//! One pod's engine hashes: what the engine calls a block → what the router calls it, and how many copies there are.
//!
//! There is one entry for each block that each pod holds, a hundred thousand a pod, so this is the largest structure of
//! exact state. A table that doubles is half empty on average; here one small bucket is split or joined at a time
//! (linear hashing: Litwin, VLDB 1980), so memory follows the number of blocks closely, both ways, at under 20 bytes an
//! entry, and no event pays for copying the whole. A batch starts its cache misses ahead.
//!
//! Tried instead: tables of 512 entries, 80 to 90 % full (Robin Hood hashing), which need one miss rather than three. Filled
//! and emptied they cost 20 and 60 ns more a block, most of it for growing and shrinking by tenths to stay as small.

use super::EngineHash;
use crate::hash::SequenceHash;
use crate::prefetch::prefetch;
use hashbrown::HashMap;

/// Entries of a bucket on average when it is split: the scan of one is 4 to 8 cache lines in a row.
const FULL: usize = 32;
/// And when two are joined.
const SPARSE: usize = 16;
/// Entries by which a bucket grows: of 32, two are idle on average.
const STEP: usize = 4;

/// Entries in a cache line.
const LINE: usize = 4;

/// A block of one engine.
type Entry = (EngineHash, SequenceHash);

/// Engine hash → block, with copies counted.
pub struct EngineMap {
    buckets: Vec<Vec<Entry>>,
    len: usize,
    /// Entries that all buckets have memory for.
    room: usize,
    /// Copies beyond the first, of the few blocks that have any.
    copies: HashMap<EngineHash, u32>,
}

impl Default for EngineMap {
    fn default() -> Self {
        Self { buckets: vec![Vec::new()], len: 0, room: 0, copies: HashMap::new() }
    }
}

impl EngineMap {
    /// Blocks, however many copies there are of each.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Heap bytes, as asked for.
    pub fn bytes(&self) -> usize {
        self.room * size_of::<Entry>()
            + self.buckets.capacity() * size_of::<Vec<Entry>>()
            + self.copies.allocation_size()
    }

    /// The bucket of a hash: its low bits, as many as the number of buckets has; one bit less where that bucket is not
    /// there yet. Engines' hashes may have structure, so they are scrambled first.
    fn bucket(&self, hash: EngineHash) -> usize {
        let bits = (hash.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize;
        let mask = self.buckets.len().next_power_of_two() - 1;
        let bucket = bits & mask;
        if bucket < self.buckets.len() { bucket } else { bits & mask >> 1 }
    }

    /// Starts loading where a hash's bucket is; [`EngineMap::prefetch`] needs that.
    #[inline]
    pub fn prefetch_bucket(&self, hash: EngineHash) {
        prefetch(&self.buckets[self.bucket(hash)]);
    }

    /// Starts loading a hash's bucket, of average size.
    #[inline]
    pub fn prefetch(&self, hash: EngineHash) {
        let entries = self.buckets[self.bucket(hash)].as_ptr();
        (0..FULL).step_by(LINE).for_each(|at| prefetch(entries.wrapping_add(at)));
    }

    /// What the router calls the block.
    pub fn get(&self, hash: EngineHash) -> Option<SequenceHash> {
        let bucket = &self.buckets[self.bucket(hash)];
        bucket.iter().find(|entry| entry.0 == hash).map(|entry| entry.1)
    }

    /// One more copy of a block. Answers whether it is the first.
    pub fn add(&mut self, hash: EngineHash, block: SequenceHash) -> bool {
        let at = self.bucket(hash);
        let bucket = &mut self.buckets[at];
        if bucket.iter().any(|entry| entry.0 == hash) {
            *self.copies.entry(hash).or_default() += 1;
            return false;
        }
        let room = bucket.capacity();
        if bucket.len() == room {
            bucket.reserve_exact(STEP);
        }
        bucket.push((hash, block));
        self.room += bucket.capacity() - room;
        self.len += 1;
        if self.len > self.buckets.len() * FULL {
            self.split();
        }
        true
    }

    /// One copy less. Answers the block if it was the last copy.
    pub fn remove(&mut self, hash: EngineHash) -> Option<SequenceHash> {
        let bucket = self.bucket(hash);
        let at = self.buckets[bucket].iter().position(|entry| entry.0 == hash)?;
        if let Some(copies) = self.copies.get_mut(&hash) {
            *copies -= 1;
            if *copies == 0 {
                self.copies.remove(&hash);
            }
            return None;
        }
        let bucket = &mut self.buckets[bucket];
        let room = bucket.capacity();
        let (_, block) = bucket.swap_remove(at);
        trim(bucket);
        self.room -= room - bucket.capacity();
        self.len -= 1;
        if self.buckets.len() > 1 && self.len < self.buckets.len() * SPARSE {
            self.join();
        }
        Some(block)
    }

    /// Forgets a block with all its copies.
    pub fn forget(&mut self, hash: EngineHash) -> Option<SequenceHash> {
        if !self.copies.is_empty() {
            self.copies.remove(&hash);
        }
        self.remove(hash)
    }

    /// Takes out some block, with all its copies.
    pub fn pop(&mut self) -> Option<SequenceHash> {
        let (hash, _) = *self.buckets.iter().rev().find_map(|bucket| bucket.last())?;
        self.forget(hash)
    }

    /// Takes out all blocks.
    pub fn drain(&mut self, mut each: impl FnMut(EngineHash, SequenceHash)) {
        let all = std::mem::take(self);
        all.buckets.into_iter().flatten().for_each(|(hash, block)| each(hash, block));
    }

    /// One bucket more: it takes its entries from the one that had them so far.
    fn split(&mut self) {
        let new = self.buckets.len();
        let old = new - (new + 1).next_power_of_two() / 2;
        if self.buckets.capacity() == new {
            self.buckets.reserve_exact(new / 8 + 1);
        }
        self.buckets.push(Vec::new());
        let entries = std::mem::take(&mut self.buckets[old]);
        self.room -= entries.capacity();
        let (stay, go): (Vec<Entry>, Vec<Entry>) =
            entries.into_iter().partition(|entry| self.bucket(entry.0) == old);
        self.buckets[old] = fitted(stay);
        self.buckets[new] = fitted(go);
        self.room += self.buckets[old].capacity() + self.buckets[new].capacity();
    }

    /// One bucket less: its entries go back.
    fn join(&mut self) {
        let Some(entries) = self.buckets.pop() else { return };
        let gone = self.buckets.len();
        let bucket = &mut self.buckets[gone - (gone + 1).next_power_of_two() / 2];
        self.room -= entries.capacity() + bucket.capacity();
        bucket.reserve_exact(entries.len());
        bucket.extend(entries);
        self.room += bucket.capacity();
        if self.buckets.capacity() > 2 * self.buckets.len() {
            self.buckets.shrink_to_fit();
        }
    }
}

fn fitted(mut bucket: Vec<Entry>) -> Vec<Entry> {
    bucket.shrink_to(bucket.len().next_multiple_of(STEP));
    bucket
}

/// Gives memory back once two steps are idle, so that a block that comes and goes does not move the others.
fn trim(bucket: &mut Vec<Entry>) {
    if bucket.capacity() >= bucket.len() + 2 * STEP {
        bucket.shrink_to(bucket.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Against a plain map with counts, growing and shrinking.
        #[test]
        fn counts_copies_and_keeps_every_block(
            steps in prop::collection::vec((0u64..400, prop::bool::weighted(0.6)), 0..3000),
        ) {
            let mut map = EngineMap::default();
            let mut model: std::collections::HashMap<u64, u32> = Default::default();
            for (key, add) in steps {
                let (hash, block) = (EngineHash(key << 7), SequenceHash(key + 1));
                let known = model.get(&key).copied().unwrap_or(0);
                if add {
                    prop_assert_eq!(map.add(hash, block), known == 0);
                    model.insert(key, known + 1);
                } else {
                    prop_assert_eq!(map.remove(hash), (known == 1).then_some(block));
                    model.insert(key, known.saturating_sub(1));
                }
                prop_assert_eq!(map.room, map.buckets.iter().map(Vec::capacity).sum::<usize>());
                prop_assert_eq!(map.len(), model.values().filter(|&&copies| copies > 0).count());
            }
            for (key, copies) in model {
                prop_assert_eq!(map.get(EngineHash(key << 7)), (copies > 0).then_some(SequenceHash(key + 1)));
            }
        }
    }

    #[test]
    fn memory_follows_the_number_of_blocks_both_ways() {
        let mut map = EngineMap::default();
        let hash = |i: u64| EngineHash(i.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        for i in 0..200_000 {
            assert!(map.add(hash(i), SequenceHash(i)));
            if (i + 1).is_multiple_of(10_000) {
                assert!(map.bytes() as u64 <= 20 * (i + 1), "{} bytes for {} blocks", map.bytes(), i + 1);
            }
        }
        for i in 0..200_000 {
            assert_eq!(map.remove(hash(i)), Some(SequenceHash(i)));
            let left = 199_999 - i as usize;
            assert!(
                !left.is_multiple_of(10_000) || map.bytes() <= 24 * left + 4096,
                "{} bytes for {left}",
                map.bytes()
            );
        }
        assert!(map.is_empty());
    }
}
