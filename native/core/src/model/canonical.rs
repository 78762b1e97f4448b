//! A request as canonical bytes, hashed where there are no tokens to hash.
//!
//! The bytes are records, one per message (or prompt), each `RS role US text`: what comes first in the prompt comes
//! first here (instructions, tools, then the messages in order), and a record ends nowhere but where the next begins.
//! So the bytes of turn n + 1 extend those of turn n, and depth in bytes means depth in the conversation. Of texts the
//! JSON's layout (escapes, white space, order of keys) does not show; tools and tool calls are taken as they are written,
//! since clients send them again byte for byte.
//!
//! A part that is no text (an image, an audio clip) is `SUB` and the XXH3-64 of its raw bytes, so that two images
//! are two prompts; the part's own 100 KB of base64 would drown the text around it.

use crate::request::{Field, Spans, elements, members, unquote};
use xxhash_rust::xxh3::xxh3_64;

const RECORD: u8 = 0x1e;
const UNIT: u8 = 0x1f;
const MEDIA: u8 = 0x1a;

/// The canonical bytes of a scanned body.
pub(super) fn text(body: &[u8], spans: &Spans) -> Vec<u8> {
    let field = |field: Field| field.slice(body, spans);
    let mut out = Vec::new();
    for instructions in [field(Field::System), field(Field::Instructions)].into_iter().flatten() {
        record(&mut out, "system");
        content(&mut out, instructions);
    }
    if let Some(tools) = field(Field::Tools) {
        record(&mut out, "tools");
        out.extend_from_slice(tools);
    }
    for prompts in [field(Field::Messages), field(Field::Prompt), field(Field::Input)].into_iter().flatten() {
        if prompts.first() == Some(&b'[') {
            elements(prompts).for_each(|element| message(&mut out, element));
        } else {
            message(&mut out, prompts);
        }
    }
    out
}

fn record(out: &mut Vec<u8>, role: &str) {
    out.push(RECORD);
    out.extend_from_slice(role.as_bytes());
    out.push(UNIT);
}

/// An element of `messages`, `prompt` or `input`: a message, a bare string, or ids.
fn message(out: &mut Vec<u8>, raw: &[u8]) {
    let (mut role, mut body, mut calls) = (None, None, None);
    for (key, value) in members(raw) {
        match &*key {
            "role" => role = unquote(value).map(|(role, _)| role),
            "content" => body = Some(value),
            "tool_calls" => calls = Some(value),
            _ => {}
        }
    }
    record(out, role.as_deref().unwrap_or_default());
    // A message without content and calls is of a kind not known here (a Responses function call, a prompt as ids):
    // its raw bytes tell it from others.
    match (body, calls) {
        (None, None) => content(out, raw),
        (body, calls) => {
            content(out, body.unwrap_or_default());
            out.extend_from_slice(calls.unwrap_or_default());
        }
    }
}

/// A string's text; the texts of an array's text parts; anything else raw.
fn content(out: &mut Vec<u8>, raw: &[u8]) {
    if let Some((text, _)) = unquote(raw) {
        out.extend_from_slice(text.as_bytes());
    } else if raw.first() == Some(&b'[') {
        elements(raw).for_each(|part| content_part(out, part));
    } else if raw != b"null" {
        out.extend_from_slice(raw);
    }
}

fn content_part(out: &mut Vec<u8>, part: &[u8]) {
    let text = match part.first() {
        Some(b'{') => members(part).find(|(key, _)| key == "text").map(|(_, value)| value),
        _ => Some(part),
    };
    match text.and_then(unquote) {
        Some((text, _)) => out.extend_from_slice(text.as_bytes()),
        None => {
            out.push(MEDIA);
            out.extend_from_slice(&xxh3_64(part).to_le_bytes());
        }
    }
}
