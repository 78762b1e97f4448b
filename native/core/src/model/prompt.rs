//! What a request's prompt is known as.

use super::Shape;

/// What the prefix cache of a pod is asked about: tokens first, then text.
///
/// The blocks of the prompt are the full blocks of `tokens`, and behind them, in the same chain, the blocks of `text`. A
/// last block of tokens that is not full is dropped, as everywhere; where `text` follows tokens, it begins with a hash of
/// all of them, so that prompts that differ in the dropped ones differ in the text.
///
/// - All text (`exact`): `tokens` is everything the engine sees, `text` is empty.
/// - A chat with images: `tokens` is what precedes the first one, `text` the rest.
/// - No tokenizer, or a shape that is not trusted: `tokens` is empty, `text` is the whole request.
///
/// Turn n + 1 of a conversation extends turn n in the same way: its `tokens` are those of turn n and perhaps more (none
/// more where turn n ended in text), and where turn n has text, turn n + 1 has the same `tokens` and its text begins
/// with that of turn n.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    /// Ids that the engine's prompt begins with; of a batch, those of its first prompt.
    pub tokens: Vec<u32>,
    /// Whether `tokens` is the whole prompt.
    pub exact: bool,
    /// The canonical bytes of what follows `tokens`, to hash in their place. Empty where `exact` is true.
    pub text: Vec<u8>,
    /// Tokens of the whole request, all prompts of a batch included; an estimate where `exact` is false.
    pub total_tokens: u32,
    /// The form of the request.
    pub shape: Shape,
}
