//! Which form a request has, as far as that decides how its prompt is made.

use super::completion::prompts;
use crate::request::{BodyKind, Extras, Field, Spans};
use memchr::memmem;
use std::fmt::Write;

/// The form of a request: its kind, and each thing in it that has a way of its own into the prompt. Where the router's
/// count of tokens differs from the engine's, the fault lies with one of them, so trust is given and taken by shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shape(u16);

/// Bits that the kind takes.
const KIND_BITS: u16 = 3;
/// Everything but the kind, in the order in which a name tells it.
const PARTS: [(Shape, &str); 9] = [
    (Shape::TOOLS, "tools"),
    (Shape::MEDIA, "media"),
    (Shape::KWARGS, "kwargs"),
    (Shape::DOCUMENTS, "documents"),
    (Shape::REASONING, "reasoning"),
    (Shape::CONTINUED, "continued"),
    (Shape::TRUNCATED, "truncated"),
    (Shape::IDS, "ids"),
    (Shape::BATCH, "batch"),
];

impl Shape {
    /// How many shapes there can be; each [`index`](Self::index) is below it.
    pub const COUNT: usize = 1 << (KIND_BITS as usize + PARTS.len());
    /// Tools, or calls of them in a message.
    pub const TOOLS: Shape = Shape::part(0);
    /// Images, audio, video, files.
    pub const MEDIA: Shape = Shape::part(1);
    /// `chat_template_kwargs`, or a field that becomes one (`reasoning_effort`).
    pub const KWARGS: Shape = Shape::part(2);
    /// `documents`.
    pub const DOCUMENTS: Shape = Shape::part(3);
    /// Reasoning in a message.
    pub const REASONING: Shape = Shape::part(4);
    /// `continue_final_message`.
    pub const CONTINUED: Shape = Shape::part(5);
    /// `truncate_prompt_tokens`.
    pub const TRUNCATED: Shape = Shape::part(6);
    /// A prompt of token ids.
    pub const IDS: Shape = Shape::part(7);
    /// More than one prompt.
    pub const BATCH: Shape = Shape::part(8);

    const fn part(index: u16) -> Shape {
        Shape(1 << (KIND_BITS + index))
    }

    /// The plain shape of a kind.
    pub const fn of(kind: BodyKind) -> Shape {
        Shape(match kind {
            BodyKind::Chat => 0,
            BodyKind::Completions => 1,
            BodyKind::Embeddings => 2,
            BodyKind::Responses => 3,
            BodyKind::Messages => 4,
            BodyKind::Other => 5,
        })
    }

    /// The shape with that part, if `present`.
    #[must_use]
    pub const fn with(self, part: Shape, present: bool) -> Shape {
        if present { Shape(self.0 | part.0) } else { self }
    }

    /// Whether it has the part.
    pub const fn has(self, part: Shape) -> bool {
        self.0 & part.0 != 0
    }

    /// Its number, below [`COUNT`](Self::COUNT).
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Its name, for logs and metrics: `chat`, `chat+tools`, `completions+ids+batch`.
    pub fn name(self) -> String {
        let kind = self.0 & ((1 << KIND_BITS) - 1);
        let kind = ["chat", "completions", "embeddings", "responses", "messages", "other"].get(kind as usize);
        let mut name = (*kind.unwrap_or(&"other")).to_owned();
        for (part, word) in PARTS {
            if self.has(part) {
                let _ = write!(name, "+{word}");
            }
        }
        name
    }
}

/// The shape of a request, but for its media, which show when its messages are read. What messages hold is told by the
/// names that stand in them: one in the midst of a text costs no more than a place among other requests.
pub(super) fn of_body(kind: BodyKind, body: &[u8], spans: &Spans, extras: &Extras<'_>) -> Shape {
    let shape = Shape::of(kind);
    let field = |field: Field| field.slice(body, spans);
    match kind {
        BodyKind::Chat => {
            let messages = field(Field::Messages).unwrap_or_default();
            let named = |name: &str| memmem::find(messages, name.as_bytes()).is_some();
            let kwargs = field(Field::ChatTemplateKwargs).is_some() || extras.reasoning_effort.is_some();
            shape
                .with(Shape::TOOLS, field(Field::Tools).is_some() || named("\"tool_calls\""))
                .with(Shape::KWARGS, kwargs)
                .with(Shape::DOCUMENTS, field(Field::Documents).is_some())
                .with(Shape::REASONING, named("\"reasoning"))
                .with(Shape::CONTINUED, field(Field::ContinueFinalMessage) == Some(b"true"))
                .with(Shape::TRUNCATED, extras.truncate_prompt_tokens.is_some())
        }
        BodyKind::Completions => {
            let prompts = prompts(field(Field::Prompt).unwrap_or(b"\"\""));
            shape
                .with(Shape::TRUNCATED, extras.truncate_prompt_tokens.is_some())
                .with(Shape::IDS, prompts.first().is_some_and(|prompt| prompt.first() == Some(&b'[')))
                .with(Shape::BATCH, prompts.len() > 1)
        }
        _ => shape,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_the_kind_and_every_part_once() {
        let all = PARTS.iter().fold(Shape::of(BodyKind::Chat), |shape, (part, _)| shape.with(*part, true));
        assert_eq!(all.name(), "chat+tools+media+kwargs+documents+reasoning+continued+truncated+ids+batch");
        let batch = Shape::of(BodyKind::Completions).with(Shape::BATCH, true).with(Shape::IDS, false);
        assert_eq!(batch.name(), "completions+batch");
        assert_eq!(Shape::of(BodyKind::Other).name(), "other");
    }

    #[test]
    fn every_shape_has_an_index_and_a_name_of_its_own() {
        let kinds = [BodyKind::Chat, BodyKind::Completions, BodyKind::Embeddings, BodyKind::Responses];
        let mut seen = std::collections::HashSet::new();
        let mut names = std::collections::HashSet::new();
        for kind in kinds.into_iter().chain([BodyKind::Messages, BodyKind::Other]) {
            for bits in 0..1_u16 << PARTS.len() {
                let shape = PARTS.iter().enumerate().fold(Shape::of(kind), |shape, (index, (part, _))| {
                    shape.with(*part, bits >> index & 1 == 1)
                });
                assert!(shape.index() < Shape::COUNT);
                assert!(seen.insert(shape.index()) && names.insert(shape.name()));
            }
        }
    }
}
