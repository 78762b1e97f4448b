//! A chat's prompt.

use super::canonical;
use super::truncate::Truncation;
use super::{Model, Prompt, PromptError, exactly};
use crate::request::{Extras, Field, Spans, members};
use crate::template::{BeforeMedia, ChatFields, ChatTemplate, Rendered};
use crate::tokenizer::{PromptKey, Tokenizer, TokenizerError};
use std::time::Duration;

impl Model {
    /// The prompt of a chat; `None` where nothing of it is known for certain.
    pub(super) fn chat(
        &self,
        body: &[u8],
        spans: &Spans,
        extras: &Extras<'_>,
        now: Duration,
    ) -> Result<Option<Prompt>, PromptError> {
        let (Some(tokenizer), Some(chat)) = (&self.tokenizer, ChatFields::with(body, spans, extras)) else {
            return Ok(None);
        };
        if own_template(&chat, extras) {
            return Ok(None);
        }
        // `tool_choice: none` keeps the tools in the prompt, unless vLLM runs with
        // --exclude-tools-when-tool-choice-none.
        let with_tools = self.tool_template.as_ref().filter(|_| chat.tools.is_some());
        let Some(template) = with_tools.or(self.template.as_ref()) else { return Ok(None) };
        let tokens = match self.chat_tokens(tokenizer, template, &chat, body, spans, now)? {
            Found::Tokens(tokens) => tokens,
            // Of a prompt cut at its left nothing before the media may be left.
            Found::Media(before, special) if !special && extras.truncate_prompt_tokens.is_none() => {
                let tokens = certain(tokenizer, &before)?;
                return Ok(Some(canonical::behind(tokens, body, spans, before.message)));
            }
            Found::Media(..) | Found::Nothing => return Ok(None),
        };
        Ok(Some(exactly(
            match Truncation::of(extras) {
                Some(truncation) => truncation.cut(tokens),
                None => tokens,
            },
            0,
        )))
    }

    fn chat_tokens(
        &self,
        tokenizer: &Tokenizer,
        template: &ChatTemplate,
        chat: &ChatFields<'_>,
        body: &[u8],
        spans: &Spans,
        now: Duration,
    ) -> Result<Found, PromptError> {
        // The template writes the special tokens; vLLM adds more only if the request says so.
        let special = Field::AddSpecialTokens.slice(body, spans) == Some(b"true");
        let key = PromptKey::new(template.id(), chat, special);
        if let Some(tokens) = key.and_then(|key| tokenizer.prompts().get(key, now)) {
            return Ok(Found::Tokens(tokens.to_vec()));
        }
        let (text, dates) = match template.render_chat(chat, now)? {
            (Rendered::Text(text), dates) => (text, dates),
            (Rendered::Media(before), _) => return Ok(Found::Media(before, special)),
            (Rendered::Unknown, _) => return Ok(Found::Nothing),
        };
        let tokens = tokenizer.encode(&text, special)?;
        if let Some(key) = key {
            tokenizer.prompts().put(key, &tokens, dates);
        }
        Ok(Found::Tokens(tokens))
    }
}

enum Found {
    Tokens(Vec<u32>),
    /// And whether special tokens are asked for.
    Media(BeforeMedia, bool),
    Nothing,
}

/// A request that brings a template is refused by vLLM, unless that runs with --trust-request-chat-template. Either way
/// the model's template says nothing of its prompt; text serves the routing without a stranger's template being run.
fn own_template(chat: &ChatFields<'_>, extras: &Extras<'_>) -> bool {
    let kwargs = chat.chat_template_kwargs.unwrap_or_default();
    extras.chat_template.is_some()
        || members(kwargs).any(|(name, value)| name == "chat_template" && value != b"null")
}

/// The tokens before a chat's media that no continuation can change.
///
/// Where the engine's text is known and the placeholder begins with an added token (one that is taken out of the text
/// before the rest is tokenized), those are the tokens of all that precedes it. Two newlines are tried in its place, too:
/// Gemma 3's processor puts them before an image, where they melt with what stands there. In all other cases the last
/// added token is the last that is certain.
fn certain(tokenizer: &Tokenizer, before: &BeforeMedia) -> Result<Vec<u32>, TokenizerError> {
    let mut tokens = tokenizer.encode(&before.text, false)?;
    let common = |text: String| -> Result<(usize, Option<u32>), TokenizerError> {
        let other = tokenizer.encode(&text, false)?;
        let length = tokens.iter().zip(&other).take_while(|(a, b)| a == b).count();
        Ok((length, other.get(length).copied()))
    };
    let mut known = 0;
    if let Some(rest) = &before.rest {
        let (length, next) = common(format!("{}{rest}", before.text))?;
        if length == tokens.len() && next.is_some_and(|id| tokenizer.is_added(id)) {
            known = common(format!("{}\n\n", before.text))?.0;
        }
    }
    let added = tokens.iter().rposition(|&id| tokenizer.is_added(id)).map_or(0, |at| at + 1);
    tokens.truncate(known.max(added));
    Ok(tokens)
}
