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
const FILES: [&str; 4] =
    ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"];

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
    /// Ids that `tokenizer_config.json` asks for around a text, and `tokenizer.json` itself does not add.
    prefix: Option<u32>,
    suffix: Option<u32>,
}

impl Tokenizer {
    /// Loads `tokenizer.json` (required), `tokenizer_config.json`, `special_tokens_map.json` and
    /// `chat_template.jinja` from a model's directory. Blocking: a large tokenizer takes seconds.
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
        let mut tokenizer = Tokenizer {
            inner,
            added: added.into(),
            fast,
            prompts: PromptMemo::new(prompt_bytes),
            around: around.unwrap_or_default(),
            special_tokens: config.special_tokens,
            templates: config.templates,
            prefix: None,
            suffix: None,
        };
        tokenizer.add_requested_ends(config.add_bos_token, config.add_eos_token)?;
        Ok(tokenizer)
    }

    /// The text's token ids. `add_special_tokens` is for plain prompts; a chat template writes its own.
    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, TokenizerError> {
        let Some(fast) = &self.fast else { return self.encode_plainly(text, add_special_tokens) };
        let mut ids = Vec::new();
        let (before, after) = &self.around;
        if add_special_tokens {
            ids.extend(self.prefix);
            ids.extend_from_slice(before);
        }
        fast.encode(text, &mut ids);
        if add_special_tokens {
            ids.extend_from_slice(after);
            ids.extend(self.suffix);
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
        if !add_special_tokens || (self.prefix.is_none() && self.suffix.is_none()) {
            return Ok(encoding.get_ids().to_vec());
        }
        Ok(self.prefix.into_iter().chain(encoding.get_ids().iter().copied()).chain(self.suffix).collect())
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

    /// Python's tokenizer classes put `bos` and `eos` around a text if the configuration says so, even where
    /// `tokenizer.json` does not (DeepSeek-V3). An explicit `false` changes nothing: what `tokenizer.json` adds by
    /// itself the classes keep.
    fn add_requested_ends(&mut self, bos: bool, eos: bool) -> Result<(), TokenizerError> {
        let plain = self.encode("a", true)?;
        let id_of = |name: &str| {
            let (_, token) = self.special_tokens.iter().find(|(known, _)| known == name)?;
            self.inner.token_to_id(token)
        };
        let (prefix, suffix) = (id_of("bos_token"), id_of("eos_token"));
        self.prefix = prefix.filter(|id| bos && plain.first() != Some(id));
        self.suffix = suffix.filter(|id| eos && plain.last() != Some(id));
        Ok(())
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
