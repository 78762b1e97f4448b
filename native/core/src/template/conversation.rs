//! From a chat request's fields to the variables of its template, as vLLM prepares them
//! (vllm/entrypoints/chat_utils.py: `parse_chat_messages`, `_postprocess_messages`).

use super::TemplateError;
use super::content_format::ContentFormat;
use super::dict::dict;
use super::tools::{dumped_tools, tool_calls};
use super::value::{self, get, present, with};
use crate::request::{Field, Spans};
use minijinja::Value;
use minijinja::value::ValueKind;

/// The raw JSON of the fields that decide what a chat renders to.
#[derive(Debug, Clone, Copy)]
pub struct ChatFields<'a> {
    /// An array of messages.
    pub messages: &'a [u8],
    /// An array of tools.
    pub tools: Option<&'a [u8]>,
    /// An array of documents, for retrieval templates.
    pub documents: Option<&'a [u8]>,
    /// An object whose members become variables of the template.
    pub chat_template_kwargs: Option<&'a [u8]>,
    /// Whether the prompt ends where the assistant's answer begins. True by default.
    pub add_generation_prompt: bool,
    /// Whether the last message is left open for the engine to go on with.
    pub continue_final_message: bool,
}

impl<'a> ChatFields<'a> {
    /// The fields of a scanned body; `None` if it has no messages.
    pub fn of(body: &'a [u8], spans: &Spans) -> Option<Self> {
        let flag = |field: Field| field.slice(body, spans).map(|raw| raw == b"true");
        let continue_final_message = flag(Field::ContinueFinalMessage).unwrap_or(false);
        Some(ChatFields {
            messages: Field::Messages.slice(body, spans)?,
            tools: Field::Tools.slice(body, spans),
            documents: Field::Documents.slice(body, spans),
            chat_template_kwargs: Field::ChatTemplateKwargs.slice(body, spans),
            // The two exclude each other. vLLM refuses a request that leaves the default of the one standing beside
            // the other; SGLang takes it. Whether to refuse is the engine's to say.
            add_generation_prompt: flag(Field::AddGenerationPrompt).unwrap_or(true)
                && !continue_final_message,
            continue_final_message,
        })
    }
}

pub(super) type Variables = Vec<(Value, Value)>;

/// The template's variables; `None` if a message holds something other than text.
pub(super) fn variables(
    chat: &ChatFields<'_>,
    format: ContentFormat,
) -> Result<Option<Variables>, TemplateError> {
    let parse = |raw: Option<&[u8]>, name: &str| match raw {
        None => Ok(Value::from(())),
        Some(raw) => {
            value::parse(raw).ok_or_else(|| TemplateError::BadRequest(format!("{name} is not JSON")))
        }
    };
    let tools = parse(chat.tools, "tools")?;
    let mut conversation = Vec::new();
    for message in parse(Some(chat.messages), "messages")?.try_iter().into_iter().flatten() {
        match conversation_message(&message, format) {
            Some(message) => conversation.push(message),
            None => return Ok(None),
        }
    }
    let mut variables: Variables = vec![
        ("messages".into(), Value::from(conversation)),
        ("tools".into(), if tools.is_none() { tools } else { dumped_tools(&tools) }),
        ("documents".into(), parse(chat.documents, "documents")?),
        ("add_generation_prompt".into(), chat.add_generation_prompt.into()),
    ];
    // Later pairs win: the request's kwargs stand above the defaults, as in vLLM's merge.
    if let Some(kwargs) = value::pairs(&parse(chat.chat_template_kwargs, "chat_template_kwargs")?) {
        variables.extend(kwargs);
    }
    Ok(Some(variables))
}

/// Appends `tag` to the last message's text.
pub(super) fn tag_final_message(variables: &mut Variables, tag: &str) -> Result<(), TemplateError> {
    let nothing =
        || TemplateError::BadRequest("continue_final_message needs a final message with text".to_owned());
    let messages = variables.iter_mut().find(|(name, _)| name.as_str() == Some("messages"));
    let (_, messages) = messages.ok_or_else(nothing)?;
    let mut all: Vec<Value> = messages.try_iter().map_err(|_| nothing())?.collect();
    let last = all.pop().ok_or_else(nothing)?;
    let content = get(&last, "content");
    let tagged = match content.as_str() {
        Some(text) => Value::from(format!("{text}{tag}")),
        None => {
            let mut parts: Vec<Value> = content.try_iter().map_err(|_| nothing())?.collect();
            let part = parts.iter_mut().rev().find(|part| get(part, "text").as_str().is_some());
            let part = part.ok_or_else(nothing)?;
            *part = with(part, "text", Value::from(format!("{}{tag}", get(part, "text"))));
            Value::from(parts)
        }
    };
    all.push(with(&last, "content", tagged));
    *messages = Value::from(all);
    Ok(())
}

/// One message as vLLM hands it to the template: role, content and, by role, what belongs to it. Everything else a
/// client may have put there is dropped, since templates that dump whole messages would show it.
fn conversation_message(message: &Value, format: ContentFormat) -> Option<Value> {
    let role = get(message, "role");
    let content = content(&get(message, "content"), format)?;
    let mut pairs: Vec<(&str, Value)> = vec![("role", role.clone()), ("content", content)];
    match role.as_str() {
        Some("assistant") => {
            if let Some(calls) = present(message, "tool_calls").and_then(|calls| tool_calls(&calls)) {
                pairs.push(("tool_calls", calls));
            }
            let reasoning = present(message, "reasoning").or_else(|| present(message, "reasoning_content"));
            if let Some(reasoning) = reasoning {
                // Both names, for templates of either age.
                pairs.push(("reasoning", reasoning.clone()));
                pairs.push(("reasoning_content", reasoning));
            }
        }
        Some("tool") => {
            let id = get(message, "tool_call_id");
            if !id.is_undefined() {
                pairs.push(("tool_call_id", id));
            }
            pairs[1].1 = flattened(&pairs[1].1);
        }
        Some("developer") => {
            let tools = present(message, "tools").unwrap_or_else(|| Value::from(()));
            pairs.push(("tools", tools));
        }
        _ => {}
    }
    for key in ["name", "task"] {
        if let Some(text) = present(message, key).filter(|text| text.as_str().is_some()) {
            pairs.push((key, text));
        }
    }
    Some(dict(pairs))
}

/// A content in the template's format; `None` if it has a part that is not text.
fn content(content: &Value, format: ContentFormat) -> Option<Value> {
    let texts: Vec<Value> = match content.kind() {
        ValueKind::String => vec![content.clone()],
        ValueKind::Seq => {
            let mut texts = Vec::new();
            for part in content.try_iter().ok()? {
                match part_text(&part) {
                    Part::Text(text) => texts.push(text),
                    Part::Skipped => {}
                    Part::Media => return None,
                }
            }
            texts
        }
        _ => Vec::new(),
    };
    Some(match format {
        ContentFormat::OpenAi => {
            texts.into_iter().map(|text| dict([("type", Value::from("text")), ("text", text)])).collect()
        }
        ContentFormat::String => match <[Value; 1]>::try_from(texts) {
            Ok([text]) => text,
            Err(texts) => Value::from(join_lines(texts.iter())),
        },
    })
}

enum Part {
    Text(Value),
    Skipped,
    Media,
}

fn part_text(part: &Value) -> Part {
    if part.as_str().is_some() {
        return Part::Text(part.clone());
    }
    let kind = get(part, "type");
    let key = match kind.as_str() {
        Some("text" | "input_text" | "output_text") => "text",
        Some("refusal") => "refusal",
        Some("thinking") => "thinking",
        _ => return Part::Media,
    };
    match present(part, key) {
        Some(text) if text.as_str().is_some() => Part::Text(text),
        Some(_) => Part::Media,
        None => Part::Skipped,
    }
}

/// A tool message's text parts as one string: most templates expect no list there, whatever they expect elsewhere.
fn flattened(content: &Value) -> Value {
    if content.as_str().is_some() {
        return content.clone();
    }
    let texts: Vec<Value> = content.try_iter().into_iter().flatten().map(|part| get(&part, "text")).collect();
    Value::from(join_lines(texts.iter()))
}

fn join_lines<'a>(texts: impl Iterator<Item = &'a Value>) -> String {
    texts.map(|text| text.as_str().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}
