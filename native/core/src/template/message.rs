//! One message of a chat request as vLLM hands it to the template (vllm/renderers/chat_utils.py:
//! `_parse_chat_message_content` and what it calls).

use super::content_format::ContentFormat;
use super::dict::dict;
use super::part::{Part, part};
use super::tools::tool_calls;
use super::value::{get, present};
use minijinja::Value;
use minijinja::value::ValueKind;

/// What stands for a text or a medium while the place of the first medium is looked for. Private-use characters: no
/// placeholder of a model begins with one, and a chat that holds this very string is not looked into.
pub(super) const MARK: &str = "\u{E5A7}\u{E0F3}\u{E5A7}";

/// How the parts of messages are shown to the template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// As they are.
    Plain,
    /// In message number so-and-so, [`MARK`] in place of each text before the first medium.
    TextsMarked(usize),
    /// As `TextsMarked`, and in all messages a text of [`MARK`] in place of each medium.
    AllMarked(usize),
}

/// A message for the template.
pub(super) struct Message {
    pub value: Value,
    /// Texts before the first medium, if there is a medium.
    pub before_media: Option<Vec<Value>>,
}

/// Message number `index`; `None` if it has a part that nobody knows how to read. What a client may have put beside
/// the known members is dropped, since templates that dump whole messages would show it.
pub(super) fn message(raw: &Value, index: usize, format: ContentFormat, view: View) -> Option<Message> {
    let role = get(raw, "role");
    let mut parts = parts(&get(raw, "content"))?;
    if role.as_str() == Some("system") {
        parts = parts.into_iter().filter_map(without_billing_header).collect();
    }
    let media = parts.iter().position(|part| matches!(part, Part::Media { .. }));
    let before_media = media.map(|end| parts[..end].iter().filter_map(Part::text).cloned().collect());
    let texts_only = parts.iter().all(|part| matches!(part, Part::Text { .. }));
    mark(&mut parts, media.unwrap_or(0), index, view);
    let mut content = match format {
        ContentFormat::OpenAi => parts.iter().map(Part::value).collect(),
        ContentFormat::String => joined(&parts),
    };
    if role.as_str() == Some("tool") && texts_only {
        // Most templates expect no list there, whatever they expect elsewhere.
        content = joined(&parts);
    }
    let mut pairs: Vec<(&str, Value)> = vec![("role", role.clone()), ("content", content)];
    by_role(raw, role.as_str().unwrap_or_default(), &mut pairs);
    for key in ["name", "task"] {
        if let Some(text) = present(raw, key).filter(|text| text.as_str().is_some()) {
            pairs.push((key, text));
        }
    }
    Some(Message { value: dict(pairs), before_media })
}

/// What belongs to a message of that role besides its content.
fn by_role(raw: &Value, role: &str, pairs: &mut Vec<(&str, Value)>) {
    match role {
        "assistant" => {
            if let Some(calls) = present(raw, "tool_calls").and_then(|calls| tool_calls(&calls)) {
                pairs.push(("tool_calls", calls));
            }
            if let Some(reasoning) = present(raw, "reasoning").or_else(|| present(raw, "reasoning_content")) {
                // Both names, for templates of either age.
                pairs.push(("reasoning", reasoning.clone()));
                pairs.push(("reasoning_content", reasoning));
            }
        }
        "tool" => {
            let id = get(raw, "tool_call_id");
            if !id.is_undefined() {
                pairs.push(("tool_call_id", id));
            }
        }
        "developer" => {
            let tools = present(raw, "tools").unwrap_or_else(|| Value::from(()));
            pairs.push(("tools", tools));
        }
        _ => {}
    }
}

/// A content's parts; a string is one text. `None` if one of them cannot be read.
fn parts(content: &Value) -> Option<Vec<Part>> {
    match content.kind() {
        ValueKind::String => Some(vec![Part::plain(content.clone())]),
        ValueKind::Seq => content
            .try_iter()
            .ok()?
            .map(|raw| part(&raw))
            .filter(|part| part != &Some(Part::Skipped))
            .collect(),
        _ => Some(Vec::new()),
    }
}

/// Claude Code heads its system prompts with a line that changes with every request; vLLM takes it away, so that
/// prompts have a prefix in common (`_strip_claude_code_billing_header`).
fn without_billing_header(part: Part) -> Option<Part> {
    let text = part.text().and_then(Value::as_str).unwrap_or_default();
    if !text.starts_with("x-anthropic-billing-header") {
        return Some(part);
    }
    let rest = text.split_once('\n').map_or("", |(_, rest)| rest);
    let rest = (!rest.is_empty()).then(|| Value::from(rest));
    rest.map(|rest| part.with_text(rest))
}

fn mark(parts: &mut [Part], media: usize, index: usize, view: View) {
    if let View::TextsMarked(at) | View::AllMarked(at) = view
        && at == index
    {
        for part in &mut parts[..media] {
            *part = part.clone().with_text(Value::from(MARK));
        }
    }
    if let View::AllMarked(_) = view {
        for part in parts.iter_mut().filter(|part| matches!(part, Part::Media { .. })) {
            *part = Part::plain(Value::from(MARK));
        }
    }
}

/// The parts as one string: vLLM puts the placeholders of media before the texts, for which [`MARK`] stands.
fn joined(parts: &[Part]) -> Value {
    let media = parts.iter().any(|part| matches!(part, Part::Media { .. }));
    let mut texts = parts.iter().filter_map(Part::text);
    if !media && let (Some(only), None) = (texts.next(), texts.next()) {
        return only.clone();
    }
    let texts = parts.iter().filter_map(|part| part.text()?.as_str());
    Value::from(media.then_some(MARK).into_iter().chain(texts).collect::<Vec<_>>().join("\n"))
}
