//! Byte-pair encoding of one word.
//!
//! Most words of a text are tokens as they stand, so a word is looked up whole first; which tokens that is right for is
//! found out once, when the vocabulary is loaded, by merging each of them. Only what is left is merged, pair by pair.

use super::file::Model;
use hashbrown::{HashMap, HashTable};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use xxhash_rust::xxh3::xxh3_64;

/// Up to that many bytes, all pairs are looked through for the next merge; above, a heap finds it. Quadratic work on 24
/// bytes is some hundred comparisons in registers, less than a heap's upkeep.
const SHORT: usize = 24;
const NONE: u32 = u32::MAX;

/// A token's bytes in `Bpe::bytes`.
#[derive(Debug)]
struct Whole {
    start: u32,
    len: u32,
    id: u32,
}

#[derive(Debug)]
pub(super) struct Bpe {
    /// The token of each single byte.
    singles: [u32; 256],
    /// Tokens that are the encoding of their own bytes.
    wholes: HashTable<Whole>,
    bytes: Vec<u8>,
    merges: HashMap<u64, Merged, Mix>,
}

/// What a pair becomes; the lowest rank is merged first.
#[derive(Clone, Copy, Debug)]
struct Merged {
    rank: u32,
    id: u32,
}

/// Hashes a pair of ids: one multiplication, its well-mixed high half folded onto the low one.
#[derive(Clone, Copy, Debug, Default)]
struct Mix;
#[derive(Default)]
struct MixHasher(u64);
impl std::hash::BuildHasher for Mix {
    type Hasher = MixHasher;
    fn build_hasher(&self) -> MixHasher {
        MixHasher(0)
    }
}
impl std::hash::Hasher for MixHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64(bytes);
    }
    fn write_u64(&mut self, pair: u64) {
        let product = u128::from(pair) * 0x9E37_79B9_7F4A_7C15;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

/// Memory for merging, kept by the thread.
#[derive(Default)]
pub(super) struct Scratch {
    ids: Vec<u32>,
    /// Of the pair that starts at that symbol; the longest rank if there is none.
    ranks: Vec<u32>,
    links: Vec<Link>,
    heap: BinaryHeap<Reverse<(u32, u32, u32)>>,
}

#[derive(Clone, Copy)]
struct Link {
    id: u32,
    prev: u32,
    next: u32,
}

#[inline]
fn pair(left: u32, right: u32) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}

impl Bpe {
    /// `None` for a model that is no plain byte-level BPE.
    pub(super) fn new(model: &Model) -> Option<Self> {
        if !model.is_plain_bpe() {
            return None;
        }
        let mut singles = [NONE; 256];
        for byte in 0..=255 {
            singles[usize::from(byte)] = *model.vocab.get(char_of(byte).encode_utf8(&mut [0; 4]) as &str)?;
        }
        let mut merges = HashMap::with_capacity_and_hasher(model.merges.len(), Mix);
        let mut joined = String::new();
        for (rank, merge) in model.merges.iter().enumerate() {
            let (left, right) = merge.parts()?;
            joined.clear();
            joined.push_str(left);
            joined.push_str(right);
            let id = |token: &str| model.vocab.get(token).copied();
            let merged = Merged { rank: u32::try_from(rank).ok()?, id: id(&joined)? };
            merges.insert(pair(id(left)?, id(right)?), merged);
        }
        let mut bpe = Self { singles, wholes: HashTable::new(), bytes: Vec::new(), merges };
        bpe.add_wholes(model);
        Some(bpe)
    }

    fn add_wholes(&mut self, model: &Model) {
        let byte_of: HashMap<char, u8> = (0..=255).map(|byte| (char_of(byte), byte)).collect();
        let (mut scratch, mut ids) = (Scratch::default(), Vec::new());
        self.wholes.reserve(model.vocab.len(), |_| 0);
        for (token, &id) in &model.vocab {
            let start = self.bytes.len();
            self.bytes.extend(token.chars().map_while(|char| byte_of.get(&char)));
            let bytes = &self.bytes[start..];
            ids.clear();
            // With `ignore_merges` a word that is a token is that token, however it would be merged.
            let is_token = bytes.len() == token.chars().count() && !bytes.is_empty();
            if is_token && !model.ignore_merges {
                self.merge(bytes, &mut scratch, &mut ids);
            }
            if !is_token || !(model.ignore_merges || ids == [id]) {
                self.bytes.truncate(start);
                continue;
            }
            let whole = Whole { start: start as u32, len: bytes.len() as u32, id };
            let Self { wholes, bytes, .. } = self;
            let text = |whole: &Whole| xxh3_64(&bytes[whole.start as usize..][..whole.len as usize]);
            wholes.insert_unique(text(&whole), whole, text);
        }
        self.bytes.shrink_to_fit();
    }

    /// Appends the word's ids.
    #[inline]
    pub(super) fn encode(&self, word: &[u8], scratch: &mut Scratch, out: &mut Vec<u32>) {
        if let [byte] = word {
            out.push(self.singles[usize::from(*byte)]);
            return;
        }
        let same = |whole: &Whole| &self.bytes[whole.start as usize..][..whole.len as usize] == word;
        match self.wholes.find(xxh3_64(word), same) {
            Some(whole) => out.push(whole.id),
            None => self.merge(word, scratch, out),
        }
    }

    fn merge(&self, word: &[u8], scratch: &mut Scratch, out: &mut Vec<u32>) {
        if word.len() <= SHORT {
            self.merge_short(word, scratch, out)
        } else {
            self.merge_long(word, scratch, out)
        }
    }

    #[inline]
    fn merged(&self, left: u32, right: u32) -> Option<Merged> {
        self.merges.get(&pair(left, right)).copied()
    }

    fn rank(&self, left: u32, right: u32) -> u32 {
        self.merged(left, right).map_or(NONE, |merged| merged.rank)
    }

    fn merge_short(&self, word: &[u8], scratch: &mut Scratch, out: &mut Vec<u32>) {
        let Scratch { ids, ranks, .. } = scratch;
        ids.clear();
        ranks.clear();
        ids.extend(word.iter().map(|&byte| self.singles[usize::from(byte)]));
        ranks.extend(ids.windows(2).map(|two| self.rank(two[0], two[1])));
        while let Some((at, &least)) = ranks.iter().enumerate().min_by_key(|(_, rank)| **rank) {
            if least == NONE {
                break;
            }
            let Some(merged) = self.merged(ids[at], ids[at + 1]) else { break };
            ids[at] = merged.id;
            ids.remove(at + 1);
            ranks.remove(at);
            if at > 0 {
                ranks[at - 1] = self.rank(ids[at - 1], ids[at]);
            }
            if at + 1 < ids.len() {
                ranks[at] = self.rank(ids[at], ids[at + 1]);
            }
        }
        out.extend_from_slice(ids);
    }

    /// Symbols as a linked list over the bytes' places, and a heap of the pairs that could be merged: rank, place, and
    /// the id they would give, by which a pair that has changed meanwhile is told.
    fn merge_long(&self, word: &[u8], scratch: &mut Scratch, out: &mut Vec<u32>) {
        let Scratch { links, heap, .. } = scratch;
        links.clear();
        heap.clear();
        let last = word.len() as u32 - 1;
        links.extend(word.iter().zip(0u32..).map(|(&byte, at)| Link {
            id: self.singles[usize::from(byte)],
            prev: at.wrapping_sub(1),
            next: if at == last { NONE } else { at + 1 },
        }));
        let push = |heap: &mut BinaryHeap<_>, links: &[Link], at: u32| {
            let link = links[at as usize];
            if link.next != NONE
                && let Some(merged) = self.merged(link.id, links[link.next as usize].id)
            {
                heap.push(Reverse((merged.rank, at, merged.id)));
            }
        };
        (0..last).for_each(|at| push(heap, links, at));
        while let Some(Reverse((_, at, id))) = heap.pop() {
            let link = links[at as usize];
            if link.id == NONE || link.next == NONE {
                continue;
            }
            let right = links[link.next as usize];
            if self.merged(link.id, right.id).is_none_or(|merged| merged.id != id) {
                continue;
            }
            links[link.next as usize].id = NONE;
            links[at as usize] = Link { id, prev: link.prev, next: right.next };
            if right.next != NONE {
                links[right.next as usize].prev = at;
            }
            if link.prev != NONE {
                push(heap, links, link.prev);
            }
            push(heap, links, at);
        }
        out.extend(links.iter().filter(|link| link.id != NONE).map(|link| link.id));
    }
}

/// The printable character that stands for a byte in vocabularies since GPT-2: itself where it is printable, else from
/// U+0100 on.
fn char_of(byte: u8) -> char {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if printable(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|&other| !printable(other)).count() as u32;
    char::from_u32(0x100 + before).unwrap_or(char::REPLACEMENT_CHARACTER)
}
