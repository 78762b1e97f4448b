//! Real models, and short cuts from a JSON body to its prompt.
#![allow(dead_code)] // each test crate uses its part

use super::model_dir;
use phyllo_core::model::{Model, ModelOptions, Prompt, PromptError};
use phyllo_core::request::{BodyKind, FIELD_COUNT, Spans, scan};
use serde_json::{Value, json};
use std::sync::LazyLock;
use std::time::Duration;

/// 2026-11-21, noon UTC.
pub const NOW: Duration = Duration::from_secs(1_795_262_400);

pub static QWEN2_5: LazyLock<Model> = LazyLock::new(|| load("qwen2_5"));
pub static QWEN3: LazyLock<Model> = LazyLock::new(|| load("qwen3"));
pub static LLAMA: LazyLock<Model> = LazyLock::new(|| load("llama3_1"));

pub fn load(name: &str) -> Model {
    let options = ModelOptions { dir: Some(model_dir(name)), block_size: 16, ..ModelOptions::default() };
    Model::load(name, &options).unwrap_or_else(|error| panic!("{error}"))
}

pub fn bare() -> Model {
    Model::load("bare", &ModelOptions { block_size: 16, ..ModelOptions::default() }).expect("nothing to load")
}

pub fn scanned(kind: BodyKind, body: &[u8]) -> Spans {
    let mut spans = [0; FIELD_COUNT * 2];
    scan(body, kind, &mut spans)
        .unwrap_or_else(|fault| panic!("{fault:?}: {}", String::from_utf8_lossy(body)));
    spans
}

pub fn try_prompt(model: &Model, kind: BodyKind, body: &Value) -> Result<Prompt, PromptError> {
    let body = serde_json::to_vec(body).expect("JSON");
    model.prompt(kind, &body, &scanned(kind, &body), NOW)
}

pub fn prompt(model: &Model, kind: BodyKind, body: &Value) -> Prompt {
    try_prompt(model, kind, body).unwrap_or_else(|error| panic!("{error}"))
}

/// A chat's prompt as text.
pub fn chat_text(model: &Model, body: &Value) -> String {
    let prompt = prompt(model, BodyKind::Chat, body);
    assert!(prompt.exact);
    model.tokenizer().expect("a tokenizer").decode(&prompt.tokens).expect("decodes")
}

/// A chat request.
pub fn chat(messages: Value) -> Value {
    json!({"model": "m", "messages": messages})
}
