//! The tokens of an answer, as the engine that gave it holds them.

use crate::answer::AnswerText;
use crate::request::BodyKind;
use crate::tokenizer::Tokenizer;

/// The prompt's tokens, and behind them those of the answer's text as far as they are known for certain.
pub(super) fn tokens(
    tokenizer: Option<&Tokenizer>,
    prompt: &[u32],
    kind: BodyKind,
    answer: &AnswerText,
) -> Vec<u32> {
    let mut tokens = prompt.to_vec();
    if let Some(ids) = &answer.ids {
        // The last one was sampled and never went through the model.
        tokens.extend_from_slice(&ids[..ids.len().saturating_sub(1)]);
        return tokens;
    }
    let generated = tokenizer.and_then(|tokenizer| generated(tokenizer, prompt, kind, answer));
    tokens.extend_from_slice(generated.as_deref().unwrap_or_default());
    tokens
}

fn generated(tokenizer: &Tokenizer, prompt: &[u32], kind: BodyKind, answer: &AnswerText) -> Option<Vec<u32>> {
    let text = match kind {
        BodyKind::Chat => with_marks(tokenizer, prompt, answer)?,
        _ => answer.parts.iter().map(|part| part.text.as_str()).collect(),
    };
    let mut tokens = tokenizer.encode(&text, false).ok()?;
    if answer.limited {
        tokens.pop();
    }
    Some(tokens)
}

/// The text with the marks around its reasoning that engines take away; `None` if they are not known.
fn with_marks(tokenizer: &Tokenizer, prompt: &[u32], answer: &AnswerText) -> Option<String> {
    let id = |mark: &str| match tokenizer.encode(mark, false).ok()?[..] {
        [id] => Some(id),
        _ => None,
    };
    let (open, close) = (id("<think>"), id("</think>"));
    let last_mark = prompt.iter().rev().find(|&&token| Some(token) == open || Some(token) == close);
    let mut inside = open.is_some() && last_mark.copied() == open;
    let mut text = String::new();
    for part in &answer.parts {
        if part.reasoning != inside {
            if open.is_none() || close.is_none() {
                return None;
            }
            text.push_str(if inside { "</think>" } else { "<think>" });
            inside = !inside;
        }
        text.push_str(&part.text);
    }
    Some(text)
}
