//! Free functions and the tokenizer, for simulated engines, tests and tools.

use crate::shared_state::failure;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use phyllo_core::hash::{self, Root};
use phyllo_core::model::{Model, ModelOptions};
use phyllo_core::request::{BodyKind, FIELD_COUNT, Spans, scan};
use phyllo_core::template;
use std::time::{SystemTime, UNIX_EPOCH};

/// Cumulative block hashes of tokens, as the router computes them.
#[napi(catch_unwind)]
pub fn hash_blocks(tokens: &[u32], block_size: u32, root: String) -> Result<BigUint64Array> {
    if block_size == 0 {
        return Err(Error::from_reason("block size must be at least 1"));
    }
    let mut out = Vec::new();
    let root = Root::new(&root, None, None, block_size as usize);
    hash::hash_blocks(root, tokens, block_size as usize, &mut out);
    Ok(out.iter().map(|hash| hash.0).collect::<Vec<u64>>().into())
}

/// Renders a chat template; `now_ms` is what `strftime_now` sees.
#[napi(catch_unwind)]
pub fn render_template(template: String, context_json: String, now_ms: f64) -> Result<String> {
    template::render_template(&template, &context_json, now_ms as u64).map_err(failure)
}

/// Version of the native core.
#[napi]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

/// See `Tokenizer` in `src/data/native.ts`. A model without a name: what it hashes is not used.
#[napi]
pub struct Tokenizer {
    model: Model,
}

#[napi]
impl Tokenizer {
    #[napi(factory, catch_unwind)]
    pub fn load(dir: String) -> Result<Self> {
        let options = ModelOptions { dir: Some(dir.into()), block_size: 1, ..ModelOptions::default() };
        Ok(Self { model: Model::load("tokenizer", &options).map_err(failure)? })
    }

    #[napi(catch_unwind)]
    pub fn encode(&self, text: String, add_special_tokens: bool) -> Result<Uint32Array> {
        Ok(self.tokenizer()?.encode(&text, add_special_tokens).map_err(failure)?.into())
    }

    #[napi(catch_unwind)]
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.tokenizer()?.decode(ids).map_err(failure)
    }

    #[napi(catch_unwind)]
    pub fn encode_chat(&self, body: &[u8]) -> Result<Uint32Array> {
        let mut spans: Spans = [0; FIELD_COUNT * 2];
        scan(body, BodyKind::Chat, &mut spans).map_err(|fault| failure(format!("{fault:?}")))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let prompt = self.model.prompt(BodyKind::Chat, body, &spans, now).map_err(failure)?;
        Ok(prompt.tokens.into())
    }

    fn tokenizer(&self) -> Result<&phyllo_core::tokenizer::Tokenizer> {
        self.model.tokenizer().ok_or_else(|| failure("the directory holds no tokenizer"))
    }
}
