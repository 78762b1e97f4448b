//! The parts of `tokenizer.json` that decide on ids.

use hashbrown::HashMap;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
pub(super) struct File {
    #[serde(default)]
    pub added_tokens: Vec<AddedToken>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    pub model: Model,
}

#[derive(Deserialize)]
pub(super) struct AddedToken {
    pub id: u32,
    pub content: String,
    #[serde(default)]
    pub single_word: bool,
    #[serde(default)]
    pub lstrip: bool,
    #[serde(default)]
    pub rstrip: bool,
    #[serde(default)]
    pub normalized: bool,
}

#[derive(Deserialize)]
pub(super) struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    pub vocab: HashMap<String, u32>,
    pub merges: Vec<Merge>,
    #[serde(default)]
    dropout: Option<f32>,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    pub ignore_merges: bool,
}

/// `["a", "b"]`, or in older files `"a b"`.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Merge {
    Pair(String, String),
    Line(String),
}

impl Merge {
    pub(super) fn parts(&self) -> Option<(&str, &str)> {
        match self {
            Merge::Pair(left, right) => Some((left, right)),
            Merge::Line(line) => line.split_once(' '),
        }
    }
}

impl Model {
    /// Plain BPE: no other model, and nothing that changes its merges.
    pub(super) fn is_plain_bpe(&self) -> bool {
        let none = |text: &Option<String>| text.as_deref().unwrap_or_default().is_empty();
        self.kind.as_deref().is_none_or(|kind| kind == "BPE")
            && self.dropout.unwrap_or(0.0) == 0.0
            && !self.byte_fallback
            && none(&self.continuing_subword_prefix)
            && none(&self.end_of_word_suffix)
    }
}

impl File {
    /// Whether text is brought into NFC first; `None` for any other normalizer.
    pub(super) fn nfc(&self) -> Option<bool> {
        match &self.normalizer {
            None | Some(Value::Null) => Some(false),
            Some(value) if value["type"] == "NFC" => Some(true),
            Some(value) if value["type"] == "Sequence" && value["normalizers"] == Value::Array(vec![]) => {
                Some(false)
            }
            Some(_) => None,
        }
    }

    /// The regular expressions of its `Split`s, in order, if what follows them is nothing but the byte alphabet.
    pub(super) fn patterns(&self) -> Option<Vec<&str>> {
        let pre_tokenizer = self.pre_tokenizer.as_ref()?;
        let (last, splits) = pre_tokenizer["pretokenizers"].as_array()?.split_last()?;
        let is_alphabet =
            last["type"] == "ByteLevel" && last["add_prefix_space"] == false && last["use_regex"] == false;
        let isolated = |split: &Value| {
            split["type"] == "Split" && split["behavior"] == "Isolated" && split["invert"] == false
        };
        if pre_tokenizer["type"] != "Sequence" || !is_alphabet || !splits.iter().all(isolated) {
            return None;
        }
        splits.iter().map(|split| split["pattern"]["Regex"].as_str()).collect()
    }
}
