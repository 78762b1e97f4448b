//! The fields of a request body, the kinds of bodies, and the layout of their spans.

/// Fields that [`scan`](super::scan()) finds, in the order of their spans. The same list is `FIELDS` in
/// `src/data/native.ts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
#[allow(missing_docs)] // each variant is the field of that name
pub enum Field {
    Model,
    Messages,
    Prompt,
    Input,
    Stream,
    N,
    User,
    SessionId,
    SessionParams,
    PromptCacheKey,
    PreviousResponseId,
    Tools,
    System,
    Instructions,
    MaxTokens,
    AddGenerationPrompt,
    ContinueFinalMessage,
    ChatTemplateKwargs,
    Documents,
    CacheSalt,
    AddSpecialTokens,
    UserId,
}

/// How many fields there are.
pub const FIELD_COUNT: usize = 22;

/// `[offset, length]` of each field's raw JSON value in the body; length 0 = absent (or null, which is the same to
/// every engine). Layout of the caller's `Uint32Array`.
pub type Spans = [u32; FIELD_COUNT * 2];

impl Field {
    /// All fields, by index.
    pub const ALL: [Field; FIELD_COUNT] = [
        Field::Model,
        Field::Messages,
        Field::Prompt,
        Field::Input,
        Field::Stream,
        Field::N,
        Field::User,
        Field::SessionId,
        Field::SessionParams,
        Field::PromptCacheKey,
        Field::PreviousResponseId,
        Field::Tools,
        Field::System,
        Field::Instructions,
        Field::MaxTokens,
        Field::AddGenerationPrompt,
        Field::ContinueFinalMessage,
        Field::ChatTemplateKwargs,
        Field::Documents,
        Field::CacheSalt,
        Field::AddSpecialTokens,
        Field::UserId,
    ];

    /// The field's key in the body.
    pub const fn name(self) -> &'static str {
        match self {
            Field::Model => "model",
            Field::Messages => "messages",
            Field::Prompt => "prompt",
            Field::Input => "input",
            Field::Stream => "stream",
            Field::N => "n",
            Field::User => "user",
            Field::SessionId => "session_id",
            Field::SessionParams => "session_params",
            Field::PromptCacheKey => "prompt_cache_key",
            Field::PreviousResponseId => "previous_response_id",
            Field::Tools => "tools",
            Field::System => "system",
            Field::Instructions => "instructions",
            Field::MaxTokens => "max_tokens",
            Field::AddGenerationPrompt => "add_generation_prompt",
            Field::ContinueFinalMessage => "continue_final_message",
            Field::ChatTemplateKwargs => "chat_template_kwargs",
            Field::Documents => "documents",
            Field::CacheSalt => "cache_salt",
            Field::AddSpecialTokens => "add_special_tokens",
            Field::UserId => "user_id",
        }
    }

    /// The field with that (unescaped) key. A linear search over 22 names costs less than hashing would: most keys
    /// fail on the length alone.
    pub fn from_name(name: &[u8]) -> Option<Field> {
        Field::ALL.into_iter().find(|field| field.name().as_bytes() == name)
    }

    /// The raw JSON of the field's value, or `None` if it is absent, null or the span does not lie in the body.
    pub fn slice<'a>(self, body: &'a [u8], spans: &Spans) -> Option<&'a [u8]> {
        let (offset, length) = (spans[self as usize * 2] as usize, spans[self as usize * 2 + 1] as usize);
        if length == 0 { None } else { body.get(offset..offset.checked_add(length)?) }
    }
}

/// Which shape a body has. The same list is `BODY_KINDS` in `src/data/native.ts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// `/v1/chat/completions`
    Chat,
    /// `/v1/completions`
    Completions,
    /// `/v1/embeddings`
    Embeddings,
    /// `/v1/responses`
    Responses,
    /// `/v1/messages` (Anthropic)
    Messages,
    /// Any other inference path: only its model and stream flag are looked at.
    Other,
}

impl BodyKind {
    /// The kind of an index in `BODY_KINDS`; unknown numbers are [`BodyKind::Other`].
    pub const fn from_index(index: u32) -> BodyKind {
        match index {
            0 => BodyKind::Chat,
            1 => BodyKind::Completions,
            2 => BodyKind::Embeddings,
            3 => BodyKind::Responses,
            4 => BodyKind::Messages,
            _ => BodyKind::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_stands_at_its_index_and_is_found_by_its_name() {
        for (index, field) in Field::ALL.into_iter().enumerate() {
            assert_eq!(field as usize, index);
            assert_eq!(Field::from_name(field.name().as_bytes()), Some(field));
        }
        assert_eq!(Field::from_name(b"models"), None);
    }

    #[test]
    fn the_list_is_the_one_of_native_ts() {
        let contract = include_str!("../../../../src/data/native.ts");
        let list =
            contract.split("FIELDS = [").nth(1).and_then(|rest| rest.split(']').next()).expect("FIELDS");
        let names: Vec<&str> = list
            .split(',')
            .map(|name| name.trim().trim_matches('\''))
            .filter(|name| !name.is_empty())
            .collect();
        assert_eq!(names, Field::ALL.map(Field::name));
    }

    #[test]
    fn a_span_outside_the_body_is_no_value() {
        let mut spans = [0; FIELD_COUNT * 2];
        spans[0] = u32::MAX;
        spans[1] = u32::MAX;
        assert_eq!(Field::Model.slice(b"{}", &spans), None);
    }
}
