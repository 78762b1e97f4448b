//! `EventFeed`: one publisher's KV events.

use crate::shared_state::{SharedState, failure, pod};
use napi::bindgen_prelude::*;
use napi_derive::napi;
use phyllo_core::events::{Feed, FeedOptions, batch};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What `wants` and `rankOf` answer for none.
const NONE: f64 = -1.0;

/// See `EventFeedOptions` in `src/data/native.ts`.
#[napi(object)]
pub struct EventFeedOptions {
    pub model: String,
    pub replay: bool,
    pub first_sequence: f64,
}

/// See `EventFeed` in `src/data/native.ts`. Only its own thread uses it; the lock is never contended.
#[napi]
pub struct EventFeed {
    feed: Mutex<Option<Feed>>,
}

/// A sequence number as it is sent: eight bytes, the highest first.
fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

#[napi]
impl EventFeed {
    #[napi(constructor)]
    pub fn new(state: &SharedState, pod_ref: f64, options: EventFeedOptions) -> Result<Self> {
        let pod = pod(pod_ref).ok_or_else(|| failure("no such pod"))?;
        let EventFeedOptions { model, replay, first_sequence } = options;
        let options = FeedOptions { model, replay, first: first_sequence as u64 };
        let feed = Feed::new(Arc::clone(&state.inner), pod, options);
        Ok(Self { feed: Mutex::new(Some(feed)) })
    }

    #[napi(catch_unwind)]
    pub fn receive(&self, sequence: &[u8], payload: &[u8]) -> bool {
        self.with(|feed| feed.receive_raw(number(sequence), payload)).unwrap_or(false)
    }

    #[napi(catch_unwind)]
    pub fn receive_all(&self, frames: Vec<&[u8]>) -> bool {
        let all = |feed: &mut Feed| {
            let pairs = frames.chunks_exact(2);
            pairs.fold(false, |look, pair| feed.receive_raw(number(pair[0]), pair[1]) | look)
        };
        self.with(all).unwrap_or(false)
    }

    #[napi(catch_unwind)]
    pub fn connected(&self) -> bool {
        self.with(Feed::connected).unwrap_or(false)
    }

    #[napi(catch_unwind)]
    pub fn disconnected(&self) {
        self.with(Feed::disconnected);
    }

    #[napi(catch_unwind)]
    pub fn wants(&self) -> f64 {
        self.with(|feed| feed.wants()).flatten().map_or(NONE, |from| from as f64)
    }

    #[napi(catch_unwind)]
    pub fn replayed(&self, sequence: &[u8], payload: &[u8]) {
        if let Some(sequence) = number(sequence) {
            self.with(|feed| feed.replayed(sequence, payload));
        }
    }

    #[napi(catch_unwind)]
    pub fn replay_done(&self) -> bool {
        self.with(Feed::replay_done).unwrap_or(false)
    }

    #[napi(catch_unwind)]
    pub fn replay_failed(&self) -> bool {
        self.with(Feed::replay_failed).unwrap_or(false)
    }

    #[napi(catch_unwind)]
    pub fn notice(&self) -> Option<String> {
        self.with(Feed::notice).flatten()
    }

    #[napi(catch_unwind)]
    pub fn rank_of(&self, payload: &[u8]) -> f64 {
        let rank = batch::head(payload).ok().and_then(|head| head.rank);
        rank.map_or(NONE, f64::from)
    }

    #[napi(catch_unwind)]
    pub fn close(&self) {
        self.lock().take();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Feed>> {
        self.feed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, call: impl FnOnce(&mut Feed) -> T) -> Option<T> {
        self.lock().as_mut().map(call)
    }
}
