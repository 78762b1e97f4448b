//! The tokens of an answer, as the engine that gave it holds them.
//!
//! Engines tell reasoning and content apart and take away the marks around both, and white space with them. What was
//! generated is put together again as the model's own template writes it, since that is the form the model has learned;
//! so the next turn of the conversation, where its template shows the answer, has the same tokens.

use crate::answer::AnswerText;
use crate::request::BodyKind;
use crate::template::{ChatFields, ChatTemplate, Rendered};
use crate::tokenizer::Tokenizer;
use std::time::Duration;

/// What stands around reasoning and content in what a model generates.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Begins reasoning.
    open: String,
    /// Ends reasoning.
    close: String,
    /// Begins an answer without reasoning, or what follows it.
    content: String,
    /// First token of `open` and last mark of `close`, by which a prompt tells whether reasoning has begun.
    marks: Option<(u32, u32)>,
}

/// Marks of reasoning that are tokens of their own, with the white space that models put around them where the template
/// does not show it (DeepSeek-R1, QwQ, Qwen3; Magistral; Seed-OSS; Kimi-VL).
const MARKS: [(&str, &str); 4] = [
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("◁think▷", "◁/think▷"),
];
const REASONING: &str = "phyllo-reasoning";
const CONTENT: &str = "phyllo-content";

impl Frame {
    /// What the template of the model shows.
    pub(super) fn of(tokenizer: &Tokenizer, template: Option<&ChatTemplate>) -> Frame {
        let id = |mark: &str| match tokenizer.encode(mark, false).ok()?[..] {
            [id] => Some(id),
            _ => None,
        };
        if ["<|channel|>", "<|message|>", "<|start|>", "<|end|>"].into_iter().all(|mark| id(mark).is_some()) {
            return Frame::harmony();
        }
        let rendered = |messages: &str, asking: bool| rendered(template?, messages, asking);
        let found = MARKS.iter().find_map(|(open, close)| Some((*open, *close, id(open)?, id(close)?)));
        let user = r#"{"role":"user","content":"u"}"#;
        let prompt = rendered(&format!("[{user}]"), true).unwrap_or_default();
        let reply = format!(r#"{{"role":"assistant","content":"{CONTENT}"}}"#);
        let content = rendered(&format!("[{user},{reply},{user}]"), true)
            .and_then(|text| Some(text[..text.find(CONTENT)?].strip_prefix(&*prompt)?.to_owned()))
            // White space the model generates itself; marks are taken away by the engine.
            .filter(|text| {
                tokenizer.encode(text, false).is_ok_and(|ids| ids.iter().any(|&id| tokenizer.is_added(id)))
            })
            .filter(|text| found.is_none_or(|(open, ..)| !text.contains(open)));
        let content = content.unwrap_or_default();
        let Some((open, close, open_id, close_id)) = found else {
            return Frame { open: String::new(), close: String::new(), content, marks: None };
        };
        let thought = format!(r#"{{"role":"assistant","content":"{CONTENT}","reasoning":"{REASONING}"}}"#);
        let shown = rendered(&format!("[{user},{thought}]"), false);
        let (open, close) = shown
            .and_then(|text| around(&text, open, close))
            .unwrap_or_else(|| (format!("{open}\n"), format!("\n{close}\n\n")));
        Frame { open, close, content, marks: Some((open_id, close_id)) }
    }

    /// gpt-oss: a channel for each, and a message's end between them.
    fn harmony() -> Frame {
        Frame {
            open: "<|channel|>analysis<|message|>".to_owned(),
            close: "<|end|><|start|>assistant".to_owned(),
            content: "<|channel|>final<|message|>".to_owned(),
            marks: None,
        }
    }

    /// Whether reasoning has begun in the prompt, and not ended.
    fn begun(&self, prompt: &[u32]) -> bool {
        let Some((open, close)) = self.marks else { return false };
        prompt.iter().rev().find(|&&id| id == open || id == close) == Some(&open)
    }

    /// The text that was generated, marks included; `None` if it is not known.
    fn generated(&self, prompt: &[u32], answer: &AnswerText) -> Option<String> {
        let begun = self.begun(prompt);
        let reasoned = answer.parts.iter().any(|part| part.reasoning);
        if reasoned && self.open.is_empty() {
            return None;
        }
        if begun && !reasoned {
            // Either the engine tells reasoning and content as one, or it keeps the reasoning to itself.
            let whole = answer.parts.first().is_some_and(|part| part.text.contains(self.close.trim()));
            return whole.then(|| answer.parts[0].text.clone());
        }
        let mut text = String::new();
        let mut inside = begun;
        for part in &answer.parts {
            match (part.reasoning, inside) {
                (true, false) => join(&mut text, &self.open),
                (false, true) => join(&mut text, &self.close),
                _ => {}
            }
            if !part.reasoning {
                join(&mut text, &self.content);
            }
            inside = part.reasoning;
            join(&mut text, &part.text);
        }
        Some(text)
    }
}

/// What stands before the reasoning, from its mark on, and between reasoning and content.
fn around(text: &str, open: &str, close: &str) -> Option<(String, String)> {
    let reasoning = text.find(REASONING)?;
    let opened = text[..reasoning].rfind(open)?;
    let behind = &text[reasoning + REASONING.len()..];
    let between = &behind[..behind.find(CONTENT)?];
    between.contains(close).then(|| (text[opened..reasoning].to_owned(), between.to_owned()))
}

fn rendered(template: &ChatTemplate, messages: &str, asking: bool) -> Option<String> {
    let chat = ChatFields {
        messages: messages.as_bytes(),
        tools: None,
        documents: None,
        chat_template_kwargs: None,
        reasoning_effort: None,
        add_generation_prompt: asking,
        continue_final_message: false,
    };
    match template.render_chat(&chat, Duration::ZERO).ok()?.0 {
        Rendered::Text(text) => Some(text),
        _ => None,
    }
}

/// Appends a text, without the white space at its beginning that stands at the end already: some engines tell the white
/// space around marks, and some do not.
fn join(text: &mut String, more: &str) {
    let space = &more[..more.len() - more.trim_start().len()];
    let known = (0..=space.len())
        .rev()
        .find(|&length| space.is_char_boundary(length) && text.ends_with(&space[..length]));
    text.push_str(&more[known.unwrap_or(0)..]);
}

/// The prompt's tokens, and behind them those of the answer as far as they are known.
pub(super) fn tokens<'a>(
    tokenizer: Option<&Tokenizer>,
    prompt: &[u32],
    kind: BodyKind,
    answer: &AnswerText,
    frame: impl FnOnce(&Tokenizer) -> &'a Frame,
) -> Vec<u32> {
    let mut tokens = prompt.to_vec();
    if let Some(ids) = &answer.ids {
        // The last one was sampled and never went through the model.
        tokens.extend_from_slice(&ids[..ids.len().saturating_sub(1)]);
        return tokens;
    }
    let generated = tokenizer.and_then(|tokenizer| {
        let text = match kind {
            BodyKind::Chat => frame(tokenizer).generated(prompt, answer)?,
            _ => answer.parts.iter().map(|part| part.text.as_str()).collect(),
        };
        let mut generated = tokenizer.encode(&text, false).ok()?;
        // What follows a text that was cut off (a call, most often) may be one token with its end.
        if answer.limited || answer.cut {
            generated.pop();
        }
        Some(generated)
    });
    let mut generated = generated.unwrap_or_default();
    if let Some(tokenizer) = tokenizer.filter(|_| kind == BodyKind::Completions) {
        without_echo(tokenizer, prompt, &mut generated);
    }
    tokens.append(&mut generated);
    tokens
}

/// Takes away the prompt where the answer repeats it (`echo`). What the tokenizer puts before a text is not repeated.
fn without_echo(tokenizer: &Tokenizer, prompt: &[u32], generated: &mut Vec<u32>) {
    let added = prompt.iter().take_while(|&&id| tokenizer.is_added(id)).count();
    let text = &prompt[added..];
    if !text.is_empty() && generated.starts_with(text) {
        generated.drain(..text.len());
    }
}
