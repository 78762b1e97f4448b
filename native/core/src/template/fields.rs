//! The fields of a request that decide what its chat renders to.

use crate::request::{Extras, Field, Spans};

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
    /// A string, and a variable of the template.
    pub reasoning_effort: Option<&'a [u8]>,
    /// Whether the prompt ends where the assistant's answer begins. True by default.
    pub add_generation_prompt: bool,
    /// Whether the last message is left open for the engine to go on with.
    pub continue_final_message: bool,
}

impl<'a> ChatFields<'a> {
    /// The fields of a scanned body; `None` if it has no messages.
    pub fn of(body: &'a [u8], spans: &Spans) -> Option<Self> {
        Self::with(body, spans, &Extras::of(body, spans))
    }

    /// [`of`](Self::of), where the body's other members are known already.
    pub fn with(body: &'a [u8], spans: &Spans, extras: &Extras<'a>) -> Option<Self> {
        let flag = |field: Field| field.slice(body, spans).map(|raw| raw == b"true");
        let continue_final_message = flag(Field::ContinueFinalMessage).unwrap_or(false);
        Some(ChatFields {
            messages: Field::Messages.slice(body, spans)?,
            tools: Field::Tools.slice(body, spans),
            documents: Field::Documents.slice(body, spans),
            chat_template_kwargs: Field::ChatTemplateKwargs.slice(body, spans),
            reasoning_effort: extras.reasoning_effort,
            // The two exclude each other. vLLM refuses a request that leaves the default of the one standing beside
            // the other; SGLang takes it. Whether to refuse is the engine's to say.
            add_generation_prompt: flag(Field::AddGenerationPrompt).unwrap_or(true)
                && !continue_final_message,
            continue_final_message,
        })
    }
}
