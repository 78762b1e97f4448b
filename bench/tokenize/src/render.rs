//! Parse and render: from the bytes of a 400 KB chat request to the text that is tokenized.

use crate::cpu::{cpu_ns, emit};
use phyllo_core::request::{BodyKind, FIELD_COUNT, scan};
use phyllo_core::template::{ChatFields, ChatTemplate, Rendered};
use serde::Deserialize;
use std::fs::File;
use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

const BODY_BYTES: usize = 400_000;
/// Of a message where there are many; what coding agents send.
const MESSAGE_BYTES: usize = 1_200;
/// 2026-11-21, noon UTC; some templates tell the date.
const NOW: Duration = Duration::from_secs(1_795_262_400);

/// Templates by the names they have in the core's fixture.
const TEMPLATES: [(&str, &str); 4] = [
    ("Qwen3", "llama_cpp/Qwen-Qwen3-0.6B.jinja"),
    ("Llama 3.1", "llama_cpp/meta-llama-Llama-3.1-8B-Instruct.jinja"),
    ("gpt-oss", "llama_cpp/openai-gpt-oss-120b.jinja"),
    ("DeepSeek V3.1", "llama_cpp/deepseek-ai-DeepSeek-V3.1.jinja"),
];

#[derive(Deserialize)]
struct Fixture {
    template_name: String,
    template: String,
}

/// Templates of the fixture, in the order of [`TEMPLATES`].
fn templates(fixture: &Path) -> Vec<(&'static str, ChatTemplate)> {
    let file = File::open(fixture).expect("the fixture is part of the repository");
    let lines = BufReader::new(ruzstd::decoding::StreamingDecoder::new(file).expect("zstd")).lines();
    let cases: Vec<Fixture> =
        lines.map(|line| serde_json::from_str(&line.expect("UTF-8")).expect("a case")).collect();
    let special = [("bos_token", "<s>"), ("eos_token", "</s>")]
        .map(|(name, token)| (name.to_owned(), token.to_owned()));
    let named = TEMPLATES.iter().map(|(short, name)| {
        let case = cases.iter().find(|case| case.template_name == *name).expect("a template of that name");
        (*short, ChatTemplate::compile(&case.template, &special).expect("compiles"))
    });
    named.collect()
}

/// Texts that differ in what a parser has to do with them.
fn texts(conversations: &str) -> [(&'static str, String, bool); 4] {
    let code: String = conversations.lines().flat_map(contents).collect();
    let plain = code.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { ' ' }).collect();
    // A common poem of thousand characters, over and over.
    let chinese =
        "天地玄黃，宇宙洪荒。日月盈昃，辰宿列張。寒來暑往，秋收冬藏。閏餘成歲，律呂調陽。\n".repeat(3_000);
    [
        ("ASCII without escapes", plain, false),
        ("code", code, false),
        ("Chinese", chinese.clone(), false),
        ("Chinese as \\u escapes", chinese, true),
    ]
}

fn contents(line: &str) -> Vec<String> {
    let conversation: serde_json::Value = serde_json::from_str(line).expect("JSON");
    let messages = conversation["messages"].as_array().expect("messages");
    messages.iter().filter_map(|message| message["content"].as_str().map(str::to_owned)).collect()
}

/// A JSON string; beyond ASCII as `\u` escapes, if asked for, as Python's `json.dumps` writes it.
fn quoted(text: &str, escaped: bool) -> String {
    let json = serde_json::to_string(text).expect("JSON");
    if !escaped {
        return json;
    }
    let unit = |c: char| c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect();
    json.chars().map(|c| if c.is_ascii() { c.to_string() } else { unit(c) }).collect()
}

/// A chat request of 400 KB: of many messages, or of one.
fn body(text: &str, escaped: bool, message_bytes: usize) -> Vec<u8> {
    let mut messages = vec![r#"{"role":"system","content":"You are a helpful assistant."}"#.to_owned()];
    let mut bytes = 100;
    let mut rest = text;
    while bytes < BODY_BYTES && !rest.is_empty() {
        // What a character takes in JSON differs; a first guess tells by how much.
        let wanted = message_bytes.min(BODY_BYTES - bytes);
        let sample = &rest[..rest.floor_char_boundary(wanted)];
        let grown = quoted(sample, escaped).len();
        let (now, after) = rest.split_at(rest.floor_char_boundary((wanted * wanted / grown).max(4)));
        let role = if messages.len() % 2 == 1 { "user" } else { "assistant" };
        let message = format!(r#"{{"role":"{role}","content":{}}}"#, quoted(now, escaped));
        bytes += message.len() + 1;
        messages.push(message);
        rest = after;
    }
    if messages.len() % 2 == 1 {
        messages.push(r#"{"role":"user","content":"Go on."}"#.to_owned());
    }
    format!(r#"{{"model":"m","messages":[{}],"stream":true}}"#, messages.join(",")).into_bytes()
}

/// Measures every template with every text, as one message and as many. `only`: cases that have that in their names.
pub fn bench(conversations: &str, fixture: &Path, rounds: usize, only: &str) {
    let templates = templates(fixture);
    for (text_name, text, escaped) in &texts(conversations) {
        for (shape, message_bytes) in [("many turns", MESSAGE_BYTES), ("one message", BODY_BYTES)] {
            let shape = format!("{shape}, {text_name}, 400 KB");
            if !shape.contains(only) {
                continue;
            }
            let body = body(text, *escaped, message_bytes);
            let mut spans = [0; FIELD_COUNT * 2];
            let scanned: Vec<f64> = (0..rounds)
                .map(|_| cpu_ns(|| scan(black_box(&body), BodyKind::Chat, &mut spans).expect("a chat")) / 1e3)
                .collect();
            emit(&shape, "phyllo", "scan CPU", "µs", &scanned);
            let mut samples = vec![Vec::new(); templates.len()];
            for _ in 0..rounds {
                for ((_, template), samples) in templates.iter().zip(&mut samples) {
                    let render = || {
                        let chat = ChatFields::of(black_box(&body), &spans).expect("a chat");
                        let rendered = template.render_chat(&chat, NOW).expect("renders");
                        assert!(matches!(black_box(rendered), (Rendered::Text(_), _)));
                    };
                    samples.push(cpu_ns(render) / 1e3);
                }
            }
            for ((name, _), samples) in templates.iter().zip(&samples) {
                let case = format!("{shape}, {name}");
                emit(&case, "phyllo", "parse + render CPU", "µs", samples);
            }
        }
    }
}
