//! Finding fields in a request body without building a tree.
//!
//! One pass validates the body as strict RFC 8259 JSON (UTF-8 included) and notes where the value of each known
//! top-level field stands. Bodies are forwarded as they came, so nothing but these spans is ever needed of them.

mod extras;
mod field;
mod json;
mod rules;
mod scan;
mod text;
mod unquote;
mod walk;

pub use extras::Extras;
pub use field::{BodyKind, FIELD_COUNT, Field, Spans};
pub use json::MAX_DEPTH;
pub use scan::{ScanCode, ScanFault, scan};
pub(crate) use unquote::read_string;
pub use unquote::unquote;
pub use walk::{elements, members};
