//! Prompts that the request wants shortened: `truncate_prompt_tokens`.
//!
//! As vLLM 0.32 does it (vllm/renderers/params.py, `TokenizeParams`): with a `truncation_side` the tokens are cut at that
//! side; without one the tokenizer cuts at the left, which is vLLM's default for models that generate
//! (vllm/tokenizers/registry.py), and keeps the special tokens that it adds itself.

use crate::request::{Extras, unquote};
use crate::tokenizer::{Tokenizer, TokenizerError};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
    /// Left, but behind what the tokenizer puts before a text.
    Default,
}

/// How a request shortens its prompts.
#[derive(Clone, Copy)]
pub(super) struct Truncation {
    keep: usize,
    side: Side,
}

impl Truncation {
    /// What the request asks for. -1 stands for all that the model has room for: the router does not know how much that
    /// is, and a prompt that has more is refused elsewhere.
    pub(super) fn of(extras: &Extras<'_>) -> Option<Self> {
        let keep = std::str::from_utf8(extras.truncate_prompt_tokens?).ok()?.parse().ok()?;
        let side = extras.truncation_side.and_then(unquote);
        let side = match side.as_ref().map(|(side, _)| &**side) {
            Some("left") => Side::Left,
            Some("right") => Side::Right,
            _ => Side::Default,
        };
        Some(Truncation { keep, side })
    }

    /// Shortens a prompt given as ids.
    pub(super) fn cut(self, mut tokens: Vec<u32>) -> Vec<u32> {
        match self.side {
            Side::Right => tokens.truncate(self.keep),
            Side::Left | Side::Default => {
                tokens.drain(..tokens.len().saturating_sub(self.keep));
            }
        }
        tokens
    }

    /// Shortens the tokens of a text, which were made with or without `special` tokens around them. `None` where no
    /// room is left for more than those.
    pub(super) fn cut_text(
        self,
        tokenizer: &Tokenizer,
        tokens: Vec<u32>,
        text: &str,
        special: bool,
    ) -> Result<Option<Vec<u32>>, TokenizerError> {
        if tokens.len() <= self.keep || self.side != Side::Default || !special {
            return Ok(Some(self.cut(tokens)));
        }
        let plain = tokenizer.encode(text, false)?;
        let added = tokens.len() - plain.len();
        let before = (0..=added).find(|&at| tokens[at..].starts_with(&plain));
        let (Some(before), Some(room)) = (before, self.keep.checked_sub(added)) else { return Ok(None) };
        let (start, end) = (before + plain.len() - room, before + plain.len());
        Ok(Some([&tokens[..before], &tokens[start..end], &tokens[end..]].concat()))
    }
}
