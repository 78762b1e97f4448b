//! Special tokens and other added ones, found in the text before anything else is done with it.

use super::file::AddedToken;
use aho_corasick::{AhoCorasick, MatchKind};

/// A part of the text.
pub(super) enum Piece<'a> {
    Token(u32),
    Text(&'a str),
}

/// Those that are looked for in the text as it comes, and those looked for in what lies between, after normalization.
#[derive(Debug)]
pub(super) struct AddedTokens {
    raw: Finder,
    normalized: Finder,
}

impl AddedTokens {
    /// `None` for tokens that take in the space around them or must be whole words; or that are found in normalized
    /// text, where normalization may change it.
    pub(super) fn new(tokens: &[AddedToken], normalizes: bool) -> Option<Self> {
        let odd = |token: &AddedToken| {
            token.single_word || token.lstrip || token.rstrip || (token.normalized && normalizes)
        };
        if tokens.iter().any(odd) {
            return None;
        }
        let of = |normalized: bool| Finder::new(tokens.iter().filter(|token| token.normalized == normalized));
        Some(Self { raw: of(false)?, normalized: of(true)? })
    }

    pub(super) fn split<'a>(&self, text: &'a str, mut each: impl FnMut(Piece<'a>)) {
        self.raw.split(text, |piece| match piece {
            Piece::Text(text) => self.normalized.split(text, &mut each),
            token => each(token),
        });
    }
}

/// Finds the tokens of a set: the leftmost first, of several there the longest.
#[derive(Debug)]
struct Finder {
    automaton: Option<AhoCorasick>,
    ids: Vec<u32>,
}

impl Finder {
    fn new<'a>(tokens: impl Iterator<Item = &'a AddedToken>) -> Option<Self> {
        let (texts, ids): (Vec<&str>, Vec<u32>) = tokens
            .filter(|token| !token.content.is_empty())
            .map(|token| (token.content.as_str(), token.id))
            .unzip();
        let automaton = if texts.is_empty() {
            None
        } else {
            Some(AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&texts).ok()?)
        };
        Some(Self { automaton, ids })
    }

    fn split<'a>(&self, text: &'a str, mut each: impl FnMut(Piece<'a>)) {
        let mut from = 0;
        for found in self.automaton.iter().flat_map(|automaton| automaton.find_iter(text)) {
            if from < found.start() {
                each(Piece::Text(&text[from..found.start()]));
            }
            each(Piece::Token(self.ids[found.pattern().as_usize()]));
            from = found.end();
        }
        if from < text.len() {
            each(Piece::Text(&text[from..]));
        }
    }
}
