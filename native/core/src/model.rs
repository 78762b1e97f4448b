//! A model as the router knows it: from a request's body to the tokens its engine will see.

mod answer;
mod canonical;
mod error;
mod prompt;
mod shape;
mod trust;

pub use error::{ModelError, PromptError};
pub use prompt::Prompt;
pub use shape::Shape;
pub use trust::Agreement;

use crate::answer::AnswerText;
use crate::request::{BodyKind, FIELD_COUNT, Field, Spans, elements, scan, unquote};
use crate::template::{ChatFields, ChatTemplate, Rendered};
use crate::tokenizer::{DEFAULT_MEMO_BYTES, PromptKey, Tokenizer};
use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use trust::Trust;

/// Where a model's files are, and what overrides them.
#[derive(Debug, Clone, Default)]
pub struct ModelOptions {
    /// Directory with `tokenizer.json`, `tokenizer_config.json` and perhaps `chat_template.jinja`. Absent: prompts are
    /// hashed as text.
    pub dir: Option<PathBuf>,
    /// Source of a chat template that overrides the directory's.
    pub chat_template: Option<String>,
    /// Tokens per KV block of the engine.
    pub block_size: u32,
    /// Bytes of token ids that its tokenizer remembers, for all threads and all models of the directory; 0: none.
    /// Absent: [`DEFAULT_MEMO_BYTES`].
    pub memo_bytes: Option<u64>,
}

/// A model, ready to prepare requests on any thread.
#[derive(Debug)]
pub struct Model {
    name: String,
    block_size: u32,
    tokenizer: Option<Arc<Tokenizer>>,
    template: Option<ChatTemplate>,
    tool_template: Option<ChatTemplate>,
    trust: Trust,
}

impl Model {
    /// Loads the model's files. Blocking: a large tokenizer takes seconds.
    pub fn load(name: &str, options: &ModelOptions) -> Result<Self, ModelError> {
        if options.block_size == 0 {
            return Err(ModelError::BlockSize { name: name.to_owned() });
        }
        let memo_bytes = options.memo_bytes.unwrap_or(DEFAULT_MEMO_BYTES);
        let load = |dir: &PathBuf| Tokenizer::shared(dir, memo_bytes);
        let tokenizer = options.dir.as_ref().map(load).transpose();
        let tokenizer =
            tokenizer.map_err(|reason| ModelError::Tokenizer { name: name.to_owned(), reason })?;
        let special = tokenizer.as_ref().map_or(&[][..], |tokenizer| tokenizer.special_tokens());
        let compile = |source: Option<&String>| {
            let compiled = source.map(|source| ChatTemplate::compile(source, special)).transpose();
            compiled.map_err(|reason| ModelError::Template { name: name.to_owned(), reason })
        };
        let own = tokenizer.as_ref().map(|tokenizer| tokenizer.templates());
        let (template, tool_template) = match &options.chat_template {
            Some(source) => (compile(Some(source))?, None),
            None => (
                compile(own.and_then(|own| own.default.as_ref()))?,
                compile(own.and_then(|own| own.tool_use.as_ref()))?,
            ),
        };
        Ok(Model {
            name: name.to_owned(),
            block_size: options.block_size,
            tokenizer,
            template,
            tool_template,
            trust: Trust::default(),
        })
    }

    /// A model without files, whose prompts are matched as text: one that has none, or whose files are being loaded.
    pub fn placeholder(name: &str, block_size: u32) -> Result<Self, ModelError> {
        Self::load(name, &ModelOptions { block_size, ..ModelOptions::default() })
    }

    /// The model's name; part of every hash's root.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tokens per KV block.
    pub fn block_size(&self) -> u32 {
        self.block_size
    }

    /// The model's tokenizer, if it has one.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        self.tokenizer.as_deref()
    }

    /// Why chats of this model are hashed as text, to be said once in the log; `None` if they are not.
    pub fn fallback_reason(&self) -> Option<&'static str> {
        match (&self.tokenizer, &self.template) {
            (None, _) => Some(
                "has no tokenizer, so prompts are matched as text and token counts are estimates; set models[].dir",
            ),
            (_, None) => Some(
                "has no chat template, so chats are matched as text and token counts are estimates; set \
                 models[].chatTemplate",
            ),
            _ => None,
        }
    }

    /// What the request's engine will be asked to prefill. `body` must have passed [`scan`](crate::request::scan());
    /// `now`: time since the epoch, for templates that tell the date.
    pub fn prompt(
        &self,
        kind: BodyKind,
        body: &[u8],
        spans: &Spans,
        now: Duration,
    ) -> Result<Prompt, PromptError> {
        let exact = match kind {
            BodyKind::Chat => self.chat(body, spans, now)?,
            BodyKind::Completions => self.completion(body, spans)?,
            // How engines turn these into prompts is their own affair; text serves the same routing.
            BodyKind::Embeddings | BodyKind::Responses | BodyKind::Messages | BodyKind::Other => None,
        };
        let shape = Shape::of(kind);
        Ok(match exact {
            Some(prompt) => Prompt { shape, ..prompt },
            None => {
                let text = canonical::text(body, spans);
                let total_tokens = u32::try_from(text.len().div_ceil(BYTES_PER_TOKEN)).unwrap_or(u32::MAX);
                Prompt { text, total_tokens, shape, ..Prompt::default() }
            }
        })
    }

    /// Compares the engine's count of prompt tokens with the router's of the same request, which must have been exact.
    /// Too many differences in a row cost the shape its trust: see [`Agreement`].
    pub fn check(&self, shape: Shape, counted: u32, engine: u32) -> Agreement {
        self.trust.check(shape, counted, engine)
    }

    /// The prompt's tokens and behind them those of the answer, as far as the engine's cache holds them.
    pub fn answer_tokens(&self, prompt_tokens: &[u32], kind: BodyKind, answer: &AnswerText) -> Vec<u32> {
        answer::tokens(self.tokenizer(), prompt_tokens, kind, answer)
    }

    /// Tokens of a chat request's body exactly as [`prompt`](Self::prompt) makes them, for engines and tools that have
    /// no use for the fallback.
    pub fn encode_chat(&self, body: &[u8], now: Duration) -> Result<Vec<u32>, PromptError> {
        let mut spans = [0; FIELD_COUNT * 2];
        scan(body, BodyKind::Chat, &mut spans).map_err(PromptError::Body)?;
        match self.prompt(BodyKind::Chat, body, &spans, now)? {
            Prompt { exact: true, tokens, .. } => Ok(tokens),
            _ => Err(PromptError::NotExact(self.fallback_reason().unwrap_or("it holds more than text"))),
        }
    }

    fn chat(&self, body: &[u8], spans: &Spans, now: Duration) -> Result<Option<Prompt>, PromptError> {
        let (Some(tokenizer), Some(chat)) = (&self.tokenizer, ChatFields::of(body, spans)) else {
            return Ok(None);
        };
        let with_tools = self.tool_template.as_ref().filter(|_| chat.tools.is_some());
        let Some(template) = with_tools.or(self.template.as_ref()) else { return Ok(None) };
        // The template writes the special tokens; vLLM adds more only if the request says so.
        let special = add_special_tokens(body, spans).unwrap_or(false);
        let key = PromptKey::new(template.id(), &chat, special);
        if let Some(tokens) = key.and_then(|key| tokenizer.prompts().get(key, now)) {
            return Ok(Some(exactly(tokens.to_vec(), 0)));
        }
        let (Rendered::Text(text), dates) = template.render_chat(&chat, now)? else { return Ok(None) };
        let tokens = tokenizer.encode(&text, special)?;
        if let Some(key) = key {
            tokenizer.prompts().put(key, &tokens, dates);
        }
        Ok(Some(exactly(tokens, 0)))
    }

    fn completion(&self, body: &[u8], spans: &Spans) -> Result<Option<Prompt>, PromptError> {
        let Some(raw) = Field::Prompt.slice(body, spans) else { return Ok(None) };
        let mut prompts: Vec<&[u8]> = match raw.first() {
            // A list of ids is one prompt; of anything else, a batch.
            Some(b'[') if !starts_with_id(raw) => elements(raw).collect(),
            _ => vec![raw],
        };
        if prompts.is_empty() {
            prompts.push(b"[]");
        }
        let special = add_special_tokens(body, spans).unwrap_or(true);
        let mut first = None;
        let mut others = 0;
        for prompt in prompts {
            let Some(tokens) = self.tokens(prompt, special)? else { return Ok(None) };
            match first {
                None => first = Some(tokens),
                Some(_) => others += tokens.len(),
            }
        }
        Ok(first.map(|tokens| exactly(tokens, others)))
    }

    /// Tokens of one prompt: its ids as they are, or its text's; `None` for a text without a tokenizer.
    fn tokens(&self, prompt: &[u8], special: bool) -> Result<Option<Vec<u32>>, PromptError> {
        let Some((text, _)) = unquote(prompt) else { return Ok(Some(ids(prompt))) };
        let encode = |tokenizer: &Tokenizer| tokenizer.encode(&text, special);
        Ok(self.tokenizer().map(encode).transpose()?)
    }
}

/// Bytes of text that count as a token where there is no tokenizer: English prose and code in common vocabularies
/// lie between 3.5 and 4.5.
pub const BYTES_PER_TOKEN: usize = 4;

/// The request's cache salt, part of the root of its hashes: engines share no blocks between salts.
pub fn cache_salt<'a>(body: &'a [u8], spans: &Spans) -> Option<Cow<'a, str>> {
    Some(unquote(Field::CacheSalt.slice(body, spans)?)?.0)
}

fn exactly(tokens: Vec<u32>, others: usize) -> Prompt {
    let total_tokens = u32::try_from(tokens.len() + others).unwrap_or(u32::MAX);
    Prompt { tokens, exact: true, total_tokens, ..Prompt::default() }
}

fn add_special_tokens(body: &[u8], spans: &Spans) -> Option<bool> {
    Field::AddSpecialTokens.slice(body, spans).map(|raw| raw == b"true")
}

fn starts_with_id(array: &[u8]) -> bool {
    array[1..].iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(u8::is_ascii_digit)
}

/// The numbers of a JSON array of token ids. What is no id (a negative number) is left to the engine to refuse.
fn ids(array: &[u8]) -> Vec<u32> {
    let id = |raw: &[u8]| std::str::from_utf8(raw).ok()?.parse().ok();
    elements(array).filter_map(id).collect()
}
