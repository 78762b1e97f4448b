//! Chat templates: from a request's messages to the text the engine tokenizes.
//!
//! A template is compiled once per model and shared by all threads. What it renders is what Hugging Face
//! transformers renders (Jinja2 in its sandbox) and the values it is given are those vLLM gives it, since a single
//! differing byte changes every block hash after it.

mod clock;
mod content_format;
mod conversation;
mod dict;
mod environment;
mod fields;
mod generator;
mod indent;
mod media;
mod message;
mod part;
mod python_json;
mod source;
mod source_macros;
mod source_tokens;
mod sum;
mod tools;
mod value;

pub use clock::Dates;
pub use content_format::ContentFormat;
pub use fields::ChatFields;

use clock::Clock;
use conversation::{Conversation, Wants, conversation};
use message::{MARK, View};
use minijinja::{Environment, ErrorKind, Value};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The tag whose place in the rendered text tells where the final message ends. It ends in a space, as in
/// transformers, so that a template that trims its messages gives itself away.
const CONTINUE_TAG: &str = "CONTINUE_FINAL_MESSAGE_TAG ";
const TEMPLATE: &str = "chat_template";

/// Why a template could not be compiled or rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The template is not Jinja.
    #[error("the chat template does not compile: {0}")]
    Compile(String),
    /// The template refused the request by `raise_exception`; the text is its own.
    #[error("the chat template refuses this request: {0}")]
    Raised(String),
    /// Rendering failed: an undefined value, a type the template does not expect.
    #[error("the chat template fails on this request: {0}")]
    Failed(String),
    /// The messages (or tools, kwargs, …) are not what a chat request holds.
    #[error("{0}")]
    BadRequest(String),
}

/// What a chat renders to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rendered {
    /// The prompt's text.
    Text(String),
    /// A message holds an image, audio, video or file, of which the engine's processor makes what it will.
    Media(BeforeMedia),
    /// The chat cannot be rendered as the engine would.
    Unknown,
}

/// A chat with media, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeforeMedia {
    /// The prompt's text up to where the first medium's placeholder begins, or a few characters into it, where other text
    /// would begin in the same way.
    pub text: String,
    /// What follows it, as the engine has it before it puts the media in. `None` if the placeholder is the engine's own.
    pub rest: Option<String>,
    /// Number of the message with the first medium.
    pub message: usize,
}

/// A compiled chat template, with the special tokens it may name.
#[derive(Debug)]
pub struct ChatTemplate {
    id: u64,
    environment: Environment<'static>,
    special_tokens: Vec<(String, String)>,
    wants: Wants,
}

impl ChatTemplate {
    /// Compiles a Jinja source. `special_tokens` are variables of the template, e.g. `("bos_token", "<s>")`.
    pub fn compile(source: &str, special_tokens: &[(String, String)]) -> Result<Self, TemplateError> {
        let mut environment = environment::python_like();
        environment
            .add_template_owned(TEMPLATE, source::adapted(source))
            .map_err(|error| TemplateError::Compile(describe(&error)))?;
        static IDS: AtomicU64 = AtomicU64::new(0);
        Ok(ChatTemplate {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            environment,
            special_tokens: special_tokens.to_vec(),
            wants: Wants {
                format: ContentFormat::detect(source),
                // As vLLM finds out (vllm/renderers/hf.py, `_detect_developer_role_support`).
                developer: source.contains("\"developer\"") || source.contains("'developer'"),
            },
        })
    }

    /// Number of this template; no other one of the process has it.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether the template expects a message's content as a string or as a list of parts.
    pub fn content_format(&self) -> ContentFormat {
        self.wants.format
    }

    /// Renders with exactly these variables (and the special tokens, which they override). `now` is the time since
    /// the epoch that `strftime_now` tells, in the system's time zone as in transformers.
    pub fn render<K: Into<Value>>(
        &self,
        variables: impl IntoIterator<Item = (K, Value)>,
        now: Duration,
    ) -> Result<String, TemplateError> {
        self.render_at(variables, &Clock::new(now))
    }

    fn render_at<K: Into<Value>>(
        &self,
        variables: impl IntoIterator<Item = (K, Value)>,
        clock: &Clock,
    ) -> Result<String, TemplateError> {
        let special = self.special_tokens.iter().map(|(name, token)| (Value::from(name), Value::from(token)));
        let clock = (Value::from("strftime_now"), clock.strftime_now());
        let own = variables.into_iter().map(|(name, value)| (name.into(), value));
        let context = Value::from_pairs(std::iter::once(clock).chain(special).chain(own));
        self.environment
            .get_template(TEMPLATE)
            .and_then(|template| template.render(context))
            .map_err(|error| rendering_error(&error))
    }

    /// Renders a chat request as vLLM does. The second answer is what the template was told of the time.
    pub fn render_chat(
        &self,
        chat: &ChatFields<'_>,
        now: Duration,
    ) -> Result<(Rendered, Dates), TemplateError> {
        let Some(conversation) = conversation(chat, self.wants, View::Plain)? else {
            return Ok((Rendered::Unknown, Dates::default()));
        };
        let Conversation { mut variables, media } = conversation;
        let clock = Clock::new(now);
        if let Some((message, texts)) = media {
            let found = self.before_media(chat, variables, message, &texts, &clock);
            // A template that has no place for media refuses them; the engine may have another one for such chats.
            return Ok((found.map_or(Rendered::Unknown, Rendered::Media), Dates::default()));
        }
        let text = if chat.continue_final_message {
            let last = conversation::tag_final_message(&mut variables, CONTINUE_TAG)?;
            cut_at_tag(self.render_at(variables, &clock)?, &last)?
        } else {
            self.render_at(variables, &clock)?
        };
        Ok((Rendered::Text(text), clock.dates()))
    }

    /// The beginning of a chat with media: see [`media`]. `plain`: the variables without marks.
    fn before_media(
        &self,
        chat: &ChatFields<'_>,
        plain: conversation::Variables,
        message: usize,
        texts: &[Value],
        clock: &Clock,
    ) -> Option<BeforeMedia> {
        let mut plain = self.render_at(plain, clock).ok()?;
        if self.wants.format == ContentFormat::String {
            // Placeholders stand before a message's texts, where the mark is now. What they look like the engine's code
            // for the model knows.
            plain.truncate(plain.find(MARK)?);
            return Some(BeforeMedia { text: plain, rest: None, message });
        }
        if plain.contains(MARK) {
            return None;
        }
        let render = |view| {
            let marked = conversation(chat, self.wants, view).ok()??;
            self.render_at(marked.variables, clock).ok()
        };
        let without = render(View::AllMarked(message))?;
        let marked = if texts.is_empty() { None } else { Some(render(View::TextsMarked(message))?) };
        let marked = marked.as_deref().unwrap_or(&plain);
        let end = media::common_beginning(&plain, marked, &without, texts).len();
        let rest = plain.split_off(end);
        Some(BeforeMedia { text: plain, rest: Some(rest), message })
    }
}

/// Renders a template with a JSON object of variables, for tests and tools. `now_ms`: milliseconds since the epoch.
pub fn render_template(source: &str, context_json: &str, now_ms: u64) -> Result<String, TemplateError> {
    let context = value::parse(context_json.as_bytes())
        .ok_or_else(|| TemplateError::BadRequest("the context is not JSON".to_owned()))?;
    let variables = value::pairs(&context)
        .ok_or_else(|| TemplateError::BadRequest("the context is not a JSON object".to_owned()))?;
    ChatTemplate::compile(source, &[])?.render(variables, Duration::from_millis(now_ms))
}

/// Cuts the rendered text where the final message (`last`) ends (transformers' `apply_chat_template`).
fn cut_at_tag(mut text: String, last: &str) -> Result<String, TemplateError> {
    let Some(at) = text.rfind(CONTINUE_TAG.trim_end()).filter(|_| text.contains(last.trim())) else {
        return Err(TemplateError::Failed(
            "continue_final_message is set, but the final message is not in the rendered chat".to_owned(),
        ));
    };
    let keeps_spacing = text[at..].starts_with(CONTINUE_TAG);
    text.truncate(at);
    if !keeps_spacing {
        text.truncate(text.trim_end().len());
    }
    Ok(text)
}

fn rendering_error(error: &minijinja::Error) -> TemplateError {
    match environment::raised_message(error) {
        Some(message) => TemplateError::Raised(message),
        None => TemplateError::Failed(describe(error)),
    }
}

/// One line: kind, detail and the template's line.
fn describe(error: &minijinja::Error) -> String {
    let kind = error.kind();
    let detail = match (error.detail(), kind) {
        (Some(detail), ErrorKind::InvalidOperation) => detail.to_owned(),
        (Some(detail), _) => format!("{kind}: {detail}"),
        (None, _) => kind.to_string(),
    };
    match error.line() {
        Some(line) => format!("{detail} (template line {line})"),
        None => detail,
    }
}
