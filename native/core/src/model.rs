//! A model as the router knows it: from a request's body to the tokens its engine will see.

mod answer;
mod canonical;
mod chat;
mod completion;
mod error;
mod prompt;
mod shape;
mod truncate;
mod trust;

pub use error::{ModelError, PromptError};
pub use prompt::Prompt;
pub use shape::Shape;
pub use trust::Agreement;

use crate::answer::AnswerText;
use crate::request::{BodyKind, Extras, FIELD_COUNT, Field, Spans, scan, unquote};
use crate::template::ChatTemplate;
use crate::tokenizer::{DEFAULT_MEMO_BYTES, Tokenizer};
use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
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
    /// What stands around the parts of an answer; found out with the first one.
    frame: OnceLock<answer::Frame>,
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
            frame: OnceLock::new(),
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
        let extras = Extras::of(body, spans);
        let shape = shape::of_body(kind, body, spans, &extras);
        let known = match kind {
            _ if !self.trust.admits(shape) => None,
            BodyKind::Chat => self.chat(body, spans, &extras, now)?,
            BodyKind::Completions => self.completion(body, spans, &extras)?,
            // How engines turn these into prompts is their own affair; text serves the same routing.
            BodyKind::Embeddings | BodyKind::Responses | BodyKind::Messages | BodyKind::Other => None,
        };
        let prompt = known.unwrap_or_else(|| canonical::prompt(body, spans, &extras));
        // Only now it is known for certain.
        Ok(Prompt { shape: shape.with(Shape::MEDIA, prompt.shape.has(Shape::MEDIA)), ..prompt })
    }

    /// Compares the engine's count of prompt tokens with the router's of the same request, which must have been exact.
    /// Too many differences in a row cost the shape its trust: see [`Agreement`].
    pub fn check(&self, shape: Shape, counted: u32, engine: u32) -> Agreement {
        self.trust.check(shape, counted, engine)
    }

    /// The prompt's tokens and behind them those of the answer, as far as the engine's cache holds them.
    pub fn answer_tokens(&self, prompt_tokens: &[u32], kind: BodyKind, answer: &AnswerText) -> Vec<u32> {
        let frame = |tokenizer: &Tokenizer| {
            self.frame.get_or_init(|| answer::Frame::of(tokenizer, self.template.as_ref()))
        };
        answer::tokens(self.tokenizer(), prompt_tokens, kind, answer, frame)
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
}

/// Bytes of text that count as a token where there is no tokenizer: English prose and code in common vocabularies
/// lie between 3.5 and 4.5.
pub const BYTES_PER_TOKEN: usize = 4;

/// Tokens that an image (or another medium) counts as, where nobody counts them: a picture of a megapixel is 1,337 to
/// Qwen2.5-VL (28 × 28 pixels each), 4,096 to Pixtral (16 × 16), 576 to LLaVA 1.5 and 256 to Gemma 3, whatever its size.
pub const MEDIUM_TOKENS: usize = 1000;

/// The request's cache salt, part of the root of its hashes: engines share no blocks between salts.
pub fn cache_salt<'a>(body: &'a [u8], spans: &Spans) -> Option<Cow<'a, str>> {
    Some(unquote(Field::CacheSalt.slice(body, spans)?)?.0)
}

fn exactly(tokens: Vec<u32>, others: usize) -> Prompt {
    let total_tokens = u32::try_from(tokens.len() + others).unwrap_or(u32::MAX);
    Prompt { tokens, exact: true, total_tokens, ..Prompt::default() }
}
