//! A request as canonical bytes, hashed where there are no tokens to hash.
//!
//! The bytes are records, one per message (or prompt), each `RS role US text`: what comes first in the prompt comes
//! first here (instructions, tools, then the messages in order), and a record ends nowhere but where the next begins.
//! So the bytes of turn n + 1 extend those of turn n, and depth in bytes means depth in the conversation. Of texts the
//! JSON's layout (escapes, white space, order of keys) does not show; tools and tool calls are taken as they are written,
//! since clients send them again byte for byte.
//!
//! A medium (an image, an audio clip, a file) is `SUB` and the XXH3-64 of its raw bytes, so that two images
//! are two prompts; the part's own 100 KB of base64 would drown the text around it.
//!
//! Behind tokens that are known for certain the bytes begin with `SYN` and a hash of those tokens and of what may have
//! a place in the prompt behind them (tools, documents, the template's variables), since the last tokens fill no block and
//! are in no other hash. Then come the messages from the first one with a medium on.

use super::{BYTES_PER_TOKEN, MEDIUM_TOKENS, Prompt, Shape};
use crate::request::{BodyKind, Extras, Field, Spans, elements, members, unquote};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

const RECORD: u8 = 0x1e;
const UNIT: u8 = 0x1f;
const MEDIA: u8 = 0x1a;

const TOKENS: u8 = 0x16;

/// The prompt of a scanned body as text alone.
pub(super) fn prompt(body: &[u8], spans: &Spans, extras: &Extras<'_>) -> Prompt {
    let field = |field: Field| field.slice(body, spans);
    let mut text = Text::default();
    for instructions in [field(Field::System), field(Field::Instructions)].into_iter().flatten() {
        text.record("system");
        text.content(instructions);
    }
    if let Some(tools) = field(Field::Tools) {
        text.record("tools");
        text.bytes.extend_from_slice(tools);
    }
    if let Some(embeddings) = extras.prompt_embeds {
        text.record("prompt");
        text.medium(embeddings);
    }
    for prompts in [field(Field::Messages), field(Field::Prompt), field(Field::Input)].into_iter().flatten() {
        if prompts.first() == Some(&b'[') {
            elements(prompts).for_each(|element| text.message(element));
        } else {
            text.message(prompts);
        }
    }
    text.behind(Vec::new())
}

/// The prompt of a scanned chat: tokens that are known for certain, and as text what follows them. `first`: number of the
/// first message that is not in the tokens, or not as a whole.
pub(super) fn behind(tokens: Vec<u32>, body: &[u8], spans: &Spans, first: usize) -> Prompt {
    let mut hasher = Xxh3::new();
    tokens.iter().for_each(|token| hasher.update(&token.to_le_bytes()));
    for field in [Field::Tools, Field::Documents, Field::ChatTemplateKwargs] {
        let raw = field.slice(body, spans).unwrap_or_default();
        hasher.update(&(raw.len() as u64).to_le_bytes());
        hasher.update(raw);
    }
    let mut text = Text::default();
    text.bytes.push(TOKENS);
    text.bytes.extend_from_slice(&hasher.digest().to_le_bytes());
    let messages = Field::Messages.slice(body, spans).unwrap_or_default();
    elements(messages).skip(first).for_each(|element| text.message(element));
    text.behind(tokens)
}

#[derive(Default)]
struct Text {
    bytes: Vec<u8>,
    media: usize,
}

impl Text {
    /// The prompt that it is, behind those tokens.
    fn behind(self, tokens: Vec<u32>) -> Prompt {
        let known = tokens.len() + self.media * MEDIUM_TOKENS;
        // A medium's mark and hash are no text.
        let text = self.bytes.len() - self.media * (1 + size_of::<u64>());
        let total_tokens = u32::try_from(known + text.div_ceil(BYTES_PER_TOKEN)).unwrap_or(u32::MAX);
        let shape = Shape::of(BodyKind::Chat).with(Shape::MEDIA, self.media > 0);
        Prompt { tokens, exact: false, text: self.bytes, total_tokens, shape }
    }

    fn record(&mut self, role: &str) {
        self.bytes.push(RECORD);
        self.bytes.extend_from_slice(role.as_bytes());
        self.bytes.push(UNIT);
    }

    fn medium(&mut self, raw: &[u8]) {
        self.media += 1;
        self.bytes.push(MEDIA);
        self.bytes.extend_from_slice(&xxh3_64(raw).to_le_bytes());
    }

    /// An element of `messages`, `prompt` or `input`: a message, a bare string, or ids.
    fn message(&mut self, raw: &[u8]) {
        let (mut role, mut body, mut calls) = (None, None, None);
        for (key, value) in members(raw) {
            match &*key {
                "role" => role = unquote(value).map(|(role, _)| role),
                "content" => body = Some(value),
                "tool_calls" => calls = Some(value),
                _ => {}
            }
        }
        self.record(role.as_deref().unwrap_or_default());
        // A message without content and calls is of a kind not known here (a Responses function call, a prompt as ids):
        // its raw bytes tell it from others.
        match (body, calls) {
            (None, None) => self.content(raw),
            (body, calls) => {
                self.content(body.unwrap_or_default());
                self.bytes.extend_from_slice(calls.unwrap_or_default());
            }
        }
    }

    /// A string's text; the texts of an array's text parts; anything else raw.
    fn content(&mut self, raw: &[u8]) {
        if let Some((text, _)) = unquote(raw) {
            self.bytes.extend_from_slice(text.as_bytes());
        } else if raw.first() == Some(&b'[') {
            elements(raw).for_each(|part| self.content_part(part));
        } else if raw != b"null" {
            self.bytes.extend_from_slice(raw);
        }
    }

    fn content_part(&mut self, part: &[u8]) {
        if let Some((text, _)) = unquote(part) {
            return self.bytes.extend_from_slice(text.as_bytes());
        }
        if part.first() != Some(&b'{') {
            // An id of a prompt given as ids.
            self.bytes.extend_from_slice(part);
            return self.bytes.push(UNIT);
        }
        let text = members(part).find(|(key, _)| key == "text").and_then(|(_, value)| unquote(value));
        match text {
            Some((text, _)) => self.bytes.extend_from_slice(text.as_bytes()),
            None if is_medium(part) => self.medium(part),
            None => self.block(part),
        }
    }

    /// A part of another kind: a call, a call's result (whose content may hold media, too), reasoning.
    fn block(&mut self, part: &[u8]) {
        for (key, value) in members(part) {
            match &*key {
                "content" => self.content(value),
                _ => self.bytes.extend_from_slice(value),
            }
            self.bytes.push(UNIT);
        }
    }
}

fn is_medium(part: &[u8]) -> bool {
    const KINDS: [&str; 5] = ["image", "audio", "video", "file", "document"];
    // `image_url`, `input_audio`, `video`, …, as the part's type or as the name of what it holds.
    let names_one = |name: &str| KINDS.iter().any(|kind| name.contains(kind));
    members(part).any(|(key, value)| match &*key {
        "type" => unquote(value).is_some_and(|(kind, _)| names_one(&kind)),
        key => names_one(key),
    })
}
