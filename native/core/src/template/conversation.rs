//! From a chat request's fields to the variables of its template, as vLLM 0.32 prepares them
//! (vllm/renderers/chat_utils.py: `parse_chat_messages`; vllm/entrypoints/openai/chat_completion/protocol.py:
//! `build_chat_params`; vllm/renderers/hf.py: `safe_apply_chat_template`).

use super::TemplateError;
use super::content_format::ContentFormat;
use super::fields::ChatFields;
use super::message::{View, message};
use super::tools::dumped_tools;
use super::value::{self, get, with};
use minijinja::Value;

pub(super) type Variables = Vec<(Value, Value)>;

/// What the template needs, and what is known of the messages' media.
pub(super) struct Conversation {
    pub variables: Variables,
    /// Number of the first message with a medium, and its texts before that.
    pub media: Option<(usize, Vec<Value>)>,
}

/// What of a template decides how its messages are prepared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wants {
    pub format: ContentFormat,
    /// Knows the role `developer`.
    pub developer: bool,
}

/// The template's variables; `None` if a message cannot be read.
pub(super) fn conversation(
    chat: &ChatFields<'_>,
    wants: Wants,
    view: View,
) -> Result<Option<Conversation>, TemplateError> {
    let parse = |raw: Option<&[u8]>, name: &str| match raw {
        None => Ok(Value::from(())),
        Some(raw) => {
            value::parse(raw).ok_or_else(|| TemplateError::BadRequest(format!("{name} is not JSON")))
        }
    };
    let mut messages = Vec::new();
    let mut media = None;
    for (index, raw) in parse(Some(chat.messages), "messages")?.try_iter().into_iter().flatten().enumerate() {
        let Some(message) = message(&raw, index, wants.format, view) else { return Ok(None) };
        messages.push(message.value);
        media = media.or(message.before_media.map(|texts| (index, texts)));
    }
    if !wants.developer {
        messages = without_developers(messages);
    }
    let tools = parse(chat.tools, "tools")?;
    let mut variables: Variables = vec![
        ("messages".into(), Value::from(messages)),
        ("tools".into(), if tools.is_none() { tools } else { dumped_tools(&tools) }),
        ("documents".into(), Value::from(())),
    ];
    variables.extend(kwargs(&parse(chat.chat_template_kwargs, "chat_template_kwargs")?));
    // Later pairs win: fields of the request stand above its kwargs, as in vLLM's merge.
    variables.push(("add_generation_prompt".into(), chat.add_generation_prompt.into()));
    if chat.documents.is_some() {
        variables.push(("documents".into(), parse(chat.documents, "documents")?));
    }
    if chat.reasoning_effort.is_some() {
        effort(parse(chat.reasoning_effort, "reasoning_effort")?, &mut variables);
    }
    Ok(Some(Conversation { variables, media }))
}

/// The request's own variables. Null and "auto" stand for "not set" in vLLM (`merge_kwargs`), and what names the
/// arguments of `apply_chat_template` itself is no variable.
fn kwargs(kwargs: &Value) -> impl Iterator<Item = (Value, Value)> {
    let taken = ["messages", "conversation", "chat_template", "tokenize", "continue_final_message"];
    value::pairs(kwargs).into_iter().flatten().filter(move |(name, value)| {
        !value.is_none()
            && value.as_str() != Some("auto")
            && !name.as_str().is_some_and(|name| taken.contains(&name))
    })
}

/// `reasoning_effort` is a variable, and switches thinking on or off in templates that know it by that name alone.
fn effort(effort: Value, variables: &mut Variables) {
    if !variables.iter().any(|(name, _)| name.as_str() == Some("enable_thinking")) {
        variables.push(("enable_thinking".into(), (effort.as_str() != Some("none")).into()));
    }
    variables.push(("reasoning_effort".into(), effort));
}

/// For templates that do not know developers: their messages become system messages, and all system messages one at
/// the beginning, where it must stand for many templates.
fn without_developers(mut messages: Vec<Value>) -> Vec<Value> {
    let role = |message: &Value| get(message, "role");
    if !messages.iter().any(|message| role(message).as_str() == Some("developer")) {
        return messages;
    }
    for message in messages.iter_mut().filter(|message| role(message).as_str() == Some("developer")) {
        *message = value::without(&with(message, "role", Value::from("system")), "tools");
    }
    let is_system = |message: &Value| role(message).as_str() == Some("system");
    if !messages.iter().skip(1).any(is_system) {
        return messages;
    }
    let (system, others): (Vec<_>, Vec<_>) = messages.into_iter().partition(is_system);
    let texts: Vec<String> = system.iter().map(|message| text_of(&get(message, "content"))).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
    let merged = [("role", Value::from("system")), ("content", Value::from(texts.join("\n\n")))];
    std::iter::once(super::dict::dict(merged)).chain(others).collect()
}

fn text_of(content: &Value) -> String {
    match content.as_str() {
        Some(text) => text.to_owned(),
        None => {
            let parts = content.try_iter().into_iter().flatten();
            let texts = parts.filter_map(|part| get(&part, "text").as_str().map(str::to_owned));
            texts.collect::<Vec<_>>().join("\n")
        }
    }
}

/// Appends `tag` to the last message's text, and answers that text.
pub(super) fn tag_final_message(variables: &mut Variables, tag: &str) -> Result<String, TemplateError> {
    let nothing =
        || TemplateError::BadRequest("continue_final_message needs a final message with text".to_owned());
    let messages = variables.iter_mut().find(|(name, _)| name.as_str() == Some("messages"));
    let (_, messages) = messages.ok_or_else(nothing)?;
    let mut all: Vec<Value> = messages.try_iter().map_err(|_| nothing())?.collect();
    let last = all.pop().ok_or_else(nothing)?;
    let content = get(&last, "content");
    let (text, tagged) = match content.as_str() {
        Some(text) => (text.to_owned(), Value::from(format!("{text}{tag}"))),
        None => {
            let mut parts: Vec<Value> = content.try_iter().map_err(|_| nothing())?.collect();
            let part = parts.iter_mut().rev().find(|part| get(part, "text").as_str().is_some());
            let part = part.ok_or_else(nothing)?;
            let text = get(part, "text").as_str().unwrap_or_default().to_owned();
            *part = with(part, "text", Value::from(format!("{text}{tag}")));
            (text, Value::from(parts))
        }
    };
    all.push(with(&last, "content", tagged));
    *messages = Value::from(all);
    Ok(text)
}
