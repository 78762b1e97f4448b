//! From bodies to tokens: against what a real vLLM counted, and against the tokenizer itself.

mod support;

use phyllo_core::model::{Model, ModelOptions, PromptError, cache_salt};
use phyllo_core::request::{BodyKind, FIELD_COUNT, Spans};
use phyllo_core::template::{ChatFields, ChatTemplate, Rendered};
use phyllo_core::tokenizer::Tokenizer;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::models::{LLAMA, NOW, QWEN2_5, QWEN3, bare, chat, load, prompt, scanned, try_prompt};
use support::{capture, model_dir, template_cases};

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).expect("token ids")
}

/// Request (from the recorded log) and answer of each recorded file with a prompt.
#[test]
fn gives_the_tokens_that_vllm_0_32_gave() {
    let log: Value = serde_json::from_slice(&capture("vllm-0.32.0.json")).expect("JSON");
    let mut compared = 0;
    for entry in log.as_array().expect("a list") {
        let answer = &entry["answer"];
        let kind =
            if entry["request"]["messages"].is_array() { BodyKind::Chat } else { BodyKind::Completions };
        let prompt = prompt(&QWEN2_5, kind, &entry["request"]);
        assert!(prompt.exact);
        let name = &entry["file"];
        for tokens in [&answer["tokens"], &answer["choices"][0]["prompt_token_ids"]] {
            if tokens.is_array() {
                assert_eq!(prompt.tokens, ids(tokens), "{name}");
                compared += 1;
            }
        }
        if let Some(count) = answer["usage"]["prompt_tokens"].as_u64() {
            assert_eq!(u64::from(prompt.total_tokens), count, "{name}");
            compared += 1;
        }
    }
    assert!(compared >= 12, "only {compared} comparisons");
}

/// Cases whose messages vLLM reshapes before the template sees them: lists of parts become strings, tool arguments in a
/// string become objects, a null content becomes "". The fixture renders them as they are.
const RESHAPED_BY_VLLM: [&str; 2] = ["parts", "tool_round_str"];

/// The template's text in the fixture, encoded, is what the same conversation gives as a request.
#[test]
fn a_fixtures_conversation_gives_the_ids_of_its_expected_text() {
    for (template_name, model) in [
        ("llama_cpp/Qwen-Qwen3-0.6B.jinja", &*QWEN3),
        ("llama_cpp/meta-llama-Llama-3.1-8B-Instruct.jinja", &*LLAMA),
    ] {
        let tokenizer = model.tokenizer().expect("a tokenizer");
        let mut compared = 0;
        for case in template_cases().iter().filter(|case| case.template_name == template_name) {
            let Some(expected) = &case.expected else { continue };
            if RESHAPED_BY_VLLM.contains(&case.case.as_str()) {
                continue;
            }
            let special = [("bos_token".to_owned(), "<|bos|>".to_owned())];
            let template = ChatTemplate::compile(&case.template, &special).expect("compiles");
            let body = serde_json::to_vec(&request_of(&case.context)).expect("JSON");
            let chat = ChatFields::of(&body, &scanned(BodyKind::Chat, &body)).expect("messages");
            let rendered =
                template.render_chat(&chat, NOW).unwrap_or_else(|error| panic!("{}: {error}", case.case)).0;
            let Rendered::Text(text) = rendered else { panic!("text only") };
            assert_eq!(
                tokenizer.encode(&text, false).expect("encodes"),
                tokenizer.encode(expected, false).expect("encodes"),
                "{template_name} {}",
                case.case
            );
            compared += 1;
        }
        assert!(compared >= 8, "{template_name}: {compared}");
    }
}

/// A template context of the fixture as a client would send it.
fn request_of(context: &Value) -> Value {
    let known = ["messages", "tools", "documents", "add_generation_prompt"];
    let mut request = json!({"model": "m"});
    let mut kwargs = json!({});
    for (key, value) in context.as_object().expect("an object") {
        let target = if known.contains(&key.as_str()) { &mut request } else { &mut kwargs };
        target[key] = value.clone();
    }
    request["chat_template_kwargs"] = kwargs;
    request
}

#[test]
fn completions_add_special_tokens_unless_the_request_says_no() {
    let with = prompt(&LLAMA, BodyKind::Completions, &json!({"model": "m", "prompt": "Hi"}));
    let without = prompt(
        &LLAMA,
        BodyKind::Completions,
        &json!({"model": "m", "prompt": "Hi", "add_special_tokens": false}),
    );
    assert_eq!(with.tokens[0], 128_000);
    assert_eq!(with.tokens[1..], without.tokens);
    assert_eq!(with.total_tokens, without.total_tokens + 1);
}

#[test]
fn token_ids_are_used_as_they_are_even_without_a_tokenizer() {
    let ids = json!({"model": "m", "prompt": [1, 2, 300_000]});
    for model in [&*QWEN3, &bare()] {
        let prompt = prompt(model, BodyKind::Completions, &ids);
        assert_eq!((prompt.tokens, prompt.exact, prompt.total_tokens), (vec![1, 2, 300_000], true, 3));
    }
}

#[test]
fn a_batch_routes_by_its_first_prompt_and_counts_all() {
    let batch =
        prompt(&QWEN3, BodyKind::Completions, &json!({"model": "m", "prompt": ["one two", "three", "four"]}));
    let first = prompt(&QWEN3, BodyKind::Completions, &json!({"model": "m", "prompt": "one two"}));
    assert_eq!(batch.tokens, first.tokens);
    assert_eq!(batch.total_tokens, first.total_tokens + 2);
    let ids = prompt(&bare(), BodyKind::Completions, &json!({"model": "m", "prompt": [[7, 8], [9]]}));
    assert_eq!((ids.tokens, ids.total_tokens), (vec![7, 8], 3));
    let none = prompt(&bare(), BodyKind::Completions, &json!({"model": "m", "prompt": []}));
    assert_eq!((none.tokens, none.total_tokens), (vec![], 0));
}

#[test]
fn without_a_tokenizer_turn_n_plus_1_extends_turn_n() {
    let mut messages =
        vec![json!({"role": "system", "content": "be kind"}), json!({"role": "user", "content": "q1"})];
    let mut body = chat(json!(messages));
    body["tools"] = json!([{"function": {"name": "f"}}]);
    for kind in [BodyKind::Chat, BodyKind::Messages, BodyKind::Other] {
        let mut previous = prompt(&bare(), kind, &body);
        assert!(!previous.exact && previous.tokens.is_empty());
        assert_eq!(previous.total_tokens as usize, previous.text.len().div_ceil(4));
        for turn in 0..3 {
            messages.push(json!({"role": "assistant", "content": null, "tool_calls": [{"id": turn}]}));
            messages.push(json!({"role": "user", "content": [{"type": "text", "text": "more"}]}));
            body["messages"] = json!(messages);
            let next = prompt(&bare(), kind, &body);
            assert!(next.text.starts_with(&previous.text) && next.text.len() > previous.text.len());
            previous = next;
        }
    }
}

#[test]
fn canonical_text_ignores_the_jsons_layout_but_not_what_it_says() {
    let text = |body: &str| {
        let kind = BodyKind::Responses;
        bare().prompt(kind, body.as_bytes(), &scanned(kind, body.as_bytes()), NOW).expect("a prompt").text
    };
    let plain = text(r#"{"model":"m","instructions":"i","input":"hé"}"#);
    assert_eq!(text("{\"input\" : \"h\\u00e9\",\n \"instructions\":\"i\", \"model\":\"m\"}"), plain);
    assert_ne!(text(r#"{"model":"m","instructions":"ih","input":"é"}"#), plain);
    let item = |kind: &str| text(&format!(r#"{{"model":"m","input":[{{"type":"{kind}","name":"f"}}]}}"#));
    assert_ne!(item("function_call"), item("reasoning"));
}

#[test]
fn different_images_are_different_prompts_and_the_same_one_is_the_same() {
    let with = |url: &str| {
        let image = json!({"type": "image_url", "image_url": {"url": url}});
        prompt(
            &QWEN3,
            BodyKind::Chat,
            &chat(json!([{"role": "user", "content": [{"type": "text", "text": "what?"}, image]}])),
        )
    };
    let (a, again, b) = (with("data:,a"), with("data:,a"), with("data:,b"));
    assert!(!a.exact);
    assert_eq!(a, again);
    assert_ne!(a.text, b.text);
    assert_eq!(a.text.len(), b.text.len());
}

#[test]
fn the_cache_salt_is_unquoted() {
    let body = br#"{"model":"m","prompt":"x","cache_salt":"s\u00e9"}"#;
    let spans = scanned(BodyKind::Completions, body);
    assert_eq!(cache_salt(body, &spans).as_deref(), Some("s\u{e9}"));
}

#[test]
fn a_broken_directory_is_an_error_that_names_the_file() {
    let load = |dir: std::path::PathBuf| {
        let options = ModelOptions { dir: Some(dir), block_size: 16, ..ModelOptions::default() };
        Model::load("broken", &options).expect_err("does not load").to_string()
    };
    let missing = load("/nowhere/at/all".into());
    assert!(missing.contains("/nowhere/at/all/tokenizer.json is missing"), "{missing}");
    let dir = std::env::temp_dir().join(format!("phyllo-broken-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    std::fs::write(dir.join("tokenizer.json"), "version https://git-lfs.github.com/spec/v1").expect("writes");
    let pointer = load(dir.clone());
    std::fs::remove_dir_all(&dir).expect("removes");
    assert!(pointer.contains("tokenizer.json is not usable") && pointer.contains("Git LFS"), "{pointer}");
}

#[test]
fn encode_chat_is_the_prompt_or_says_why_not() {
    let body = chat(json!([{"role": "user", "content": "hi"}]));
    let bytes = serde_json::to_vec(&body).expect("JSON");
    assert_eq!(QWEN3.encode_chat(&bytes, NOW).expect("tokens"), prompt(&QWEN3, BodyKind::Chat, &body).tokens);
    assert!(matches!(bare().encode_chat(&bytes, NOW), Err(PromptError::NotExact(_))));
    let error = QWEN3.encode_chat(b"{\"model\":\"m\"}", NOW).expect_err("no messages");
    assert_eq!(error.to_string(), "the body is no chat request: messages is missing");
}

#[test]
fn threads_share_a_model() {
    let body = chat(json!([{"role": "user", "content": "the same for all"}]));
    let expected = prompt(&QWEN3, BodyKind::Chat, &body);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| prompt(&QWEN3, BodyKind::Chat, &body))).collect();
        for thread in threads {
            assert_eq!(thread.join().expect("no panic"), expected);
        }
    });
    assert!(!tokenizers::parallelism::has_parallelism_been_used(), "a request is encoded on its own thread");
}

/// `tokenizer_config.json` says `add_bos_token`; transformers 5.19 and 5.23, which vLLM 0.32 and SGLang 0.5.23 run, go by
/// `tokenizer.json`.
#[test]
fn deepseek_v3_gets_no_bos_that_its_tokenizer_json_does_not_add() {
    let tokenizer = Tokenizer::load(&model_dir("deepseek_v3")).expect("loads");
    let plain = tokenizer.encode("Hi", false).expect("encodes");
    assert_eq!(tokenizer.encode("Hi", true).expect("encodes"), plain);
    assert_eq!(tokenizer.encode_plainly("Hi", true).expect("encodes"), plain);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Qwen's tokenizer normalises to NFC, so only text in that form comes back as it was.
    #[test]
    fn decoding_undoes_encoding(text in "[ -~\\n\\t]{0,80}|[a-zé你好👋→ ]{0,40}") {
        for model in [&*QWEN3, &*LLAMA] {
            let tokenizer = model.tokenizer().expect("a tokenizer");
            let ids = tokenizer.encode(&text, false).expect("encodes");
            prop_assert_eq!(tokenizer.decode(&ids).expect("decodes"), text.as_str());
        }
    }

    /// Spans come back from JavaScript: wrong ones may give a wrong prompt, never a panic.
    #[test]
    fn no_spans_panic(spans in proptest::collection::vec(0u32..80, FIELD_COUNT * 2)) {
        let body = r#"{"model":"m","messages":[{"role":"user","content":"h\u00e9é"}],"prompt":[1,"\ud800"]}"#;
        let spans: Spans = spans.try_into().expect("the right length");
        for kind in [BodyKind::Chat, BodyKind::Completions, BodyKind::Messages] {
            for model in [&*QWEN3, &bare()] {
                let _ = model.prompt(kind, body.as_bytes(), &spans, NOW);
            }
        }
    }

    /// Whatever a body holds, a prompt or an error comes out of it.
    #[test]
    fn no_body_panics(messages in proptest::collection::vec(any_message(), 1..4)) {
        let body = chat(Value::Array(messages));
        let _ = try_prompt(&QWEN3, BodyKind::Chat, &body);
        prompt(&bare(), BodyKind::Messages, &body);
    }
}

fn any_message() -> impl Strategy<Value = Value> {
    let odd = prop_oneof![
        Just(json!(null)),
        Just(json!(7)),
        Just(json!("text")),
        Just(json!([])),
        Just(json!([null, 1, "x", {"type": "text"}, {"type": "text", "text": "t"}])),
        Just(json!({"a": [1]})),
        Just(json!([{"function": null}, {"function": {"name": 3, "arguments": 4}}])),
    ];
    let key = prop_oneof![
        Just("role"),
        Just("content"),
        Just("tool_calls"),
        Just("reasoning"),
        Just("name"),
        Just("tool_call_id")
    ];
    let role = prop_oneof![Just("user"), Just("assistant"), Just("tool"), Just("system"), Just("developer")];
    (role, proptest::collection::vec((key, odd), 0..4)).prop_map(|(role, pairs)| {
        let mut message = json!({"role": role});
        pairs.into_iter().for_each(|(key, value)| message[key] = value);
        message
    })
}

/// The demo's two routers and four engines each held a tokenizer of their own of one directory.
#[test]
fn models_of_one_directory_share_its_tokenizer() {
    let (one, other) = (load("qwen3"), load("qwen3"));
    assert!(std::ptr::eq(one.tokenizer().expect("loaded"), other.tokenizer().expect("loaded")));
    assert!(!std::ptr::eq(one.tokenizer().expect("loaded"), load("qwen2_5").tokenizer().expect("loaded")));
    let options = ModelOptions {
        dir: Some(model_dir("qwen3")),
        block_size: 16,
        memo_bytes: Some(0),
        ..ModelOptions::default()
    };
    let forgetful = Model::load("qwen3", &options).expect("loads");
    assert!(!std::ptr::eq(one.tokenizer().expect("loaded"), forgetful.tokenizer().expect("loaded")));
}
