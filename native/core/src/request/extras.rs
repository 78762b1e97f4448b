//! Members of a body that are no [`Field`]s, but change the prompt. They are rare, so no span is kept of them.

use super::field::{Field, Spans};
use super::json::{skip_key, skip_space, skip_value};

/// Raw values of a body's further members; absent where they are null.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extras<'a> {
    /// How long the model should think: a variable of the chat template.
    pub reasoning_effort: Option<&'a [u8]>,
    /// A chat template of the request's own.
    pub chat_template: Option<&'a [u8]>,
    /// How many of the prompt's tokens are kept.
    pub truncate_prompt_tokens: Option<&'a [u8]>,
    /// … and at which side they are cut off.
    pub truncation_side: Option<&'a [u8]>,
    /// A completion's prompt as tensors.
    pub prompt_embeds: Option<&'a [u8]>,
    /// Text behind the gap that a completion is to fill.
    pub suffix: Option<&'a [u8]>,
}

impl<'a> Extras<'a> {
    /// The members of a scanned body. What the spans cover is stepped over, so the cost does not grow with the
    /// conversation.
    pub fn of(body: &'a [u8], spans: &Spans) -> Self {
        let mut extras = Extras::default();
        let mut at = skip_space(body, 0) + 1;
        while let Some((key, value, end)) = member(body, skip_space(body, at), spans) {
            let place = match key {
                b"reasoning_effort" => Some(&mut extras.reasoning_effort),
                b"chat_template" => Some(&mut extras.chat_template),
                b"truncate_prompt_tokens" => Some(&mut extras.truncate_prompt_tokens),
                b"truncation_side" => Some(&mut extras.truncation_side),
                b"prompt_embeds" => Some(&mut extras.prompt_embeds),
                b"suffix" => Some(&mut extras.suffix),
                _ => None,
            };
            if let Some(place) = place {
                *place = body.get(value..end).filter(|raw| *raw != b"null");
            }
            at = skip_space(body, end);
            if body.get(at) != Some(&b',') {
                break;
            }
            at += 1;
        }
        extras
    }
}

/// Key (as written: none of the names above needs escapes), start and end of the value of the member at `at`.
fn member<'a>(body: &'a [u8], at: usize, spans: &Spans) -> Option<(&'a [u8], usize, usize)> {
    let (key_end, value, _) = skip_key(body, at).ok()?;
    let known = Field::ALL.iter().find_map(|&field| {
        let index = field as usize * 2;
        (spans[index] as usize == value && spans[index + 1] > 0).then(|| value + spans[index + 1] as usize)
    });
    let end = match known {
        Some(end) => end,
        None => skip_value(body, value, 1, &mut [0; 3]).ok()?,
    };
    Some((body.get(at + 1..key_end - 1)?, value, end))
}

#[cfg(test)]
mod tests {
    use super::super::{BodyKind, FIELD_COUNT, scan};
    use super::*;
    use proptest::prelude::*;

    fn spans(body: &[u8]) -> Spans {
        let mut spans = [0; FIELD_COUNT * 2];
        scan(body, BodyKind::Other, &mut spans).expect("good JSON");
        spans
    }

    #[test]
    fn finds_members_between_and_behind_fields() {
        let body = br#" { "suffix":null, "messages" : [{"reasoning_effort":"x"}] , "reasoning_effort": "low","model":"m",
            "other":{"chat_template":1},"truncate_prompt_tokens":-1, "suffix":"s" }"#;
        let extras = Extras::of(body, &spans(body));
        assert_eq!(extras.reasoning_effort, Some(&b"\"low\""[..]));
        assert_eq!(extras.truncate_prompt_tokens, Some(&b"-1"[..]));
        assert_eq!(extras.suffix, Some(&b"\"s\""[..]));
        assert!(extras.chat_template.is_none() && extras.prompt_embeds.is_none());
        for empty in [&b"{}"[..], b"", b"[", b"{\"a\"", b"{\"suffix\":"] {
            assert!(Extras::of(empty, &[0; FIELD_COUNT * 2]).suffix.is_none());
        }
    }

    proptest! {
        #[test]
        fn no_spans_panic(words in prop::collection::vec(0u32..60, FIELD_COUNT * 2)) {
            let spans: Spans = words.try_into().expect("the right length");
            Extras::of(br#"{"model":"m","messages":[1],"suffix":"x","user":"u"}"#, &spans);
        }
    }
}
