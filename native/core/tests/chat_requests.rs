//! What a chat request becomes before its template sees it: as vLLM has it.

mod support;

use phyllo_core::model::{Model, ModelOptions, PromptError};
use phyllo_core::request::BodyKind;
use phyllo_core::template::TemplateError;
use serde_json::{Value, json};
use std::time::Duration;
use support::model_dir;
use support::models::{NOW, QWEN2_5, QWEN3, chat, chat_text, prompt, scanned, try_prompt};

#[test]
fn a_null_a_missing_and_an_empty_content_are_the_same_prompt() {
    let with = |content: Value| {
        chat(json!([{"role": "user", "content": "q"}, content, {"role": "user", "content": "r"}]))
    };
    let empty = chat_text(&QWEN2_5, &with(json!({"role": "assistant", "content": ""})));
    assert_eq!(chat_text(&QWEN2_5, &with(json!({"role": "assistant", "content": null}))), empty);
    assert_eq!(chat_text(&QWEN2_5, &with(json!({"role": "assistant"}))), empty);
    assert_eq!(chat_text(&QWEN2_5, &with(json!({"role": "assistant", "content": []}))), empty);
}

#[test]
fn text_parts_are_joined_by_newlines_for_a_template_that_wants_strings() {
    let parts = json!([{"role": "user", "content": [
        {"type": "text", "text": "one"}, "two", {"type": "input_text", "text": "three"}, {"type": "text", "text": null},
        {"type": "refusal", "refusal": "four"},
    ]}]);
    let joined = json!([{"role": "user", "content": "one\ntwo\nthree\nfour"}]);
    assert_eq!(chat_text(&QWEN3, &chat(parts)), chat_text(&QWEN3, &chat(joined)));
}

#[test]
fn a_string_becomes_a_list_of_parts_for_a_template_that_wants_parts() {
    let source =
        "{% for m in messages %}{% for c in m.content %}[{{ c.type }}:{{ c.text }}]{% endfor %}{% endfor %}";
    let options = ModelOptions {
        dir: Some(model_dir("qwen2_5")),
        chat_template: Some(source.to_owned()),
        block_size: 16,
        ..ModelOptions::default()
    };
    let model = Model::load("parts", &options).expect("loads");
    let messages = json!([{"role": "user", "content": "a"}, {"role": "tool", "content": [{"type": "text", "text": "b"}]}]);
    // A tool's parts are joined for every template, as vLLM does; a string's characters are what the loop then gets.
    assert_eq!(chat_text(&model, &chat(messages)), "[text:a][:]");
}

#[test]
fn tool_arguments_in_a_string_are_the_same_prompt_as_an_object() {
    let with = |arguments: Value| {
        chat(json!([
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}]},
            {"role": "tool", "tool_call_id": "1", "content": "r"},
        ]))
    };
    let object = chat_text(&QWEN3, &with(json!({"b": 1, "a": "é"})));
    assert!(object.contains(r#""arguments": {"b": 1, "a": "é"}"#), "{object}");
    assert_eq!(chat_text(&QWEN3, &with(json!("{\"b\":1,\"a\":\"\\u00e9\"}"))), object);
    let none = chat_text(&QWEN3, &with(json!({})));
    assert_eq!(chat_text(&QWEN3, &with(json!("not JSON"))), none);
    assert_eq!(chat_text(&QWEN3, &with(json!(null))), none);
}

#[test]
fn tools_are_dumped_in_the_order_of_vllms_request_model() {
    let mut body = chat(json!([{"role": "user", "content": "q"}]));
    body["tools"] = json!([{"function": {"strict": true, "parameters": {"type": "object"}, "name": "f"}}]);
    let text = chat_text(&QWEN3, &body);
    let expected = r#"{"type": "function", "function": {"name": "f", "description": null, "parameters": {"type": "object"}, "strict": true}}"#;
    assert!(text.contains(expected), "{text}");
}

#[test]
fn kwargs_reach_the_template_and_fields_of_the_request_stand_above_them() {
    let mut body = chat(json!([{"role": "user", "content": "q"}]));
    assert!(chat_text(&QWEN3, &body).ends_with("<|im_start|>assistant\n"));
    body["chat_template_kwargs"] = json!({"enable_thinking": false});
    assert!(chat_text(&QWEN3, &body).ends_with("<think>\n\n</think>\n\n"));
    body["chat_template_kwargs"] = json!({"add_generation_prompt": false});
    assert!(chat_text(&QWEN3, &body).ends_with("<|im_start|>assistant\n"));
    body["chat_template_kwargs"] = json!({"add_generation_prompt": true});
    body["add_generation_prompt"] = json!(false);
    assert!(chat_text(&QWEN3, &body).ends_with("q<|im_end|>\n"));
}

#[test]
fn a_final_message_to_be_continued_is_left_open() {
    for (content, end) in [("The answer is", "The answer is"), ("spaced  ", "spaced  ")] {
        let mut body =
            chat(json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": content}]));
        body["continue_final_message"] = json!(true);
        assert!(chat_text(&QWEN2_5, &body).ends_with(&format!("assistant\n{end}")), "{content}");
    }
}

#[test]
fn a_template_that_raises_is_an_error_with_its_message() {
    let source = "{% if messages[0].role != 'user' %}{{ raise_exception('a user must begin, not ' + messages[0].role) }}{% endif %}";
    let options = ModelOptions {
        dir: Some(model_dir("qwen2_5")),
        chat_template: Some(source.to_owned()),
        block_size: 16,
        ..ModelOptions::default()
    };
    let model = Model::load("strict", &options).expect("loads");
    let error = try_prompt(&model, BodyKind::Chat, &chat(json!([{"role": "tool", "content": "x"}])))
        .expect_err("raises");
    let PromptError::Template(TemplateError::Raised(message)) = &error else { panic!("{error:?}") };
    assert_eq!(message, "a user must begin, not tool");
    assert_eq!(error.to_string(), "the chat template refuses this request: a user must begin, not tool");
}

/// The whole chat is remembered: all that changes its prompt must change what it is remembered by.
#[test]
fn a_chat_seen_before_has_the_same_tokens_and_one_that_differs_in_anything_its_own() {
    let messages = json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]);
    let plain = chat(messages.clone());
    let changed = [
        json!({"add_generation_prompt": false}),
        json!({"continue_final_message": true}),
        json!({"add_special_tokens": true}),
        json!({"tools": [{"type": "function", "function": {"name": "f"}}]}),
        json!({"documents": [{"title": "t", "text": "x"}]}),
        json!({"chat_template_kwargs": {"note": "n"}}),
        json!({"messages": [{"role": "user", "content": "p"}]}),
    ];
    let source = "{{ messages|tojson }}{{ tools }}{{ documents }}{{ note }}{{ add_generation_prompt }}";
    let options = ModelOptions {
        dir: Some(model_dir("llama3_1")),
        chat_template: Some(source.to_owned()),
        block_size: 16,
        ..ModelOptions::default()
    };
    let model = Model::load("all", &options).expect("loads");
    let tokens = |body: &Value| prompt(&model, BodyKind::Chat, body).tokens;
    let mut seen = vec![tokens(&plain)];
    for fields in changed {
        let mut body = plain.clone();
        body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        let first = tokens(&body);
        assert!(!seen.contains(&first), "{fields}");
        assert_eq!(tokens(&body), first, "{fields}");
        seen.push(first);
    }
    assert_eq!(tokens(&plain), seen[0]);
    // Another template of the same tokenizer, whose memory they share.
    let options = ModelOptions {
        dir: Some(model_dir("llama3_1")),
        chat_template: Some("other".to_owned()),
        block_size: 16,
        ..ModelOptions::default()
    };
    let other = Model::load("other", &options).expect("loads");
    assert_ne!(prompt(&other, BodyKind::Chat, &plain).tokens, seen[0]);
}

#[test]
fn a_chat_seen_before_whose_template_tells_the_date_is_another_one_tomorrow() {
    let source = "{{ strftime_now('%d %b %Y') }} {{ messages[0].content }}";
    let options = ModelOptions {
        dir: Some(model_dir("qwen2_5")),
        chat_template: Some(source.to_owned()),
        block_size: 16,
        ..ModelOptions::default()
    };
    let model = Model::load("dated", &options).expect("loads");
    let body = serde_json::to_vec(&chat(json!([{"role": "user", "content": "q"}]))).expect("JSON");
    let spans = scanned(BodyKind::Chat, &body);
    let text = |now: Duration| {
        let prompt = model.prompt(BodyKind::Chat, &body, &spans, now).expect("a prompt");
        model.tokenizer().expect("a tokenizer").decode(&prompt.tokens).expect("decodes")
    };
    assert_eq!(text(NOW), "21 Nov 2026 q");
    assert_eq!(text(NOW + Duration::from_secs(60)), "21 Nov 2026 q");
    assert_eq!(text(NOW + Duration::from_secs(86_400)), "22 Nov 2026 q");
    assert_eq!(text(NOW), "21 Nov 2026 q");
}
