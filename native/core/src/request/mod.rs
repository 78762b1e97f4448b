//! Finding fields in a request body without building a tree.

/// Fields that [`scan`] finds, in the order of their spans. The same list is `FIELDS` in `src/data/native.ts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
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

/// `[offset, length]` of each field's raw JSON value in the body; length 0 = absent. Layout of the caller's `Uint32Array`.
pub type Spans = [u32; FIELD_COUNT * 2];

/// Which shape a body has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    Chat,
    Completions,
    Embeddings,
    Responses,
    Messages,
    Other,
}
