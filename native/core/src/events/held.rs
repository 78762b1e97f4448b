//! Messages that came before others which are still missing.

use std::collections::BTreeMap;

/// Most messages and bytes that wait. A replay of vLLM's 10,000 batches takes well under a second, in which a flooding
/// engine sends some thousand; what goes beyond is a pod that will not be exact for a while anyway.
const MOST_MESSAGES: usize = 65_536;
const MOST_BYTES: usize = 64 << 20;

/// By number.
#[derive(Default)]
pub(super) struct Held {
    messages: BTreeMap<u64, Box<[u8]>>,
    bytes: usize,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The lowest number.
    pub(super) fn first(&self) -> Option<u64> {
        self.messages.first_key_value().map(|(&sequence, _)| sequence)
    }

    /// Keeps a message. False if it is there already, or there is no room.
    pub(super) fn put(&mut self, sequence: u64, payload: &[u8]) -> bool {
        if self.is_full(payload.len()) || self.messages.contains_key(&sequence) {
            return false;
        }
        self.bytes += payload.len();
        self.messages.insert(sequence, payload.into());
        true
    }

    pub(super) fn is_full(&self, more: usize) -> bool {
        self.messages.len() >= MOST_MESSAGES || self.bytes + more > MOST_BYTES
    }

    /// Takes out the first message if its number is at most `most`.
    pub(super) fn pop(&mut self, most: u64) -> Option<(u64, Box<[u8]>)> {
        let first = self.messages.first_entry().filter(|first| *first.key() <= most)?;
        let (sequence, payload) = first.remove_entry();
        self.bytes -= payload.len();
        Some((sequence, payload))
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
