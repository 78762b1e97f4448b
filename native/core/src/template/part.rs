//! A part of a message's content: a text or a medium.

use super::dict::dict;
use super::value::{get, pairs, present};
use minijinja::Value;

/// A part, read.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    /// A text, and the members of the part that only the template may know.
    Text { text: Value, more: Vec<(Value, Value)> },
    /// The name of a tool that the client describes elsewhere.
    Reference(Value),
    /// An image, audio, a video, a file, by the name that templates call it.
    Media { kind: Value, more: Vec<(Value, Value)> },
    /// A text part without text.
    Skipped,
}

/// Members of parts that vLLM knows, and therefore does not pass on (`_KNOWN_CONTENT_PART_FIELDS`).
const KNOWN: [&str; 18] = [
    "audio_embeds",
    "audio_url",
    "closed",
    "data",
    "file",
    "image_embeds",
    "image_pil",
    "image_url",
    "input_audio",
    "name",
    "prompt_cache_breakpoint",
    "refusal",
    "text",
    "thinking",
    "type",
    "uuid",
    "video_embeds",
    "video_url",
];

/// What the member that holds a medium says of its kind, where `type` does not. In vLLM's order.
const MEDIA: [(&str, &str); 9] = [
    ("image_url", "image"),
    ("image_pil", "image"),
    ("image_embeds", "image"),
    ("audio_embeds", "audio"),
    ("video_embeds", "video"),
    ("audio_url", "audio"),
    ("input_audio", "audio"),
    ("video_url", "video"),
    ("input_image", "image"),
];

/// Reads a part; `None` if it is of no form that engines take.
pub(super) fn part(raw: &Value) -> Option<Part> {
    if raw.as_str().is_some() {
        return Some(Part::plain(raw.clone()));
    }
    let kind = get(raw, "type");
    let known = kind.as_str().filter(|_| present(raw, "uuid").is_none());
    let media =
        |name: &str| MEDIA.iter().find(|(member, _)| *member == name).map(|(_, kind)| Value::from(*kind));
    match known {
        Some("text" | "input_text" | "output_text") => text(raw, "text"),
        Some("refusal") => text(raw, "refusal"),
        Some("thinking") => text(raw, "thinking"),
        Some("tool_reference") => present(raw, "name").filter(is_text).map(Part::Reference),
        // Tensors that the engine splices into the prompt, for which it needs a flag.
        Some("prompt_embeds") => None,
        Some(name) => {
            let kind = media(name).unwrap_or(kind);
            Some(Part::Media { kind, more: more(raw) })
        }
        None => {
            let member = MEDIA.iter().find(|(member, _)| !get(raw, member).is_undefined())?;
            Some(Part::Media { kind: media(member.0)?, more: more(raw) })
        }
    }
}

fn text(raw: &Value, key: &str) -> Option<Part> {
    match present(raw, key) {
        Some(text) if is_text(&text) => Some(Part::Text { text, more: more(raw) }),
        Some(_) => None,
        None => Some(Part::Skipped),
    }
}

fn is_text(value: &Value) -> bool {
    value.as_str().is_some()
}

fn more(raw: &Value) -> Vec<(Value, Value)> {
    let unknown = |(key, _): &(Value, Value)| !key.as_str().is_some_and(|key| KNOWN.contains(&key));
    pairs(raw).into_iter().flatten().filter(unknown).collect()
}

impl Part {
    pub(super) fn plain(text: Value) -> Part {
        Part::Text { text, more: Vec::new() }
    }

    /// What stands for it in a content that is one string; nothing for a medium.
    pub(super) fn text(&self) -> Option<&Value> {
        match self {
            Part::Text { text, .. } | Part::Reference(text) => Some(text),
            Part::Media { .. } | Part::Skipped => None,
        }
    }

    /// The part with another text.
    pub(super) fn with_text(self, text: Value) -> Part {
        match self {
            Part::Text { more, .. } => Part::Text { text, more },
            Part::Reference(_) => Part::Reference(text),
            other => other,
        }
    }

    /// The part in a content that is a list.
    pub(super) fn value(&self) -> Value {
        let typed = |kind: &str| (Value::from("type"), Value::from(kind));
        match self {
            Part::Text { text, more } => {
                let text = (Value::from("text"), text.clone());
                dict([typed("text"), text].into_iter().chain(more.iter().cloned()))
            }
            Part::Reference(name) => dict([typed("tool_reference"), (Value::from("name"), name.clone())]),
            Part::Media { kind, more } => {
                let kind = (Value::from("type"), kind.clone());
                dict(std::iter::once(kind).chain(more.iter().cloned()))
            }
            Part::Skipped => Value::UNDEFINED,
        }
    }
}
