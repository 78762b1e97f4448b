//! Tokens of whole chats seen before: retries, many answers to one question, evaluations, probes. They need no template
//! and no tokenizer again, which is most of what a prompt of 2,000 tokens costs.
//!
//! A conversation's next turn is another chat; what it has in common with the last one the pieces' memo knows.

use super::fast::ByBytes;
use crate::template::{ChatFields, Dates};
use quick_cache::sync::Cache;
use std::sync::Arc;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_128;

/// Raw bytes of fields up to which a chat is remembered whole. Longer ones are conversations that grow, of which only
/// the last turn would ever be asked for, and each would push out many short ones.
const LONGEST: usize = 64 << 10;

/// A chat and the template that renders it. As for pieces, chats are told apart by 128 bits of XXH3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PromptKey(u128);

impl PromptKey {
    /// The key of a chat; `None` if it is too long to be remembered. `template`: [`ChatTemplate::id`]; `special`: whether
    /// special tokens are asked for besides those that the template writes.
    ///
    /// [`ChatTemplate::id`]: crate::template::ChatTemplate::id
    pub fn new(template: u64, chat: &ChatFields<'_>, special: bool) -> Option<Self> {
        let fields = [
            Some(chat.messages),
            chat.tools,
            chat.documents,
            chat.chat_template_kwargs,
            chat.reasoning_effort,
        ];
        if fields.iter().flatten().map(|field| field.len()).sum::<usize>() > LONGEST {
            return None;
        }
        let mut parts = [0_u8; 5 * 16 + 8 + 3];
        for (part, field) in parts.chunks_exact_mut(16).zip(fields) {
            // No field has the hash of nothing: JSON is at least a byte.
            part.copy_from_slice(&field.map_or(0, xxh3_128).to_le_bytes());
        }
        parts[80..88].copy_from_slice(&template.to_le_bytes());
        let flags = [chat.add_generation_prompt, chat.continue_final_message, special];
        parts[88..].copy_from_slice(&flags.map(u8::from));
        Some(Self(xxh3_128(&parts)))
    }
}

#[derive(Clone, Debug)]
pub(super) struct Known {
    tokens: Arc<[u32]>,
    dates: Arc<Dates>,
}

/// See the module.
pub struct PromptMemo {
    cache: Cache<PromptKey, Known, ByBytes>,
}

impl std::fmt::Debug for PromptMemo {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PromptMemo").field("bytes", &self.cache.weight()).finish()
    }
}

impl quick_cache::Weighter<PromptKey, Known> for ByBytes {
    fn weight(&self, _: &PromptKey, known: &Known) -> u64 {
        Self::of(&known.tokens)
    }
}

impl PromptMemo {
    /// Tokens of a typical prompt, for the guess at how many fit.
    const TYPICAL_BYTES: u64 = 8 << 10;

    /// Holds at most so many bytes; the least useful go first.
    pub(super) fn new(bytes: u64) -> Self {
        Self { cache: ByBytes::cache(bytes, Self::TYPICAL_BYTES) }
    }

    /// The tokens of a chat, if it is known and a template that tells the date would tell the same.
    pub fn get(&self, key: PromptKey, now: Duration) -> Option<Arc<[u32]>> {
        self.cache.get(&key).filter(|known| known.dates.hold(now)).map(|known| known.tokens)
    }

    /// Remembers a chat's tokens. `dates`: what its template was told.
    pub fn put(&self, key: PromptKey, tokens: &[u32], dates: Dates) {
        self.cache.insert(key, Known { tokens: tokens.into(), dates: Arc::new(dates) });
    }
}
