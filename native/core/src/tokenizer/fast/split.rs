//! Words: what byte-pair merges never cross.
//!
//! The patterns end in `|\s+(?!\S)|\s+`: white space, but where a word follows it leaves the last one for it. No
//! automaton can look ahead, so it is given `|\s+` alone, and the last white space is handed back by hand.

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};
use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the tail of a pattern is, and what the automaton gets in its place.
const TAIL: &str = r"|\s+(?!\S)|\s+";
const PLAIN_TAIL: &str = r"|\s+";

/// GPT-4's, with digits by threes: Llama 3 and the models made from it.
const THREE_DIGITS: &[&str] = &[
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];
/// The same, digit by digit: Qwen 2 to 3.
const ONE_DIGIT: &[&str] = &[
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];
/// o200k, which ends a word where lower case turns upper: GPT-4o, gpt-oss.
const O200K: &[&str] = &[
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];
/// DeepSeek V3 and R1: three splits in turn.
const DEEPSEEK: &[&str] = &[
    r"\p{N}{1,3}",
    "[一-龥\u{3040}-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
];
const KNOWN: [&[&str]; 4] = [THREE_DIGITS, ONE_DIGIT, O200K, DEEPSEEK];

/// Lazily built states of one automaton, bytes. The patterns need about 100 KB on English text, a few times that on
/// mixed scripts; a full cache starts anew.
const CACHE_BYTES: usize = 4 << 20;

/// Cuts text into words.
#[derive(Debug)]
pub(super) struct Splitter {
    stages: Vec<Stage>,
}

impl Splitter {
    /// `None` if the patterns are not among those known.
    pub(super) fn new(patterns: &[&str]) -> Option<Self> {
        let known = KNOWN.iter().find(|known| **known == patterns)?;
        known.iter().map(|pattern| Stage::new(pattern)).collect::<Option<_>>().map(|stages| Self { stages })
    }

    pub(super) fn split<'a>(&self, text: &'a str, mut each: impl FnMut(&'a str)) {
        split_by(&self.stages, text, &mut each);
    }
}

fn split_by<'a>(stages: &[Stage], text: &'a str, each: &mut dyn FnMut(&'a str)) {
    match stages {
        [] => each(text),
        [last] => last.split(text, each),
        [first, rest @ ..] => first.split(text, &mut |piece| split_by(rest, piece, each)),
    }
}

/// One pattern.
#[derive(Debug)]
struct Stage {
    dfa: DFA,
    /// Bytes that a match can begin with. Where only digits or only ideographs make a word, nearly no byte of English
    /// can, and asking the automaton at each was most of DeepSeek's time.
    begins: [bool; 256],
    /// Number of this automaton, to find its cache by.
    number: u64,
    /// Whether white space before a word loses its last character.
    hands_back: bool,
}

thread_local! {
    /// Each thread's caches, by automaton. A process has a handful of tokenizers, so a short list is the fastest map.
    static CACHES: RefCell<Vec<(u64, Cache)>> = const { RefCell::new(Vec::new()) };
}
static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// Caches that a thread keeps; the oldest goes, as its tokenizer is likely gone.
const MOST_CACHES: usize = 32;

impl Stage {
    fn new(pattern: &str) -> Option<Self> {
        let hands_back = pattern.ends_with(TAIL);
        let plain = match pattern.strip_suffix(TAIL) {
            Some(head) => format!("{head}{PLAIN_TAIL}"),
            None => pattern.to_owned(),
        };
        let dfa = DFA::builder()
            .configure(DFA::config().cache_capacity(CACHE_BYTES))
            .syntax(syntax::Config::new().unicode(true).utf8(true))
            .thompson(thompson::Config::new().utf8(true))
            .build(&plain)
            .ok()?;
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        Some(Self { begins: begins(&dfa)?, dfa, number, hands_back })
    }

    fn split<'a>(&self, text: &'a str, each: &mut dyn FnMut(&'a str)) {
        let mut cache = self.take_cache();
        let mut from = 0;
        // Where what no alternative matched began.
        let mut gap = 0;
        while let Some(&first) = text.as_bytes().get(from) {
            if !self.begins[usize::from(first)] {
                from += char_len(first);
                continue;
            }
            match self.end(&mut cache, text, from) {
                Some(end) => {
                    if gap < from {
                        each(&text[gap..from]);
                    }
                    each(&text[from..end]);
                    from = end;
                    gap = end;
                }
                None => from += char_len(first),
            }
        }
        if gap < from {
            each(&text[gap..]);
        }
        self.give_cache(cache);
    }

    /// The end of the match that starts at `from`, if there is one that is not empty.
    #[inline]
    fn end(&self, cache: &mut Cache, text: &str, from: usize) -> Option<usize> {
        let input = Input::new(text).span(from..text.len()).anchored(Anchored::Yes);
        // A lazy automaton gives up only if told to, and quits only on bytes that it was told to quit on.
        let end = self.dfa.try_search_fwd(cache, &input).ok()??.offset();
        (end > from).then(|| if self.hands_back { hand_back(text, from, end) } else { end })
    }

    /// Taken out, not borrowed: the stage after this one runs while it splits.
    fn take_cache(&self) -> Cache {
        let kept = CACHES.with_borrow_mut(|caches| {
            let at = caches.iter().position(|(number, _)| *number == self.number)?;
            Some(caches.swap_remove(at).1)
        });
        kept.unwrap_or_else(|| self.dfa.create_cache())
    }

    fn give_cache(&self, cache: Cache) {
        CACHES.with_borrow_mut(|caches| {
            if caches.len() == MOST_CACHES {
                caches.remove(0);
            }
            caches.push((self.number, cache));
        });
    }
}

/// Which bytes lead from the automaton's start to a state that is not dead. No pattern here looks at what stands before
/// it or matches nothing, so any other byte begins no match.
fn begins(dfa: &DFA) -> Option<[bool; 256]> {
    let mut cache = dfa.create_cache();
    let mut begins = [true; 256];
    for (byte, begins) in (0..=u8::MAX).zip(&mut begins) {
        let text = [byte];
        let input = Input::new(&text).anchored(Anchored::Yes);
        let start = dfa.start_state_forward(&mut cache, &input).ok()?;
        *begins = !dfa.next_state(&mut cache, start, byte).ok()?.is_dead();
    }
    Some(begins)
}

/// `\s+(?!\S)|\s+` for a match of `\s+`. Which alternative a match is of shows in its last character: none but the
/// last ends in white space that ends no line.
#[inline]
fn hand_back(text: &str, from: usize, end: usize) -> usize {
    let last = text.as_bytes()[end - 1];
    if end == text.len() || (last.is_ascii() && !matches!(last, b' ' | b'\t' | b'\x0b' | b'\x0c')) {
        return end;
    }
    let Some(space) = text[from..end].chars().next_back().filter(|char| char.is_whitespace()) else {
        return end;
    };
    let back = end - space.len_utf8();
    if back > from { back } else { end }
}

fn char_len(first: u8) -> usize {
    match first {
        0..0x80 => 1,
        0x80..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    }
}
