//! Recorded messages of real engines against a naive reference, and streams that lose, repeat and reorder.

mod forms;
mod naive;
mod recorded;
mod streams;

use super::*;
use crate::hash::{Root, SequenceHash, hash_blocks};
use crate::index::Matches;
use crate::pods::{BreakerOptions, PodRef};
use crate::state::{SharedState, StateOptions};
use rmpv::Value;
use std::sync::Arc;

const TTL_MS: u64 = 5000;

fn state() -> Arc<SharedState> {
    let options = StateOptions {
        width: 64,
        breakers: BreakerOptions {
            failures: 2,
            cooldown_ms: 1000,
            latency_factor: 0.0,
            latency_floor_ms: 0.0,
        },
        predicted_blocks: 1000,
        predicted_ttl_ms: TTL_MS,
        index_bytes: 64 << 20,
        sessions: 10,
        session_ttl_ms: 60_000,
        lower_tier_worth: 0.5,
        slow_start_ms: 0,
        virtual_clock: true,
    };
    Arc::new(SharedState::new(&options).expect("a good width"))
}

fn pod(state: &SharedState, id: &str) -> PodRef {
    let pod = state.add_pod(id).expect("room");
    assert!(state.pods.activate(pod));
    pod
}

fn options(replay: bool) -> FeedOptions {
    FeedOptions { model: "tiny".to_owned(), replay, first: 0 }
}

fn map(pairs: Vec<(&str, Value)>) -> Value {
    Value::Map(pairs.into_iter().map(|(key, value)| (key.into(), value)).collect())
}

fn encoded(batch: &Value) -> Vec<u8> {
    let mut payload = Vec::new();
    rmpv::encode::write_value(&mut payload, batch).expect("memory");
    payload
}

/// Leading blocks of a prompt that the pod holds.
fn depth(state: &SharedState, pod: PodRef, salt: Option<&str>, tokens: &[u32], block_size: usize) -> u32 {
    let mut hashes: Vec<SequenceHash> = Vec::new();
    hash_blocks(Root::new("tiny", None, salt, block_size), tokens, block_size, &mut hashes);
    let mut out = Matches::default();
    state.match_prefix(&hashes, &mut out);
    let found = out.as_slice().iter().find(|found| usize::from(found.slot) == pod.slot());
    found.map_or(0, |found| found.depth)
}
