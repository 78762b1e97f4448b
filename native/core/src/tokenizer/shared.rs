//! One tokenizer per directory: a large one takes seconds to load and some hundred megabytes.

use super::{Tokenizer, TokenizerError};
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Weak};
use std::time::SystemTime;

/// A directory as it is now: files that were replaced are loaded anew, while who has the old ones keeps them. Who wants
/// another bound on its memory gets a tokenizer of its own.
#[derive(PartialEq, Eq, Hash)]
struct Source {
    dir: PathBuf,
    changed: Vec<Option<SystemTime>>,
    memo_bytes: u64,
}

impl Source {
    /// `None` where the directory is not there; loading it says so.
    fn of(dir: &Path, memo_bytes: u64) -> Option<Self> {
        let dir = dir.canonicalize().ok()?;
        let changed = |name: &&str| dir.join(name).metadata().and_then(|file| file.modified()).ok();
        let changed = super::FILES.iter().map(changed).collect();
        Some(Self { dir, changed, memo_bytes })
    }
}

/// A directory's tokenizer while somebody has it.
type Place = Arc<Mutex<Weak<Tokenizer>>>;

static LOADED: LazyLock<Mutex<HashMap<Source, Place>>> = LazyLock::new(Mutex::default);

impl Tokenizer {
    /// The directory's tokenizer, loaded unless some model in this process has it. See
    /// [`Tokenizer::load_remembering`].
    pub fn shared(dir: &Path, memo_bytes: u64) -> Result<Arc<Self>, TokenizerError> {
        let load = || Self::load_remembering(dir, memo_bytes).map(Arc::new);
        let Some(source) = Source::of(dir, memo_bytes) else { return load() };
        let place = {
            let mut loaded = LOADED.lock();
            // One that is being loaded, or about to be, is nobody's yet.
            loaded.retain(|_, place| Arc::strong_count(place) > 1 || place.lock().strong_count() > 0);
            loaded.entry(source).or_default().clone()
        };
        // Held while loading: whoever asks for the same one meanwhile waits for it, and nobody else does.
        let mut tokenizer = place.lock();
        if let Some(tokenizer) = tokenizer.upgrade() {
            return Ok(tokenizer);
        }
        let loaded = load()?;
        *tokenizer = Arc::downgrade(&loaded);
        Ok(loaded)
    }
}
