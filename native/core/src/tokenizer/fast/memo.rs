//! Ids of pieces of text seen before, shared by all threads.
//!
//! A conversation sends all its earlier turns again with each new one, and conversations share system prompts and tool
//! lists. Texts are told apart by their length and 128 bits of XXH3: among a billion different ones the odds of any
//! two being taken for each other are below 2^-68.

use quick_cache::sync::Cache;
use quick_cache::{OptionsBuilder, Weighter};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    hash: u128,
    len: usize,
}

/// A place's own bytes, counted beside its ids': key, pointers and the policy's bits.
const PLACE_BYTES: u64 = 96;
/// Ids of a chunk, for the guess at how many fit.
const TYPICAL_BYTES: u64 = 2048;

/// Weighs remembered ids by the bytes they take.
#[derive(Clone, Debug)]
pub(in crate::tokenizer) struct ByBytes;

impl ByBytes {
    /// Bytes that ids and their place in a cache take.
    pub(in crate::tokenizer) fn of(ids: &[u32]) -> u64 {
        size_of_val::<[u32]>(ids) as u64 + PLACE_BYTES
    }

    /// A cache of at most so many bytes, made for entries of about the typical size.
    pub(in crate::tokenizer) fn cache<K, V>(bytes: u64, typical: u64) -> Cache<K, V, ByBytes>
    where
        K: Eq + std::hash::Hash,
        V: Clone,
        ByBytes: Weighter<K, V>,
    {
        let options = OptionsBuilder::new()
            .estimated_items_capacity((bytes / typical).max(1) as usize)
            .weight_capacity(bytes)
            .build();
        let lifecycle = quick_cache::sync::DefaultLifecycle::default();
        match options {
            Ok(options) => {
                Cache::with_options(options, ByBytes, quick_cache::DefaultHashBuilder::default(), lifecycle)
            }
            // Both figures that it asks for are given.
            Err(_) => Cache::with_weighter(1, bytes, ByBytes),
        }
    }
}

impl Weighter<Key, Arc<[u32]>> for ByBytes {
    fn weight(&self, _: &Key, ids: &Arc<[u32]>) -> u64 {
        Self::of(ids)
    }
}

pub(super) struct Memo {
    cache: Cache<Key, Arc<[u32]>, ByBytes>,
}

impl std::fmt::Debug for Memo {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Memo").field("bytes", &self.cache.weight()).finish()
    }
}

impl Memo {
    /// Holds at most so many bytes; the least useful go first.
    pub(super) fn new(bytes: u64) -> Self {
        Self { cache: ByBytes::cache(bytes, TYPICAL_BYTES) }
    }

    #[inline]
    pub(super) fn key(text: &str) -> Key {
        Key { hash: xxh3_128(text.as_bytes()), len: text.len() }
    }

    /// Appends the ids that are remembered for the text; false if there are none.
    pub(super) fn get(&self, key: Key, out: &mut Vec<u32>) -> bool {
        let found = self.cache.get(&key);
        if let Some(ids) = &found {
            out.extend_from_slice(ids);
        }
        found.is_some()
    }

    pub(super) fn put(&self, key: Key, ids: &[u32]) {
        self.cache.insert(key, ids.into());
    }
}
