//! Byte-level BPE as fast as it goes, for the tokenizers that most served models have: the same ids as the
//! `tokenizers` crate, at several times its speed, and a prompt that extends one seen before costs only what is new.
//!
//! - [`file`]: what `tokenizer.json` says · [`added`]: special tokens in the text · [`split`]: words
//! - [`bpe`]: a word's ids · [`memo`]: ids of pieces of text seen before
//!
//! What a file may hold is open-ended, so this takes only what it knows exactly (byte-level BPE behind one of the
//! patterns in [`split`]); everything else, Gemma's tokenizer for one, stays with the crate. The tests hold both to the
//! same ids over real text, over every code point and over random text.
//!
//! # Why a text may be cut
//!
//! Special tokens cut the text first, in either implementation, and what lies between them is tokenized piece by
//! piece. Within a piece, all known patterns have a word boundary where an ASCII letter is followed by a space: no
//! alternative matches a letter and then a space, and none looks back. So the ids of what comes before such a place and
//! of what comes after it do not depend on each other, nor does NFC compose across it.
//!
//! # Why there is no memo of whole prefixes
//!
//! Known text costs 0.6 to 0.8 ns per token (395 KB, 112,000 to 123,000 tokens: 73 to 83 µs with the tokenizers of Qwen3,
//! Llama 3.1 and gpt-oss, 93 to 98 with DeepSeek's). It is in proportion to the old text, but at the speed of memory: a
//! fifth is the copy of the ids, a seventh the hash of the text, and as much the search for special tokens. A memo of
//! prefixes would have to hash the text and copy the ids as well; at most half of those microseconds could go, of a
//! request that parses and renders the same text in 300 to 1,000.

mod added;
mod bpe;
mod file;
mod memo;
mod split;

use added::AddedTokens;
use bpe::{Bpe, Scratch};
use file::File;
pub(super) use memo::ByBytes;
use memo::Memo;
use split::Splitter;
use std::borrow::Cow;
use std::cell::RefCell;
use unicode_normalization_alignments::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// Least bytes between two cuts. Each cut text costs a hash and a look-up (some 100 ns, and 2 KiB hash in as much);
/// and up to so many bytes at the end of the known part of a prompt are tokenized again, 0.1 ms.
const CHUNK_BYTES: usize = 2048;
/// Pieces shorter than that are not remembered: tokenizing them costs no more than the look-up.
const MEMO_BYTES: usize = 64;

/// A tokenizer of a known kind.
#[derive(Debug)]
pub struct FastTokenizer {
    added: AddedTokens,
    nfc: bool,
    splitter: Splitter,
    bpe: Bpe,
    memo: Memo,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl FastTokenizer {
    /// The tokenizer that a `tokenizer.json` describes; `None` if it is of no kind known here.
    pub fn from_json(json: &[u8], memo_bytes: u64) -> Option<Self> {
        let file: File = serde_json::from_slice(json).ok()?;
        let nfc = file.nfc()?;
        Some(Self {
            added: AddedTokens::new(&file.added_tokens, nfc)?,
            nfc,
            splitter: Splitter::new(&file.patterns()?)?,
            bpe: Bpe::new(&file.model)?,
            memo: Memo::new(memo_bytes),
        })
    }

    /// Appends the text's ids, without the special tokens that a post-processor would add.
    pub fn encode(&self, text: &str, out: &mut Vec<u32>) {
        // A token has four bytes or so.
        out.reserve(text.len() / 4);
        self.added.split(text, |piece| match piece {
            added::Piece::Token(id) => out.push(id),
            added::Piece::Text(text) => self.encode_piece(text, out),
        });
    }

    fn encode_piece(&self, mut text: &str, out: &mut Vec<u32>) {
        while let Some(at) = cut(text) {
            let (chunk, rest) = text.split_at(at);
            self.encode_chunk(chunk, out);
            text = rest;
        }
        self.encode_chunk(text, out);
    }

    fn encode_chunk(&self, text: &str, out: &mut Vec<u32>) {
        if text.len() < MEMO_BYTES {
            self.compute(text, out);
            return;
        }
        let key = Memo::key(text);
        if !self.memo.get(key, out) {
            let from = out.len();
            self.compute(text, out);
            self.memo.put(key, &out[from..]);
        }
    }

    fn compute(&self, text: &str, out: &mut Vec<u32>) {
        let text = if self.nfc { composed(text) } else { Cow::Borrowed(text) };
        SCRATCH.with_borrow_mut(|scratch| {
            self.splitter.split(&text, |word| self.bpe.encode(word.as_bytes(), scratch, out));
        });
    }
}

/// The first place where the text may be cut that leaves a chunk of the least size; `None` if there is none.
fn cut(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut from = CHUNK_BYTES;
    while let Some(at) = memchr::memchr(b' ', bytes.get(from..)?) {
        let place = from + at;
        if bytes[place - 1].is_ascii_alphabetic() {
            return Some(place);
        }
        from = place + 1;
    }
    None
}

fn composed(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.nfc().map(|(char, _)| char).collect())
}
