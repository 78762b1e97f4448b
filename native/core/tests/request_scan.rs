//! The scan against serde_json: same acceptance, same spans, on arbitrary and on damaged JSON.

use phyllo_core::request::{BodyKind, FIELD_COUNT, Field, MAX_DEPTH, ScanCode, ScanFault, Spans, scan};
use proptest::prelude::*;
use serde_json::value::RawValue;
use std::collections::HashMap;

fn run(body: &[u8], kind: BodyKind) -> Result<Spans, ScanFault> {
    let mut spans = [u32::MAX; FIELD_COUNT * 2];
    scan(body, kind, &mut spans).map(|()| spans)
}

/// serde_json's word on the same body: the raw text of each top-level key, the last one of duplicates.
fn peer(body: &[u8]) -> Option<HashMap<String, Box<RawValue>>> {
    serde_json::from_slice(body).ok()
}

/// Does the top-level object have a key that serde_json cannot make a `String` of (a lone surrogate)? It is good JSON
/// to the scan, as it is to `JSON.parse`.
fn has_surrogate_escape(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    (0xD800..0xE000).step_by(0x100).any(|code| text.contains(&format!("\\u{:02x}", code >> 8)))
}

fn assert_agrees(body: &[u8]) {
    let found = run(body, BodyKind::Other);
    match (peer(body), &found) {
        (Some(fields), Ok(spans)) => {
            for field in Field::ALL {
                let expected = fields.get(field.name()).map(|raw| raw.get()).filter(|raw| *raw != "null");
                let got = field.slice(body, spans).map(|raw| std::str::from_utf8(raw).expect("UTF-8"));
                assert_eq!(got, expected, "{} in {}", field.name(), String::from_utf8_lossy(body));
            }
        }
        (None, Err(fault)) => assert!(fault.offset as usize <= body.len()),
        // The type rules of the kind say more than the grammar.
        (Some(_), Err(ScanFault { code: ScanCode::WrongType, .. })) => {}
        (None, Ok(_)) if has_surrogate_escape(body) => {}
        (peer, found) => {
            panic!("serde_json: {}, scan: {found:?} for {}", peer.is_some(), String::from_utf8_lossy(body))
        }
    }
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        any::<f32>().prop_filter("finite", |value| value.is_finite()).prop_map(|value| format!("{value:e}")),
        "[ -~é你👋\\t\\n]{0,60}".prop_map(|text| serde_json::to_string(&text).expect("a string")),
        "(\\\\[\"\\\\/bfnrt]|\\\\u00[0-9a-fA-F]{2}|[a-zé]){0,12}".prop_map(|text| format!("\"{text}\"")),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        let space = "[ \\n\\r\\t]{0,2}";
        prop_oneof![
            (proptest::collection::vec(inner.clone(), 0..6), space)
                .prop_map(|(values, space)| format!("[{space}{}{space}]", values.join(&format!("{space},")))),
            (proptest::collection::vec(("[a-z_]{0,8}", inner), 0..5), space).prop_map(|(pairs, space)| {
                let pairs: Vec<String> = pairs
                    .into_iter()
                    .map(|(key, value)| format!("\"{key}\"{space}:{space}{value}"))
                    .collect();
                format!("{{{space}{}}}", pairs.join(&format!(",{space}")))
            }),
        ]
    })
}

/// A key: often one of the fields, sometimes with a letter escaped.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => (0..FIELD_COUNT, any::<bool>()).prop_map(|(index, escape)| {
            let name = Field::ALL[index].name();
            if escape { format!("\\u{:04x}{}", name.as_bytes()[0], &name[1..]) } else { name.to_owned() }
        }),
        1 => "[a-z_é]{0,10}",
    ]
}

fn body() -> impl Strategy<Value = String> {
    (proptest::collection::vec((key(), json()), 0..8), "[ \\n\\t]{0,2}").prop_map(|(pairs, space)| {
        let pairs: Vec<String> =
            pairs.into_iter().map(|(key, value)| format!("\"{key}\"{space}:{value}{space}")).collect();
        format!("{space}{{{}}}{space}", pairs.join(","))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn agrees_with_serde_json_on_arbitrary_bodies(body in body()) {
        prop_assert!(peer(body.as_bytes()).is_some(), "the generator makes good JSON: {}", body);
        assert_agrees(body.as_bytes());
    }

    #[test]
    fn agrees_with_serde_json_on_flipped_bytes(body in body(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut body = body.into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        assert_agrees(&body);
    }

    #[test]
    fn agrees_with_serde_json_on_inserted_bytes(
        body in body(), at in any::<prop::sample::Index>(),
        insert in prop_oneof!["[\"\\\\{}\\[\\],:0-9eE.+-]", "\\PC", "[\\x00-\\x1f]"],
    ) {
        let mut body = body.into_bytes();
        let at = at.index(body.len() + 1);
        body.splice(at..at, insert.into_bytes());
        assert_agrees(&body);
    }

    #[test]
    fn agrees_with_serde_json_on_removed_bytes(body in body(), at in any::<prop::sample::Index>()) {
        let mut body = body.into_bytes();
        body.remove(at.index(body.len()));
        assert_agrees(&body);
    }

    #[test]
    fn agrees_with_serde_json_on_any_bytes(body in proptest::collection::vec(any::<u8>(), 0..40)) {
        if body.first() != Some(&b'{') { return Ok(()) }
        assert_agrees(&body);
    }
}

const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"h\u00e9llo 你好 \\ 1.5e-3"}],"n":2,"x":{"y":[1,-0.5,null]}}"#;

#[test]
fn every_truncation_is_refused_at_or_before_its_end() {
    for end in 0..CHAT.len() {
        let fault = run(&CHAT.as_bytes()[..end], BodyKind::Chat).expect_err("truncated");
        assert!(matches!(fault.code, ScanCode::BadJson | ScanCode::BadUtf8), "{end}: {fault:?}");
        assert!(fault.offset as usize <= end, "{end}: {fault:?}");
        assert_agrees(&CHAT.as_bytes()[..end]);
    }
    run(CHAT.as_bytes(), BodyKind::Chat).expect("whole");
}

#[test]
fn the_last_of_duplicate_keys_wins_even_if_it_is_null() {
    let body = br#"{"model":"a","mod\u0065l":"b","user":"x","user":null}"#;
    let spans = run(body, BodyKind::Other).expect("good");
    assert_eq!(Field::Model.slice(body, &spans), Some(&b"\"b\""[..]));
    assert_eq!(Field::User.slice(body, &spans), None);
}

#[test]
fn a_duplicate_is_judged_by_its_last_value_only() {
    run(br#"{"model":1,"model":"m"}"#, BodyKind::Other).expect("the wrong type was overwritten");
}

#[test]
fn depth_is_limited_and_the_offset_is_that_of_the_bracket_too_many() {
    let nested = |depth: usize| format!("{{\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    run(nested(MAX_DEPTH as usize - 1).as_bytes(), BodyKind::Other).expect("at the limit");
    let fault = run(nested(MAX_DEPTH as usize).as_bytes(), BodyKind::Other).expect_err("beyond");
    assert_eq!((fault.code, fault.offset), (ScanCode::TooDeep, 5 + MAX_DEPTH - 1));
    let fault = run(&b"[".repeat(1_000_000), BodyKind::Other).expect_err("a bomb");
    assert_eq!(fault.code, ScanCode::TooDeep);
}

fn fault(body: &str, kind: BodyKind) -> (ScanCode, Option<&'static str>) {
    let fault = run(body.as_bytes(), kind).expect_err(body);
    (fault.code, fault.field.map(Field::name))
}

#[test]
fn what_is_no_object_is_told_from_what_is_no_json() {
    for body in ["[]", " \"x\" ", "1", "null", "true"] {
        assert_eq!(fault(body, BodyKind::Chat), (ScanCode::NotAnObject, None), "{body}");
    }
    for body in [
        "",
        " ",
        "x",
        "{",
        "{}x",
        "{}{}",
        "{,}",
        "{\"a\":1,}",
        "{'a':1}",
        "{\"a\":01}",
        "{\"a\":NaN}",
        "\u{feff}{}",
    ] {
        assert_eq!(fault(body, BodyKind::Other), (ScanCode::BadJson, None), "{body}");
    }
    let bad = run(b"{\"a\":\"\xff\"}", BodyKind::Other).expect_err("not UTF-8");
    assert_eq!((bad.code, bad.offset), (ScanCode::BadUtf8, 6));
}

#[test]
fn missing_fields_are_named() {
    for (body, kind, field) in [
        (r#"{"messages":[{}]}"#, BodyKind::Chat, "model"),
        (r#"{"model":"m"}"#, BodyKind::Chat, "messages"),
        (r#"{"model":"m","messages":null}"#, BodyKind::Messages, "messages"),
        (r#"{"model":"m"}"#, BodyKind::Completions, "prompt"),
        (r#"{"model":"m"}"#, BodyKind::Embeddings, "input"),
        (r#"{"model":"m"}"#, BodyKind::Responses, "input"),
    ] {
        assert_eq!(fault(body, kind), (ScanCode::MissingField, Some(field)), "{body}");
    }
    run(b"{}", BodyKind::Other).expect("nothing is asked of other bodies");
}

#[test]
fn wrong_types_are_named() {
    let chat = |more: &str| format!(r#"{{"model":"m","messages":[{{"role":"user"}}],{more}}}"#);
    for (body, kind, field) in [
        (r#"{"model":7,"messages":[{}]}"#.to_owned(), BodyKind::Chat, "model"),
        (r#"{"model":"m","messages":[]}"#.to_owned(), BodyKind::Chat, "messages"),
        (r#"{"model":"m","messages":{}}"#.to_owned(), BodyKind::Chat, "messages"),
        (r#"{"model":"m","messages":["x"]}"#.to_owned(), BodyKind::Chat, "messages"),
        (chat(r#""stream":1"#), BodyKind::Chat, "stream"),
        (chat(r#""n":0"#), BodyKind::Chat, "n"),
        (chat(r#""n":-1"#), BodyKind::Chat, "n"),
        (chat(r#""n":1.5"#), BodyKind::Chat, "n"),
        (chat(r#""user":1"#), BodyKind::Chat, "user"),
        (chat(r#""tools":{}"#), BodyKind::Chat, "tools"),
        (chat(r#""chat_template_kwargs":[]"#), BodyKind::Chat, "chat_template_kwargs"),
        (r#"{"model":"m","prompt":1}"#.to_owned(), BodyKind::Completions, "prompt"),
        (r#"{"model":"m","prompt":["a",1]}"#.to_owned(), BodyKind::Completions, "prompt"),
        (r#"{"model":"m","prompt":[[1,"a"]]}"#.to_owned(), BodyKind::Completions, "prompt"),
        (r#"{"model":"m","prompt":[1.5]}"#.to_owned(), BodyKind::Completions, "prompt"),
        (r#"{"model":"m","input":3}"#.to_owned(), BodyKind::Embeddings, "input"),
    ] {
        assert_eq!(fault(&body, kind), (ScanCode::WrongType, Some(field)), "{body}");
    }
}

#[test]
fn what_engines_take_is_taken() {
    for (body, kind) in [
        (
            r#"{"model":"m","messages":[{"role":"user"}],"stream":null,"n":1,"temperature":"odd","zzz":[{}]}"#,
            BodyKind::Chat,
        ),
        (r#"{"model":"m","prompt":"x"}"#, BodyKind::Completions),
        (r#"{"model":"m","prompt":["x","y"]}"#, BodyKind::Completions),
        (r#"{"model":"m","prompt":[1,2]}"#, BodyKind::Completions),
        (r#"{"model":"m","prompt":[[1,2],[3],[]]}"#, BodyKind::Completions),
        (r#"{"model":"m","prompt":{"id":"p"}}"#, BodyKind::Responses),
        (r#"{"model":"m","input":[{"role":"user"}],"instructions":"x"}"#, BodyKind::Responses),
        (r#"{"model":"m","messages":[{}]}"#, BodyKind::Embeddings),
        (
            r#"{"model":"m","max_tokens":1,"system":[{"type":"text"}],"messages":[{"role":"user"}]}"#,
            BodyKind::Messages,
        ),
        (r#"{"query":1,"n":"odd","prompt":3}"#, BodyKind::Other),
    ] {
        run(body.as_bytes(), kind).unwrap_or_else(|fault| panic!("{body}: {fault:?}"));
    }
}
