//! What a model has said: from the bytes of an answer's body to the text that was generated.
//!
//! A pod whose events nobody sees is believed to hold the blocks of a prompt and of its answer, so that the
//! conversation's next turn finds it. Answers are read once they are over, off the way of the bytes, and as far as they
//! can be read: whatever is broken, cut off or not known ends the text, and what came before it is right all the same.

mod chunk;
mod lines;

use crate::request::BodyKind;
use lines::Lines;

/// Bytes of generated text that are kept: 250,000 tokens, more than engines let an answer have. What comes later is
/// left out.
pub const MAX_TEXT_BYTES: usize = 1 << 20;

/// A stretch of generated text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerPart {
    /// Whether the engine told it as reasoning, and the marks around it are therefore not in the text.
    pub reasoning: bool,
    /// The text.
    pub text: String,
}

/// What the model generated for a request's first choice, as far as the answer tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerText {
    /// Reasoning and content in the order in which they were generated; neighbours are of different kinds.
    pub parts: Vec<AnswerPart>,
    /// The ids of all that was generated, where the engine told them (`return_token_ids`), tool calls included.
    pub ids: Option<Vec<u32>>,
    /// Whether more was generated than `parts` tells: a tool call, or what could not be read.
    pub cut: bool,
    /// Whether the limit of tokens ended it: the last token was then sampled and never went through the model, so that
    /// its keys and values are in no cache. (Where a stop token ended it, that one did not.)
    pub limited: bool,
}

/// Reads the body of an answer, given in pieces: an event stream (`events`), or one JSON document. `None` where no text
/// is known: another kind of body, an error, a tool call from the first token on.
pub fn answer_text(kind: BodyKind, events: bool, pieces: &[&[u8]]) -> Option<AnswerText> {
    let mut answer = Reading::default();
    match kind {
        // Of these, prompts are known as tokens; answers to all others have nothing to follow.
        BodyKind::Chat | BodyKind::Completions if events => {
            let mut lines = Lines::new(pieces);
            while let Some(line) = lines.next() {
                if !event(line, &mut answer) {
                    break;
                }
            }
            answer.text.cut |= lines.overlong();
        }
        BodyKind::Chat | BodyKind::Completions => {
            let body = pieces.concat();
            chunk::read(&body, &mut answer);
        }
        _ => return None,
    }
    answer.finish()
}

/// Takes in a line of an event stream; false if nothing behind it counts.
fn event(line: &[u8], answer: &mut Reading) -> bool {
    // Other fields (event, id, retry) and comments, which start with a colon, say nothing of the text.
    let Some(data) = line.strip_prefix(b"data:") else { return true };
    let data = data.trim_ascii();
    data != b"[DONE]" && chunk::read(data, answer)
}

/// An answer while it is being read.
#[derive(Default)]
struct Reading {
    text: AnswerText,
    bytes: usize,
    ids: Vec<u32>,
    /// A chunk with text came without ids.
    without_ids: bool,
}

impl Reading {
    /// Appends generated text; false if there is no room for more.
    fn push(&mut self, reasoning: bool, text: &str) -> bool {
        if text.is_empty() {
            return true;
        }
        self.bytes += text.len();
        if self.bytes > MAX_TEXT_BYTES {
            self.text.cut = true;
            return false;
        }
        match self.text.parts.last_mut() {
            Some(part) if part.reasoning == reasoning => part.text.push_str(text),
            _ => self.text.parts.push(AnswerPart { reasoning, text: text.to_owned() }),
        }
        true
    }

    fn finish(mut self) -> Option<AnswerText> {
        if !self.without_ids && !self.ids.is_empty() {
            self.text.ids = Some(self.ids);
        }
        (self.text.ids.is_some() || !self.text.parts.is_empty()).then_some(self.text)
    }
}

#[cfg(test)]
mod tests;
