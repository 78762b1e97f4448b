//! The model's own tokenizer, from the files its engine loads.

mod config;
mod fast;
mod prompts;
mod shared;

pub use config::ChatTemplates;
pub use prompts::{PromptKey, PromptMemo};

use config::Config;
use fast::FastTokenizer;
use std::path::{Path, PathBuf};
use tokenizers::Tokenizer as HfTokenizer;

/// Why a tokenizer could not be loaded; each names the file and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// There is no such file.
    #[error("{path} is missing: {fix}", path = path.display())]
    Missing {
        /// The file looked for.
        path: PathBuf,
        /// What the operator can do.
        fix: &'static str,
    },
    /// The file cannot be read.
    #[error("cannot read {path}: {reason}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's word.
        reason: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{path} is not usable: {reason}. Is the download complete, and no Git LFS pointer?", path = path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The tokenizer refused a text.
    #[error("the tokenizer fails on this text: {0}")]
    Encode(String),
    /// The tokenizer refused token ids.
    #[error("the tokenizer fails on these ids: {0}")]
    Decode(String),
}

/// What a tokenizer is loaded from, where it is there.
const FILES: [&str; 5] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
];

/// A tokenizer with the special tokens and chat templates that came with it. Shared by all threads; one call runs on
/// the caller's thread alone.
#[derive(Debug)]
pub struct Tokenizer {
    inner: HfTokenizer,
    /// The same in our own code, if it is of a kind known there.
    fast: Option<FastTokenizer>,
    prompts: PromptMemo,
    /// Ids that `inner` puts around a text when special tokens are asked for.
    around: (Vec<u32>, Vec<u32>),
    /// Ids of added tokens, sorted.
    added: Box<[u32]>,
    special_tokens: Vec<(String, String)>,
    templates: ChatTemplates,
}

impl Tokenizer {
    /// Loads `tokenizer.json` (required), `tokenizer_config.json`, `special_tokens_map.json` and chat
    /// templates from a model's directory. Blocking: a large tokenizer takes seconds.
    pub fn load(dir: &Path) -> Result<Self, TokenizerError> {
        Self::load_remembering(dir, DEFAULT_MEMO_BYTES)
    }

    /// [`load`](Self::load) with another bound on the bytes of remembered ids, pieces' and whole chats'; 0: none.
    pub fn load_remembering(dir: &Path, memo_bytes: u64) -> Result<Self, TokenizerError> {
        // Whoever asks for a batch would wake rayon's pool; nothing here does, and nothing should.
        tokenizers::utils::parallelism::set_parallelism(false);
        let (inner, json) = load_tokenizer_json(&dir.join("tokenizer.json"))?;
        let config = Config::load(dir)?;
        let around = special_ends(&inner);
        let prompt_bytes = memo_bytes / PROMPTS_SHARE;
        let piece_bytes = memo_bytes - prompt_bytes;
        let fast = around.is_some().then(|| FastTokenizer::from_json(&json, piece_bytes)).flatten();
        let mut added: Vec<u32> = inner.get_added_tokens_decoder().into_keys().collect();
        added.sort_unstable();
        Ok(Tokenizer {
            inner,
            added: added.into(),
            fast,
            prompts: PromptMemo::new(prompt_bytes),
            around: around.unwrap_or_default(),
            special_tokens: config.special_tokens,
            templates: config.templates,
        })
    }

    /// The text's token ids. `add_special_tokens` is for plain prompts; a chat template writes its own. Which ones
    /// those are `tokenizer.json` says: transformers 5 does not look at `add_bos_token` and `add_eos_token` of
    /// `tokenizer_config.json` beside it, so for DeepSeek-V3, which asks for a first token there only, none is added.
    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, TokenizerError> {
        let Some(fast) = &self.fast else { return self.encode_plainly(text, add_special_tokens) };
        let mut ids = Vec::new();
        let (before, after) = &self.around;
        if add_special_tokens {
            ids.extend_from_slice(before);
        }
        fast.encode(text, &mut ids);
        if add_special_tokens {
            ids.extend_from_slice(after);
        }
        Ok(ids)
    }

    /// [`encode`](Self::encode) by the `tokenizers` crate alone: what everything faster is measured against.
    pub fn encode_plainly(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, TokenizerError> {
        // `encode_fast` leaves out the offsets, which nobody reads here.
        let encoding = self
            .inner
            .encode_fast(text, add_special_tokens)
            .map_err(|error| TokenizerError::Encode(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Whether [`encode`](Self::encode) is our own code.
    pub fn is_fast(&self) -> bool {
        self.fast.is_some()
    }

    /// Whether the id is an added token's (a special one's or not): such tokens are taken out of a text before the rest
    /// of it is tokenized, so that nothing melts with them.
    pub fn is_added(&self, id: u32) -> bool {
        self.added.binary_search(&id).is_ok()
    }

    /// Chats seen before.
    pub fn prompts(&self) -> &PromptMemo {
        &self.prompts
    }

    /// The text of token ids, special tokens included. Ids that the tokenizer does not know are left out.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        self.inner.decode(ids, false).map_err(|error| TokenizerError::Decode(error.to_string()))
    }

    /// Special tokens by their names in chat templates: `("bos_token", "<s>")`.
    pub fn special_tokens(&self) -> &[(String, String)] {
        &self.special_tokens
    }

    /// The chat templates that came with the tokenizer.
    pub fn templates(&self) -> &ChatTemplates {
        &self.templates
    }
}

/// Bytes of remembered ids per tokenizer where nobody says otherwise: those of 16 million tokens, which is 1,000
/// conversations of 16,000.
pub const DEFAULT_MEMO_BYTES: u64 = 64 << 20;

/// One part in so many of the memory is for whole chats, the rest for pieces of text. At the default that is 2,000 chats
/// of 2,000 tokens: more than are ever retried or sampled at a time.
const PROMPTS_SHARE: u64 = 4;

/// What the tokenizer's post-processor puts before and after any text; `None` if that can't be told from two texts.
fn special_ends(inner: &HfTokenizer) -> Option<(Vec<u32>, Vec<u32>)> {
    let ends = |text: &str| {
        let ids = |special| Some(inner.encode_fast(text, special).ok()?.get_ids().to_vec());
        let (plain, special) = (ids(false)?, ids(true)?);
        let at = special.windows(plain.len().max(1)).position(|window| window == plain)?;
        Some((special[..at].to_vec(), special[at + plain.len()..].to_vec()))
    };
    let found = ends("a")?;
    (ends("b 1")? == found).then_some(found)
}

fn load_tokenizer_json(path: &Path) -> Result<(HfTokenizer, Vec<u8>), TokenizerError> {
    let bytes = config::read(path)?.ok_or_else(|| TokenizerError::Missing {
        path: path.to_owned(),
        fix: "point the model's directory at one with the model's tokenizer.json, or leave it out to route by text",
    })?;
    let mut inner = HfTokenizer::from_bytes(&bytes)
        .map_err(|error| TokenizerError::Invalid { path: path.to_owned(), reason: error.to_string() })?;
    // Some files keep the settings of a training run; engines set both anew for each call, to none.
    inner.with_padding(None);
    inner
        .with_truncation(None)
        .map_err(|error| TokenizerError::Invalid { path: path.to_owned(), reason: error.to_string() })?;
    Ok((inner, bytes))
}
