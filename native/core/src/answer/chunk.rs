//! One JSON document of an answer: the whole of it, or a chunk of a stream.

use super::Reading;
use crate::request::{elements, members, unquote};

/// What a choice says, raw.
#[derive(Default)]
struct Choice<'a> {
    /// `delta` of a stream, `message` of a whole answer.
    message: Option<&'a [u8]>,
    /// Of a completion.
    text: Option<&'a [u8]>,
    finish: Option<&'a [u8]>,
    ids: Option<&'a [u8]>,
}

/// Takes in a document; false if nothing behind it counts.
pub(super) fn read(json: &[u8], answer: &mut Reading) -> bool {
    let Some((_, choices)) = members(json).find(|(key, _)| key == "choices") else {
        // An error in the midst of a stream, or what is no JSON: the text ends here, whatever else may come.
        answer.text.cut = true;
        return false;
    };
    elements(choices).filter_map(first_choice).all(|choice| take(&choice, answer))
}

/// The choice, if it is the first: index 0, or none given.
fn first_choice(raw: &[u8]) -> Option<Choice<'_>> {
    let mut choice = Choice::default();
    for (key, value) in members(raw) {
        match &*key {
            "index" if value != b"0" => return None,
            "delta" | "message" => choice.message = Some(value),
            "text" => choice.text = Some(value),
            "finish_reason" => choice.finish = Some(value),
            "token_ids" => choice.ids = Some(value),
            _ => {}
        }
    }
    Some(choice)
}

/// Takes in the first choice; false if nothing behind it counts.
fn take(choice: &Choice<'_>, answer: &mut Reading) -> bool {
    let ids = choice.ids.filter(|raw| raw.first() == Some(&b'['));
    let before = answer.bytes;
    let going_on = text(choice, answer);
    match ids {
        Some(raw) => answer.ids.extend(elements(raw).filter_map(id)),
        // A chunk without text (the first tells the role only) needs none.
        None => answer.without_ids |= answer.bytes > before || !going_on,
    }
    answer.text.limited |= choice.finish == Some(b"\"length\"");
    // After a tool call there is no more text to be known; ids go on.
    going_on || (ids.is_some() && !answer.without_ids)
}

/// Takes in the choice's text; false if it ends here.
fn text(choice: &Choice<'_>, answer: &mut Reading) -> bool {
    let (mut reasoning, mut content, mut called) = (None, choice.text, false);
    for (key, value) in choice.message.into_iter().flat_map(members) {
        match &*key {
            // vLLM calls it `reasoning`, SGLang and llama.cpp `reasoning_content`; some tell both.
            "reasoning" | "reasoning_content" if value.len() > 2 && value != b"null" => {
                reasoning = Some(value)
            }
            "content" => content = Some(value),
            "tool_calls" => called = elements(value).next().is_some(),
            "function_call" => called = value != b"null",
            _ => {}
        }
    }
    if answer.text.cut {
        return false;
    }
    for (is_reasoning, raw) in [(true, reasoning), (false, content)] {
        let Some(raw) = raw.filter(|raw| *raw != b"null") else { continue };
        let known = unquote(raw).is_some_and(|(text, _)| answer.push(is_reasoning, &text));
        answer.text.cut |= !known;
    }
    answer.text.cut |= called;
    !answer.text.cut
}

fn id(raw: &[u8]) -> Option<u32> {
    std::str::from_utf8(raw).ok()?.parse().ok()
}
