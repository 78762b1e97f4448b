//! What each kind of body must have, and of which type: as lenient as the engines are, strict where every engine
//! would refuse and the router needs the value.

use super::extras::Extras;
use super::field::{BodyKind, FIELD_COUNT, Field, Spans};
use super::json::{Shape, kind};
use super::scan::{ScanCode, ScanFault};

type Shapes = [Shape; FIELD_COUNT];

/// Checks the fields found against the rules of the kind, in the order of `FIELDS`; missing fields come first.
pub(super) fn check(body: &[u8], kind: BodyKind, spans: &Spans, shapes: &Shapes) -> Result<(), ScanFault> {
    if let Some(field) = missing(body, kind, spans) {
        return Err(ScanFault { code: ScanCode::MissingField, offset: 0, field: Some(field) });
    }
    for field in Field::ALL {
        let shape = &shapes[field as usize];
        if let Some(raw) = field.slice(body, spans)
            && !fits(field, kind, shape, raw)
        {
            let offset = spans[field as usize * 2];
            return Err(ScanFault { code: ScanCode::WrongType, offset, field: Some(field) });
        }
    }
    Ok(())
}

fn missing(body: &[u8], kind: BodyKind, spans: &Spans) -> Option<Field> {
    let absent = |field: Field| spans[field as usize * 2 + 1] == 0;
    if absent(Field::Model) && kind != BodyKind::Other {
        return Some(Field::Model);
    }
    let required = match kind {
        BodyKind::Chat | BodyKind::Messages => Field::Messages,
        // Tensors may stand for the prompt (vLLM's `prompt_embeds`).
        BodyKind::Completions if absent(Field::Prompt) && Extras::of(body, spans).prompt_embeds.is_some() => {
            return None;
        }
        BodyKind::Completions => Field::Prompt,
        // vLLM embeds chats too: `messages` in place of `input`.
        BodyKind::Embeddings if absent(Field::Messages) => Field::Input,
        // A stored prompt (`prompt: {id}`) may stand for the input.
        BodyKind::Responses if absent(Field::Prompt) => Field::Input,
        BodyKind::Embeddings | BodyKind::Responses | BodyKind::Other => return None,
    };
    absent(required).then_some(required)
}

/// Is the value of a type that the field may have? Null never comes here.
fn fits(field: Field, body: BodyKind, shape: &Shape, raw: &[u8]) -> bool {
    let is = |kinds: u8| shape[0] & !kinds == 0;
    if body == BodyKind::Other {
        return match field {
            Field::Model => is(kind::STRING),
            Field::Stream => is(kind::BOOL),
            _ => true,
        };
    }
    match field {
        Field::Model
        | Field::User
        | Field::SessionId
        | Field::PromptCacheKey
        | Field::PreviousResponseId
        | Field::CacheSalt
        | Field::UserId => is(kind::STRING),
        Field::Messages => is(kind::ARRAY) && shape[1] == kind::OBJECT,
        Field::Prompt => body != BodyKind::Completions || prompt_fits(shape),
        Field::Input | Field::System | Field::Instructions => is(kind::STRING | kind::ARRAY),
        Field::Stream
        | Field::AddGenerationPrompt
        | Field::ContinueFinalMessage
        | Field::AddSpecialTokens => is(kind::BOOL),
        Field::N => is(kind::INT) && positive(raw),
        Field::MaxTokens => is(kind::INT),
        Field::Tools | Field::Documents => is(kind::ARRAY),
        Field::ChatTemplateKwargs | Field::SessionParams => is(kind::OBJECT),
    }
}

/// A string, strings, token ids, or arrays of token ids. An empty array is left to the engine to refuse.
fn prompt_fits(shape: &Shape) -> bool {
    match *shape {
        [kind::STRING, ..] => true,
        [kind::ARRAY, elements, inner] => match elements {
            0 | kind::STRING | kind::INT => true,
            kind::ARRAY => inner & !kind::INT == 0,
            _ => false,
        },
        _ => false,
    }
}

/// A JSON integer above 0.
fn positive(raw: &[u8]) -> bool {
    raw.first() != Some(&b'-') && raw.iter().any(|&digit| digit != b'0')
}
