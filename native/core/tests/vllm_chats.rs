//! 68 real chat templates × 76 requests against the text that vLLM 0.32 makes of them before it tokenizes.

mod support;

use phyllo_core::request::BodyKind;
use phyllo_core::template::{ChatFields, ChatTemplate, ContentFormat, Rendered};
use phyllo_core::tokenizer::Tokenizer;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use support::models::{NOW, scanned};
use support::{model_dir, template_cases, zstd_lines};

#[derive(Deserialize)]
struct Requests {
    cases: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Row {
    template_name: String,
    content_format: Option<String>,
    /// The text, or an object with the error that vLLM answers.
    rendered: BTreeMap<String, Value>,
}

struct Fixture {
    cases: BTreeMap<String, Value>,
    rows: Vec<(Row, ChatTemplate)>,
}

fn fixture() -> Fixture {
    let mut lines = zstd_lines("vllm_chats.jsonl.zst");
    let requests: Requests = serde_json::from_str(&lines.next().expect("requests")).expect("JSON");
    let sources: HashMap<String, String> =
        template_cases().into_iter().map(|case| (case.template_name, case.template)).collect();
    let tokenizer = Tokenizer::load(&model_dir("qwen2_5")).expect("loads");
    let rows = lines.map(|line| {
        let row: Row = serde_json::from_str(&line).expect("JSON");
        let template = ChatTemplate::compile(&sources[&row.template_name], tokenizer.special_tokens());
        (row, template.expect("compiles"))
    });
    Fixture { cases: requests.cases, rows: rows.collect() }
}

#[test]
fn detects_the_content_format_that_vllm_detects() {
    let mut compared = 0;
    for (row, template) in fixture().rows {
        let Some(expected) = &row.content_format else { continue };
        let wants_parts = template.content_format() == ContentFormat::OpenAi;
        assert_eq!(wants_parts, expected == "openai", "{}", row.template_name);
        compared += 1;
    }
    assert!(compared >= 64, "{compared}");
}

#[test]
fn renders_what_vllm_renders() {
    let fixture = fixture();
    let mut differences = Vec::new();
    let mut compared = 0;
    for (name, body) in fixture.cases.iter().filter(|(name, _)| !has_media(name)) {
        let bytes = serde_json::to_vec(body).expect("JSON");
        let chat = ChatFields::of(&bytes, &scanned(BodyKind::Chat, &bytes)).expect("messages");
        for (row, template) in &fixture.rows {
            let Some(expected) = row.rendered[name].as_str() else { continue };
            compared += 1;
            let got = match template.render_chat(&chat, NOW) {
                Ok((Rendered::Text(text), _)) if text == expected => continue,
                Ok((Rendered::Text(text), _)) => first_difference(&text, expected),
                other => format!("{other:?}"),
            };
            differences.push(format!("{name} {}: {got}", row.template_name));
        }
    }
    assert!(differences.is_empty(), "{} of {compared}:\n{}", differences.len(), differences.join("\n"));
    assert!(compared > 3700, "{compared}");
}

/// What the templates of multimodal models write for an image, a video or an audio clip, and what the fixture's model class
/// names where the template wants strings.
const PLACEHOLDERS: [&str; 16] = [
    "<|vision_start|><|image_pad|>",
    "<|vision_start|><|video_pad|>",
    "<|audio_bos|><|AUDIO|>",
    "<|IMG_PATCH|>",
    "<|image|>",
    "<|video|>",
    "<|audio|>",
    "<|patch|>",
    "<|image_1|>",
    "<im_patch>",
    "<image>",
    "<video>",
    "[IMG]",
    "]<]image[>[",
    "]<]video[>[",
    "<start_of_image>",
];

/// The part before the first medium is a beginning of what vLLM renders, holds no placeholder, and ends where the first one
/// begins.
#[test]
fn what_comes_before_the_first_medium_is_what_vllm_renders() {
    let fixture = fixture();
    let (mut found, mut at_placeholder, mut wrong) = (0, 0, Vec::new());
    for (name, body) in fixture.cases.iter().filter(|(name, _)| has_media(name)) {
        let bytes = serde_json::to_vec(body).expect("JSON");
        let chat = ChatFields::of(&bytes, &scanned(BodyKind::Chat, &bytes)).expect("messages");
        for (row, template) in &fixture.rows {
            let Some(expected) = row.rendered[name].as_str() else { continue };
            let got = template.render_chat(&chat, NOW).map(|(rendered, _)| rendered);
            let Ok(Rendered::Media(before)) = got else {
                // These two leave out what tools answer, images and all.
                let known = ["llama-cpp-rwkv-world", "microsoft-Phi-3.5-mini-instruct"];
                if name != "image_in_tool" || !known.iter().any(|name| row.template_name.contains(name)) {
                    wrong.push(format!("{name} {}: {got:?}", row.template_name));
                }
                continue;
            };
            found += 1;
            if !expected.starts_with(&before.text) {
                wrong.push(format!(
                    "{name} {}: {}",
                    row.template_name,
                    first_difference(&before.text, expected)
                ));
                continue;
            }
            let behind = &expected[before.text.len()..];
            if before.rest.as_deref().is_some_and(|rest| rest != behind) {
                wrong.push(format!("{name} {}: the rest is another one", row.template_name));
            }
            // The user of `image_confused` writes placeholders.
            let has_one = PLACEHOLDERS.iter().any(|placeholder| before.text.contains(placeholder));
            if has_one && name != "image_confused" {
                wrong.push(format!("{name} {}: {:?}", row.template_name, before.text));
            }
            at_placeholder += u32::from(PLACEHOLDERS.iter().any(|placeholder| {
                // Up to "<|" a placeholder may look like what comes in its place.
                [0, 2].iter().any(|&length| behind.starts_with(&placeholder[length..]))
            }));
        }
    }
    assert!(wrong.is_empty(), "{} of {found}:\n{}", wrong.len(), wrong.join("\n"));
    // The others are of templates that write none.
    assert!(found >= 715 && at_placeholder >= 591, "{at_placeholder} of {found}");
}

fn has_media(case: &str) -> bool {
    ["image", "audio", "video"].iter().any(|media| case.starts_with(media))
}

fn first_difference(got: &str, expected: &str) -> String {
    let at = got.bytes().zip(expected.bytes()).take_while(|(a, b)| a == b).count();
    let from = |text: &str| {
        let bytes = &text.as_bytes()[at.saturating_sub(30)..];
        String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).into_owned()
    };
    format!("byte {at}:\n  got      {:?}\n  expected {:?}", from(got), from(expected))
}
