use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn stream(chunks: &[Value], line_end: &str) -> Vec<u8> {
    let mut out = format!(": a comment{line_end}{line_end}");
    for chunk in chunks {
        out += &format!("data: {chunk}{line_end}{line_end}");
    }
    out += &format!("data: [DONE]{line_end}{line_end}");
    out.into_bytes()
}

fn chat(delta: Value) -> Value {
    json!({"id": "x", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}

fn read(body: &[u8]) -> Option<AnswerText> {
    answer_text(BodyKind::Chat, true, &[body])
}

fn parts(answer: &AnswerText) -> Vec<(bool, &str)> {
    answer.parts.iter().map(|part| (part.reasoning, part.text.as_str())).collect()
}

#[test]
fn reasoning_and_content_come_in_the_order_of_generation() {
    let chunks = [
        chat(json!({"role": "assistant", "content": ""})),
        chat(json!({"reasoning": "Let me"})),
        chat(json!({"reasoning": null, "reasoning_content": " see"})),
        chat(json!({"reasoning": ".", "reasoning_content": ".", "content": "It"})),
        chat(json!({"content": " is \"é\"\n", "reasoning_content": null})),
        json!({"choices": [{"index": 1, "delta": {"content": "another choice"}}]}),
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
        json!({"choices": [], "usage": {"prompt_tokens": 1}}),
    ];
    for end in ["\n", "\r\n"] {
        let answer = read(&stream(&chunks, end)).expect("text");
        assert_eq!(parts(&answer), [(true, "Let me see."), (false, "It is \"é\"\n")]);
        assert_eq!((answer.cut, answer.limited, answer.ids.clone()), (false, false, None));
    }
}

#[test]
fn a_whole_answer_says_what_its_stream_says() {
    let body = |choice: Value| serde_json::to_vec(&json!({"choices": [choice], "usage": {}})).expect("JSON");
    let whole = |kind, choice| answer_text(kind, false, &[&body(choice)]);
    let message = json!({"message": {"role": "assistant", "content": "b", "reasoning": "a"}, "finish_reason": "length"});
    let answer = whole(BodyKind::Chat, message).expect("text");
    assert_eq!((parts(&answer), answer.limited), (vec![(true, "a"), (false, "b")], true));
    let answer = whole(BodyKind::Completions, json!({"text": "ab", "finish_reason": "stop"})).expect("text");
    assert_eq!((parts(&answer), answer.limited), (vec![(false, "ab")], false));
}

#[test]
fn what_follows_a_tool_call_is_not_known() {
    let call = json!([{"index": 0, "function": {"name": "f", "arguments": ""}}]);
    let chunks = [
        chat(json!({"content": "I call"})),
        chat(json!({"tool_calls": call})),
        chat(json!({"content": "x"})),
    ];
    let answer = read(&stream(&chunks, "\n")).expect("text");
    assert_eq!((parts(&answer), answer.cut), (vec![(false, "I call")], true));
    assert_eq!(read(&stream(&chunks[1..], "\n")), None);
    let none = [
        chat(json!({"content": "a", "tool_calls": []})),
        chat(json!({"content": "b", "function_call": null})),
    ];
    let answer = read(&stream(&none, "\n")).expect("text");
    assert_eq!((parts(&answer), answer.cut), (vec![(false, "ab")], false));
}

#[test]
fn ids_tell_more_than_text_but_only_where_none_is_missing() {
    let with =
        |delta: Value, ids: Value| json!({"choices": [{"index": 0, "delta": delta, "token_ids": ids}]});
    let call = json!({"tool_calls": [{"index": 0}]});
    let mut chunks = vec![
        chat(json!({"role": "assistant", "content": ""})),
        with(json!({"content": "a"}), json!([1, 2])),
        with(json!({}), json!([3])),
        with(call, json!([4])),
        with(json!({}), json!([5])),
    ];
    let answer = read(&stream(&chunks, "\n")).expect("text");
    assert_eq!((parts(&answer), answer.ids.clone()), (vec![(false, "a")], Some(vec![1, 2, 3, 4, 5])));
    chunks[1] = chat(json!({"content": "a"}));
    let answer = read(&stream(&chunks, "\n")).expect("text");
    assert_eq!((parts(&answer), answer.ids.clone(), answer.cut), (vec![(false, "a")], None, true));
}

#[test]
fn an_error_garbage_and_other_kinds_of_bodies_tell_no_text() {
    let error = json!({"error": {"message": "no"}}).to_string();
    assert_eq!(read(format!("data: {error}\n\n").as_bytes()), None);
    assert_eq!(answer_text(BodyKind::Chat, false, &[error.as_bytes()]), None);
    assert_eq!(answer_text(BodyKind::Chat, false, &[]), None);
    assert_eq!(read(b"data: {\"choices\": 1}\n\ndata: \xff\n"), None);
    let body = stream(&[chat(json!({"content": "a"}))], "\n");
    for kind in [BodyKind::Messages, BodyKind::Responses, BodyKind::Embeddings, BodyKind::Other] {
        assert_eq!(answer_text(kind, true, &[&body]), None);
    }
    let broken =
        [&stream(&[chat(json!({"content": "a"})), json!({"error": 1})], "\n")[..], b"data: {"].concat();
    let answer = read(&broken).expect("text before the error");
    assert_eq!((parts(&answer), answer.cut), (vec![(false, "a")], true));
}

#[test]
fn a_text_without_end_is_kept_up_to_the_bound() {
    let long = "x".repeat(MAX_TEXT_BYTES / 4 + 1);
    let chunks = vec![chat(json!({"content": long})); 6];
    let answer = read(&stream(&chunks, "\n")).expect("text");
    assert_eq!((answer.parts[0].text.len(), answer.cut), (3 * (MAX_TEXT_BYTES / 4 + 1), true));
    let line = vec![b' '; 1 << 20];
    let mut endless: Vec<&[u8]> = vec![b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n"];
    endless.extend(std::iter::repeat_n(&line[..], 20));
    let answer = answer_text(BodyKind::Chat, true, &endless).expect("text");
    assert_eq!((parts(&answer), answer.cut), (vec![(false, "a")], true));
}

fn any_chunk() -> impl Strategy<Value = Value> {
    let text = prop_oneof!["\\PC{0,12}", "[\\x00-\\x7f]{0,8}"];
    prop_oneof![
        4 => text.clone().prop_map(|text| chat(json!({"content": text}))),
        3 => text.prop_map(|text| chat(json!({"reasoning_content": text}))),
        1 => Just(chat(json!({"tool_calls": [{"index": 0}]}))),
        1 => Just(json!({"choices": [{"index": 0, "delta": {"content": "i"}, "token_ids": [7]}]})),
        1 => Just(json!({"choices": []})),
    ]
}

proptest! {
    #[test]
    fn pieces_say_what_the_whole_says(
        chunks in prop::collection::vec(any_chunk(), 0..12), end in prop_oneof![Just("\n"), Just("\r\n")],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12), last in any::<prop::sample::Index>(),
    ) {
        let mut body = stream(&chunks, end);
        // Cut off anywhere, too.
        body.truncate(last.index(body.len() * 2));
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).chain([0, body.len()]).collect();
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|ends| &body[ends[0]..ends[1]]).collect();
        for events in [true, false] {
            prop_assert_eq!(
                answer_text(BodyKind::Chat, events, &pieces),
                answer_text(BodyKind::Chat, events, &[&body])
            );
        }
    }

    /// What a cut-off stream tells is how the whole one begins.
    #[test]
    fn a_stream_cut_off_tells_a_beginning(chunks in prop::collection::vec(any_chunk(), 0..12), cut in any::<prop::sample::Index>()) {
        let body = stream(&chunks, "\n");
        let told = |body: &[u8]| read(body).map_or(String::new(), |answer| {
            answer.parts.iter().map(|part| format!("{}{}", part.reasoning, part.text)).collect()
        });
        prop_assert!(told(&body).starts_with(&told(&body[..cut.index(body.len())])));
    }

    #[test]
    fn no_bytes_panic(mut body in prop::collection::vec(any::<u8>(), 0..400), lines in prop::collection::vec("data: [\\[\\]{}:,\"a-z0-9\\\\ ]{0,40}", 0..6)) {
        body.extend(lines.join("\n").into_bytes());
        for kind in [BodyKind::Chat, BodyKind::Completions] {
            let _ = answer_text(kind, true, &[&body]);
            let _ = answer_text(kind, false, &[&body]);
        }
    }
}
