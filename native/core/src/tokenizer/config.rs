//! The files beside `tokenizer.json`: special tokens by name, and the chat templates.

use super::TokenizerError;
use serde_json::{Map, Value};
use std::io::ErrorKind;
use std::path::Path;

/// The chat templates of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChatTemplates {
    /// Source of the template for all requests, if there is one.
    pub default: Option<String>,
    /// Source of the one for requests with tools, where the model has two (Command R, Hermes 2).
    pub tool_use: Option<String>,
}

/// What the configuration says that concerns prompts.
#[derive(Debug, Default)]
pub(super) struct Config {
    pub special_tokens: Vec<(String, String)>,
    pub templates: ChatTemplates,
}

impl Config {
    pub(super) fn load(dir: &Path) -> Result<Self, TokenizerError> {
        let config = read_object(&dir.join("tokenizer_config.json"))?;
        // Older models name their tokens here only.
        let map = read_object(&dir.join("special_tokens_map.json"))?;
        let mut special_tokens = named_tokens(&config);
        for (name, token) in named_tokens(&map) {
            if !special_tokens.iter().any(|(known, _)| *known == name) {
                special_tokens.push((name, token));
            }
        }
        Ok(Config { templates: templates(dir, &config)?, special_tokens })
    }
}

/// Reads a file; `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, TokenizerError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(reason) if reason.kind() == ErrorKind::NotFound => Ok(None),
        Err(reason) => Err(TokenizerError::Unreadable { path: path.to_owned(), reason }),
    }
}

fn invalid(path: &Path, reason: impl ToString) -> TokenizerError {
    TokenizerError::Invalid { path: path.to_owned(), reason: reason.to_string() }
}

fn read_object(path: &Path) -> Result<Map<String, Value>, TokenizerError> {
    match read(path)? {
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|error| invalid(path, error)),
        None => Ok(Map::new()),
    }
}

/// `bos_token`, `eos_token`, `image_token`, … : a string, or an AddedToken object with its text in `content`. A
/// token that is null is no variable at all, as in transformers.
fn named_tokens(config: &Map<String, Value>) -> Vec<(String, String)> {
    let named = config.iter().filter(|(name, _)| name.ends_with("_token"));
    named
        .filter_map(|(name, token)| {
            let text = token.as_str().or_else(|| token.get("content")?.as_str())?;
            Some((name.clone(), text.to_owned()))
        })
        .collect()
}

/// `chat_template.jinja` wins over `chat_template.json` (of multimodal processors), and both over
/// `tokenizer_config.json`, whose template may be a string or a list of named ones.
fn templates(dir: &Path, config: &Map<String, Value>) -> Result<ChatTemplates, TokenizerError> {
    let mut templates = ChatTemplates::default();
    match config.get("chat_template") {
        Some(Value::String(source)) => templates.default = Some(source.clone()),
        Some(Value::Array(named)) => {
            let source = |wanted: &str| {
                let entry =
                    named.iter().find(|entry| entry.get("name").and_then(Value::as_str) == Some(wanted))?;
                entry.get("template")?.as_str().map(str::to_owned)
            };
            templates = ChatTemplates { default: source("default"), tool_use: source("tool_use") };
        }
        _ => {}
    }
    let json = dir.join("chat_template.json");
    if let Some(Value::String(source)) = read_object(&json)?.get("chat_template") {
        templates.default = Some(source.clone());
    }
    if let Some(source) = read_text(&dir.join("chat_template.jinja"))? {
        templates.default = Some(source);
    }
    if let Some(source) = read_text(&dir.join("additional_chat_templates").join("tool_use.jinja"))? {
        templates.tool_use = Some(source);
    }
    Ok(templates)
}

fn read_text(path: &Path) -> Result<Option<String>, TokenizerError> {
    let text = |bytes| String::from_utf8(bytes).map_err(|_| invalid(path, "not UTF-8"));
    read(path)?.map(text).transpose()
}
