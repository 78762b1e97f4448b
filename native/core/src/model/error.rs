//! Why a model cannot be loaded, and why a request has no prompt.

use crate::request::ScanFault;
use crate::template::TemplateError;
use crate::tokenizer::TokenizerError;

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file of its directory is missing or broken.
    #[error("model {name}: {reason}")]
    Tokenizer {
        /// The model.
        name: String,
        /// The file, what is wrong with it, and what to do.
        reason: TokenizerError,
    },
    /// Its chat template is not Jinja.
    #[error("model {name}: {reason}")]
    Template {
        /// The model.
        name: String,
        /// What the compiler says.
        reason: TemplateError,
    },
    /// A block of no tokens.
    #[error("model {name}: the block size must be at least 1 token")]
    BlockSize {
        /// The model.
        name: String,
    },
}

/// Why a request has no prompt.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// The chat template refuses or fails; the client's fault more often than not.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The tokenizer fails.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The body is no chat request. Only of [`Model::encode_chat`](super::Model::encode_chat).
    #[error("the body is no chat request: {0}")]
    Body(ScanFault),
    /// The request has no exact tokens. Only of [`Model::encode_chat`](super::Model::encode_chat).
    #[error("this chat has no exact tokens: {0}")]
    NotExact(&'static str),
}
