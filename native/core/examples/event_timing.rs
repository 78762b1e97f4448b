//! What the way of KV events from message to index costs, without sockets: nanoseconds of CPU time per block and per
//! message, of stores in messages of 64 blocks and of 1, and of removals. For profiles; the goals are measured end to
//! end by `npm run bench:events`. Arguments: blocks in the cache, blocks in a message.

use phyllo_core::events::{Feed, FeedOptions};
use phyllo_core::pods::BreakerOptions;
use phyllo_core::state::{SharedState, StateOptions};
use rmpv::Value;
use std::sync::Arc;
use std::time::Instant;

const BLOCK: usize = 16;
/// Blocks in the engine's cache unless the first argument says otherwise: what an 80 GB GPU holds of an 8B model.
const CAPACITY: usize = 32_768;
/// Stored in all and removed in all, so often.
const ROUNDS: usize = 20;

fn hash(number: usize) -> u64 {
    (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn map(pairs: Vec<(&str, Value)>) -> Value {
    Value::Map(pairs.into_iter().map(|(key, value)| (key.into(), value)).collect())
}

fn stored(first: usize, count: usize, chain: usize) -> Value {
    let tokens = (0..count * BLOCK).map(|at| Value::from((first * BLOCK + at) as u64 * 7919 % 150_000));
    let parent = if first.is_multiple_of(chain) { Value::Nil } else { hash(first - 1).into() };
    map(vec![
        ("type", "BlockStored".into()),
        ("block_hashes", Value::Array((first..first + count).map(|n| hash(n).into()).collect())),
        ("parent_block_hash", parent),
        ("token_ids", Value::Array(tokens.collect())),
        ("block_size", BLOCK.into()),
        ("lora_id", Value::Nil),
        ("medium", "GPU".into()),
        ("lora_name", Value::Nil),
        ("extra_keys", Value::Array(vec![Value::Nil; count])),
        ("group_idx", 0.into()),
        ("kv_cache_spec_kind", "full_attention".into()),
    ])
}

fn removed(first: usize, count: usize) -> Vec<Value> {
    let one = |n: usize| {
        let hashes = Value::Array(vec![hash(n).into()]);
        map(vec![("type", "BlockRemoved".into()), ("block_hashes", hashes), ("medium", "GPU".into())])
    };
    (first..first + count).rev().map(one).collect()
}

fn message(events: Vec<Value>) -> Vec<u8> {
    let mut payload = Vec::new();
    let batch = Value::Array(vec![1.0e9.into(), Value::Array(events), 0.into()]);
    rmpv::encode::write_value(&mut payload, &batch).expect("memory");
    payload
}

fn main() {
    let numbers: Vec<usize> =
        std::env::args().skip(1).map(|argument| argument.parse().expect("a number of blocks")).collect();
    let capacity = numbers.first().copied().unwrap_or(CAPACITY);
    let sizes = numbers.get(1).map_or(vec![64, 1], |&size| vec![size]);
    for per_message in sizes {
        let options = StateOptions {
            width: 256,
            breakers: BreakerOptions {
                failures: 5,
                cooldown_ms: 1000,
                latency_factor: 0.0,
                latency_floor_ms: 0.0,
            },
            predicted_blocks: 1000,
            predicted_ttl_ms: 1000,
            lower_tier_worth: 1.0,
            slow_start_ms: 0,
            index_bytes: 1 << 40,
            sessions: 10,
            session_ttl_ms: 1000,
            virtual_clock: true,
        };
        let state = Arc::new(SharedState::new(&options).expect("a width"));
        let pod = state.add_pod("a").expect("room");
        state.pods.activate(pod);
        let mut feed =
            Feed::new(state.clone(), pod, FeedOptions { model: "m".to_owned(), replay: false, first: 0 });
        let stores: Vec<Vec<u8>> = (0..capacity / per_message)
            .map(|n| message(vec![stored(n * per_message, per_message, 512)]))
            .collect();
        let removals: Vec<Vec<u8>> =
            (0..capacity / per_message).map(|n| message(removed(n * per_message, per_message))).collect();
        let mut sequence = 0;
        let mut best = [f64::MAX; 2];
        for _ in 0..ROUNDS {
            for (kind, messages) in [&stores, &removals].into_iter().enumerate() {
                let start = Instant::now();
                for payload in messages {
                    feed.receive(sequence, payload);
                    sequence += 1;
                }
                best[kind] = best[kind].min(start.elapsed().as_nanos() as f64 / capacity as f64);
                let there = state.exact.blocks(pod).0;
                assert_eq!(there, if kind == 0 { capacity } else { 0 });
            }
        }
        report(per_message, best);
    }
}

#[allow(clippy::print_stdout, reason = "a program for people")]
fn report(per_message: usize, [store, remove]: [f64; 2]) {
    println!("{per_message} blocks a message: stored {store:.0} ns a block, removed {remove:.0} ns a block");
}
