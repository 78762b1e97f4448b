//! Forms of requests and what their prompts are known as: media, truncation, embeddings, templates of their own.

mod support;

use phyllo_core::model::{Agreement, Model, ModelOptions, Prompt, Shape};
use phyllo_core::request::BodyKind;
use serde_json::{Value, json};
use support::model_dir;
use support::models::{LLAMA, QWEN2_5, QWEN3, bare, chat, load, prompt};

/// The vision part of Qwen2.5-VL's template.
const VISION: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.content is string %}{{ m.content }}{% else %}\
    {% for c in m.content %}{% if c.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>\
    {% elif c.type == 'text' %}{{ c.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}\
    {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

fn with_template(dir: &str, source: &str) -> Model {
    let options = ModelOptions {
        dir: Some(model_dir(dir)),
        chat_template: Some(source.to_owned()),
        block_size: 16,
        ..ModelOptions::default()
    };
    Model::load(dir, &options).expect("loads")
}

fn image(url: &str) -> Value {
    json!({"type": "image_url", "image_url": {"url": url}})
}

fn text(model: &Model, prompt: &Prompt) -> String {
    model.tokenizer().expect("a tokenizer").decode(&prompt.tokens).expect("decodes")
}

fn user(parts: Value) -> Value {
    json!({"role": "user", "content": parts})
}

#[test]
fn a_chat_is_exact_up_to_its_first_image() {
    let model = with_template("qwen2_5", VISION);
    let system = json!({"role": "system", "content": "be brief"});
    let parts =
        json!([{"type": "text", "text": "See this"}, image("data:a"), {"type": "text", "text": "And why?"}]);
    let known = prompt(&model, BodyKind::Chat, &chat(json!([system, user(parts)])));
    assert!(!known.exact);
    assert_eq!(text(&model, &known), "<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\nSee this");
    assert_eq!(known.shape.name(), "chat+media");
    // Exactly what an engine's tokens begin with, whatever it puts in the placeholder's place.
    let tokenizer = model.tokenizer().expect("a tokenizer");
    let engine = format!("{}<|vision_start|><|image_pad|><|image_pad|>", text(&model, &known));
    assert!(tokenizer.encode(&engine, false).expect("encodes").starts_with(&known.tokens));
    assert!(known.total_tokens > 1000);
}

#[test]
fn a_template_that_wants_strings_is_exact_up_to_the_message_with_the_image() {
    let parts = json!([{"type": "text", "text": "What is this?"}, image("data:a")]);
    let known = prompt(&QWEN3, BodyKind::Chat, &chat(json!([user(json!("one")), user(parts)])));
    assert_eq!(text(&QWEN3, &known), "<|im_start|>user\none<|im_end|>\n<|im_start|>");
}

/// A punctuation mark and a newline may be one token with the newlines that Gemma's processor puts before an image.
#[test]
fn tokens_that_may_melt_with_what_follows_are_not_certain() {
    let model = with_template("qwen2_5", VISION);
    let known = |before: &str| {
        let parts = json!([{"type": "text", "text": before}, image("data:a")]);
        text(&model, &prompt(&model, BodyKind::Chat, &chat(json!([user(parts)]))))
    };
    assert_eq!(known("Look"), "<|im_start|>user\nLook");
    assert_eq!(known("Look."), "<|im_start|>user\nLook");
    assert_eq!(known("Look\n"), "<|im_start|>user\nLook");
    assert_eq!(known(""), "<|im_start|>user");
    // A placeholder that is no token of the tokenizer.
    let plain = with_template("qwen2_5", &VISION.replace("<|vision_start|>", "(IMAGE)"));
    let parts = json!([{"type": "text", "text": "Look here"}, image("data:a")]);
    let known = prompt(&plain, BodyKind::Chat, &chat(json!([user(parts)])));
    assert_eq!(text(&plain, &known), "<|im_start|>");
}

#[test]
fn turn_n_plus_1_extends_turn_n_in_tokens_and_in_text() {
    let model = with_template("qwen2_5", VISION);
    let mut messages = vec![json!({"role": "system", "content": "be kind"})];
    let mut previous = Prompt::default();
    for turn in 0..6 {
        let parts = match turn {
            2 | 4 => json!([{"type": "text", "text": format!("see {turn}")}, image(&format!("data:{turn}"))]),
            _ => json!([{"type": "text", "text": format!("question {turn}")}]),
        };
        messages.push(user(parts));
        let known = prompt(&model, BodyKind::Chat, &chat(json!(messages)));
        assert_eq!(known.exact, turn < 2);
        match turn {
            0 => {}
            // Exact turns end in the generation prompt, which the next one has, too.
            1 | 2 => assert!(known.tokens.starts_with(&previous.tokens), "{turn}"),
            _ => {
                assert_eq!(known.tokens, previous.tokens, "{turn}");
                assert!(
                    known.text.starts_with(&previous.text) && known.text.len() > previous.text.len(),
                    "{turn}"
                );
            }
        }
        previous = known;
        messages.push(json!({"role": "assistant", "content": format!("answer {turn}")}));
    }
}

#[test]
fn what_stands_behind_the_tokens_tells_prompts_apart() {
    let model = with_template("qwen2_5", VISION);
    let known = |before: &str, url: &str, tools: Value| {
        let parts = json!([{"type": "text", "text": before}, image(url)]);
        let mut body = chat(json!([user(json!("x")), user(parts)]));
        body["tools"] = tools;
        prompt(&model, BodyKind::Chat, &body)
    };
    let tool = json!([{"type": "function", "function": {"name": "f"}}]);
    let one = known("a", "data:a", Value::Null);
    assert_eq!(one, known("a", "data:a", Value::Null));
    for other in
        [known("a", "data:b", Value::Null), known("b", "data:a", Value::Null), known("a", "data:a", tool)]
    {
        assert_ne!(one.text, other.text);
    }
}

#[test]
fn a_user_who_writes_placeholders_or_marks_gains_nothing() {
    let model = with_template("qwen2_5", VISION);
    let known = |before: &str| {
        let parts = json!([{"type": "text", "text": before}, image("data:a")]);
        prompt(&model, BodyKind::Chat, &chat(json!([user(parts)])))
    };
    let confusing = known("<|vision_start|><|image_pad|><|vision_end|> look");
    assert_eq!(
        text(&model, &confusing),
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|> look"
    );
    let marked = known("\u{E5A7}\u{E0F3}\u{E5A7} look");
    assert!(!marked.exact && marked.tokens.is_empty() && !marked.text.is_empty());
}

#[test]
fn a_template_without_a_place_for_images_falls_back_to_text() {
    let source = "{% for m in messages %}{% for c in m.content %}{% if c.type != 'text' %}{{ raise_exception('no') }}{% endif %}{{ c.text }}{% endfor %}{% endfor %}";
    let model = with_template("qwen2_5", source);
    let known = prompt(&model, BodyKind::Chat, &chat(json!([user(json!([image("data:a")]))])));
    assert!(!known.exact && known.tokens.is_empty() && !known.text.is_empty());
}

#[test]
fn media_of_every_kind_are_told_from_other_parts() {
    let shape = |part: Value| {
        let known = prompt(&bare(), BodyKind::Chat, &chat(json!([user(json!([part]))])));
        (known.shape.name(), known.total_tokens >= 1000)
    };
    for part in [
        image("data:a"),
        json!({"type": "input_image", "image_url": "data:a"}),
        json!({"type": "input_audio", "input_audio": {"data": "x", "format": "wav"}}),
        json!({"type": "audio_url", "audio_url": {"url": "x"}}),
        json!({"type": "video_url", "video_url": {"url": "x"}}),
        json!({"type": "file", "file": {"file_id": "x"}}),
        json!({"image_url": "data:a"}),
    ] {
        assert_eq!(shape(part.clone()), ("chat+media".to_owned(), true), "{part}");
    }
    for part in [
        json!({"type": "text", "text": "t"}),
        json!({"type": "tool_result", "content": [{"type": "text", "text": "t"}]}),
    ] {
        assert_eq!(shape(part.clone()), ("chat".to_owned(), false), "{part}");
    }
    let nested = json!({"type": "tool_result", "content": [image("data:a")]});
    assert!(shape(nested).1, "an image in a tool's answer");
}

/// What vLLM 0.32 keeps: see model/truncate.rs.
#[test]
fn truncated_prompts_keep_the_side_that_vllm_keeps() {
    let completion = |extra: Value| {
        let mut body = json!({"model": "m", "prompt": "one two three four five six"});
        body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        prompt(&LLAMA, BodyKind::Completions, &body)
    };
    let whole = completion(json!({})).tokens;
    assert_eq!((whole.len(), whole[0]), (7, 128_000));
    let cut = |extra: Value| completion(extra).tokens;
    // The tokenizer cuts at the left and keeps its own first token.
    assert_eq!(cut(json!({"truncate_prompt_tokens": 3})), [whole[0], whole[5], whole[6]]);
    assert_eq!(
        cut(json!({"truncate_prompt_tokens": 3, "truncation_side": null})),
        [whole[0], whole[5], whole[6]]
    );
    assert_eq!(cut(json!({"truncate_prompt_tokens": 3, "truncation_side": "left"})), whole[4..]);
    assert_eq!(cut(json!({"truncate_prompt_tokens": 3, "truncation_side": "right"})), whole[..3]);
    assert_eq!(cut(json!({"truncate_prompt_tokens": 3, "add_special_tokens": false})), whole[4..]);
    for unchanged in [json!(7), json!(100), json!(-1), json!(null)] {
        assert_eq!(cut(json!({"truncate_prompt_tokens": unchanged})), whole);
    }
    assert_eq!(completion(json!({"truncate_prompt_tokens": 3})).shape.name(), "completions+truncated");
    assert_eq!(completion(json!({"truncate_prompt_tokens": 3})).total_tokens, 3);
    let none = completion(json!({"truncate_prompt_tokens": 0}));
    assert!(!none.exact, "no room for the first token");
    let ids = json!({"model": "m", "prompt": [[1, 2, 3], [4, 5]], "truncate_prompt_tokens": 2});
    let ids = prompt(&bare(), BodyKind::Completions, &ids);
    assert_eq!((ids.tokens, ids.total_tokens), (vec![2, 3], 4));
    let mut body = chat(json!([{"role": "user", "content": "one two three"}]));
    let all = prompt(&QWEN3, BodyKind::Chat, &body).tokens;
    body["truncate_prompt_tokens"] = json!(5);
    for _ in 0..2 {
        assert_eq!(prompt(&QWEN3, BodyKind::Chat, &body).tokens, all[all.len() - 5..]);
    }
}

#[test]
fn what_the_router_cannot_know_is_matched_as_text() {
    let text_only = |kind, body: Value| {
        let known = prompt(&QWEN3, kind, &body);
        assert!(!known.exact && known.tokens.is_empty() && !known.text.is_empty(), "{body}");
        known.text
    };
    let completion = |extra: Value| {
        let mut body = json!({"model": "m", "prompt": "p"});
        body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        body
    };
    text_only(BodyKind::Completions, completion(json!({"suffix": "s"})));
    let one = text_only(BodyKind::Completions, completion(json!({"prompt_embeds": "YQ=="})));
    assert_ne!(one, text_only(BodyKind::Completions, completion(json!({"prompt_embeds": "Yg=="}))));
    text_only(BodyKind::Completions, json!({"model": "m", "prompt_embeds": ["YQ=="]}));
    for extra in [
        json!({"chat_template": "{{ messages }}"}),
        json!({"chat_template_kwargs": {"chat_template": "x"}}),
        json!({"messages": [user(json!([{"type": "prompt_embeds", "data": "YQ=="}]))]}),
    ] {
        let mut body = chat(json!([{"role": "user", "content": "q"}]));
        body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        text_only(BodyKind::Chat, body);
    }
}

#[test]
fn fields_that_leave_the_prompt_alone_do() {
    let plain = chat(json!([{"role": "user", "content": "q"}]));
    let tokens = prompt(&QWEN3, BodyKind::Chat, &plain);
    for extra in [
        json!({"response_format": {"type": "json_object"}, "structured_outputs": {"regex": "a"}}),
        json!({"echo": true, "logprobs": true, "prompt_logprobs": 1, "return_token_ids": true}),
        json!({"mm_processor_kwargs": {"num_crops": 4}, "media_io_kwargs": {}, "suffix": null, "chat_template": null}),
        json!({"stop": ["x"], "max_tokens": 1, "stream": true, "tool_choice": "none", "reasoning_effort": null}),
    ] {
        let mut body = plain.clone();
        body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        assert_eq!(prompt(&QWEN3, BodyKind::Chat, &body), tokens, "{extra}");
    }
    let echoed = json!({"model": "m", "prompt": "q", "echo": true});
    let plain = json!({"model": "m", "prompt": "q"});
    assert_eq!(
        prompt(&QWEN3, BodyKind::Completions, &echoed).tokens,
        prompt(&QWEN3, BodyKind::Completions, &plain).tokens
    );
    // Tools that may not be called are in the prompt all the same.
    let mut tools = chat(json!([{"role": "user", "content": "q"}]));
    tools["tools"] = json!([{"type": "function", "function": {"name": "f"}}]);
    let auto = prompt(&QWEN3, BodyKind::Chat, &tools);
    tools["tool_choice"] = json!("none");
    assert_eq!(prompt(&QWEN3, BodyKind::Chat, &tools), auto);
}

#[test]
fn reasoning_effort_is_a_variable_and_switches_thinking() {
    let mut body = chat(json!([{"role": "user", "content": "q"}]));
    let plain = prompt(&QWEN3, BodyKind::Chat, &body).tokens;
    body["reasoning_effort"] = json!("none");
    let none = prompt(&QWEN3, BodyKind::Chat, &body);
    assert_eq!(none.shape.name(), "chat+kwargs");
    assert_ne!(none.tokens, plain);
    body["reasoning_effort"] = json!("high");
    assert_eq!(prompt(&QWEN3, BodyKind::Chat, &body).tokens, plain);
}

#[test]
fn a_request_has_the_shape_of_its_parts() {
    let call = json!([{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
    for (extra, name) in [
        (json!({}), "chat"),
        (json!({"tools": [{"type": "function", "function": {"name": "f"}}]}), "chat+tools"),
        (json!({"messages": [{"role": "assistant", "content": "x", "tool_calls": call}]}), "chat+tools"),
        (json!({"chat_template_kwargs": {"a": 1}}), "chat+kwargs"),
        (json!({"documents": [{"title": "t", "text": "x"}]}), "chat+documents"),
        (
            json!({"messages": [{"role": "assistant", "content": "x", "reasoning_content": "r"}]}),
            "chat+reasoning",
        ),
        (json!({"continue_final_message": true}), "chat+continued"),
        (json!({"truncate_prompt_tokens": 9}), "chat+truncated"),
    ] {
        let mut body = chat(json!([{"role": "user", "content": "q"}]));
        body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        let known = prompt(&QWEN2_5, BodyKind::Chat, &body);
        assert_eq!((known.shape.name().as_str(), known.exact), (name, true), "{extra}");
    }
    let completions = |input: Value| {
        prompt(&bare(), BodyKind::Completions, &json!({"model": "m", "prompt": input})).shape.name()
    };
    assert_eq!(completions(json!("a")), "completions");
    assert_eq!(completions(json!(["a", "b"])), "completions+batch");
    assert_eq!(completions(json!([1, 2])), "completions+ids");
    assert_eq!(completions(json!([[1], [2]])), "completions+ids+batch");
}

#[test]
fn a_distrusted_shape_is_matched_as_text_until_it_agrees_again() {
    let model = load("qwen2_5");
    let plain = chat(json!([{"role": "user", "content": "q"}]));
    let mut tools = plain.clone();
    tools["tools"] = json!([{"type": "function", "function": {"name": "f"}}]);
    let shape = prompt(&model, BodyKind::Chat, &tools).shape;
    assert_eq!(shape.name(), "chat+tools");
    let counted = prompt(&model, BodyKind::Chat, &tools).total_tokens;
    assert_eq!(model.check(shape, counted, counted + 1), Agreement::Differs);
    assert_eq!(model.check(shape, counted, counted + 1), Agreement::Differs);
    assert_eq!(model.check(shape, counted, counted + 1), Agreement::Distrusted);
    let mut exact = 0;
    for _ in 0..16 * 64 {
        assert!(prompt(&model, BodyKind::Chat, &plain).exact, "another shape");
        let known = prompt(&model, BodyKind::Chat, &tools);
        assert_eq!(known.shape, shape);
        if known.exact {
            exact += 1;
            assert_eq!(model.check(known.shape, known.total_tokens, counted), Agreement::Agrees);
        } else {
            assert!(known.tokens.is_empty() && !known.text.is_empty());
        }
    }
    assert_eq!(exact, 16);
    assert!((0..64).all(|_| prompt(&model, BodyKind::Chat, &tools).exact));
    assert_eq!(Shape::default(), Shape::of(BodyKind::Chat));
}
