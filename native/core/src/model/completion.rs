//! A completion's prompts.

use super::truncate::Truncation;
use super::{Model, Prompt, PromptError, exactly};
use crate::request::{Extras, Field, Spans, elements, unquote};

impl Model {
    /// The prompt of a completion: of a batch, the first one; `None` where its tokens are not known.
    ///
    /// Embeddings come before all prompts in vLLM, and with a suffix the prompt is what the model's code makes of
    /// both (vllm/renderers/online_renderer.py, `render_completion`). `echo` changes the answer alone.
    pub(super) fn completion(
        &self,
        body: &[u8],
        spans: &Spans,
        extras: &Extras<'_>,
    ) -> Result<Option<Prompt>, PromptError> {
        let Some(raw) = Field::Prompt.slice(body, spans) else { return Ok(None) };
        if extras.prompt_embeds.is_some() || extras.suffix.is_some() {
            return Ok(None);
        }
        let special = Field::AddSpecialTokens.slice(body, spans).is_none_or(|raw| raw == b"true");
        let truncation = Truncation::of(extras);
        let mut first = None;
        let mut others = 0;
        for prompt in prompts(raw) {
            let Some(tokens) = self.prompt_tokens(prompt, special, truncation)? else { return Ok(None) };
            match first {
                None => first = Some(tokens),
                Some(_) => others += tokens.len(),
            }
        }
        Ok(first.map(|tokens| exactly(tokens, others)))
    }

    /// Tokens of one prompt: its ids as they are, or its text's; `None` for a text without a tokenizer.
    fn prompt_tokens(
        &self,
        prompt: &[u8],
        special: bool,
        truncation: Option<Truncation>,
    ) -> Result<Option<Vec<u32>>, PromptError> {
        let Some((text, _)) = unquote(prompt) else {
            let ids = ids(prompt);
            return Ok(Some(match truncation {
                Some(truncation) => truncation.cut(ids),
                None => ids,
            }));
        };
        let Some(tokenizer) = self.tokenizer() else { return Ok(None) };
        let tokens = tokenizer.encode(&text, special)?;
        match truncation {
            Some(truncation) => Ok(truncation.cut_text(tokenizer, tokens, &text, special)?),
            None => Ok(Some(tokens)),
        }
    }
}

/// The prompts of a completion: at least one.
pub(super) fn prompts(raw: &[u8]) -> Vec<&[u8]> {
    let mut prompts: Vec<&[u8]> = match raw.first() {
        // A list of ids is one prompt; of anything else, a batch.
        Some(b'[') if !starts_with_id(raw) => elements(raw).collect(),
        _ => vec![raw],
    };
    if prompts.is_empty() {
        prompts.push(b"[]");
    }
    prompts
}

fn starts_with_id(array: &[u8]) -> bool {
    array[1..].iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(u8::is_ascii_digit)
}

/// The numbers of a JSON array of token ids. What is no id (a negative number) is left to the engine to refuse.
fn ids(array: &[u8]) -> Vec<u32> {
    let id = |raw: &[u8]| std::str::from_utf8(raw).ok()?.parse().ok();
    elements(array).filter_map(id).collect()
}
