//! Every message that real engines published.

use super::naive::Naive;
use super::*;
use std::io::Read;

type Message = (u64, Vec<u8>);

fn messages(capture: &str) -> Vec<Message> {
    let path = format!("{}/tests/fixtures/kv-events/{capture}.frames.zst", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::File::open(&path).expect("the fixture");
    let mut bytes = Vec::new();
    ruzstd::decoding::StreamingDecoder::new(file).expect("zstd").read_to_end(&mut bytes).expect("zstd");
    let mut rest = &bytes[..];
    let mut take = |count: usize| {
        let (taken, left) = rest.split_at(count);
        rest = left;
        (taken.to_vec(), left.is_empty())
    };
    let number = |bytes: Vec<u8>| u32::from_be_bytes(bytes.try_into().expect("four bytes")) as usize;
    let mut messages = Vec::new();
    loop {
        assert_eq!(number(take(4).0), 3, "topic, sequence, payload");
        let mut frames = Vec::new();
        let mut end = false;
        for _ in 0..3 {
            let length = number(take(4).0);
            let (frame, last) = take(length);
            frames.push(frame);
            end = last;
        }
        let payload = frames.pop().expect("a payload");
        let sequence = frames.pop().expect("a sequence").try_into().expect("eight bytes");
        messages.push((u64::from_be_bytes(sequence), payload));
        if end {
            return messages;
        }
    }
}

/// After every message, the state has of every prompt that was ever cached just what the reference has.
fn follows(messages: &[Message]) -> Naive {
    let state = state();
    let pod = pod(&state, "a");
    let first = messages[0].0;
    let mut feed = Feed::new(state.clone(), pod, FeedOptions { first, ..options(false) });
    let mut naive = Naive::default();
    for (sequence, payload) in messages {
        feed.receive(*sequence, payload);
        assert_eq!(feed.wants(), None);
        naive.apply(payload);
        for prefix in &naive.seen {
            let found = depth(&state, pod, prefix.0.as_deref(), &prefix.1, naive.block_size);
            assert_eq!(found, naive.depth(prefix), "after {sequence}");
        }
        assert_eq!(state.exact.blocks(pod).0, naive.blocks());
    }
    assert!(state.exact.is_exact(pod));
    let words = state.cache_status(pod).expect("it is here");
    assert_eq!((words[4] as usize, words[14]), (naive.block_size, 0.0));
    naive
}

#[test]
fn vllm_with_events_as_maps() {
    let naive = follows(&messages("vllm-0.32.0"));
    assert_eq!((naive.block_size, naive.clears), (32, 1));
    assert!(naive.stores > 30 && naive.removals > 25 && naive.seen.iter().any(|prefix| prefix.0.is_some()));
}

#[test]
fn vllm_with_events_as_arrays() {
    let naive = follows(&messages("vllm-0.22.1"));
    assert_eq!((naive.block_size, naive.clears), (16, 1));
    assert!(naive.removals > 50 && naive.seen.iter().any(|prefix| prefix.0.is_some()));
}

#[test]
fn vllm_with_hashes_of_32_bytes() {
    assert_eq!(follows(&messages("vllm-0.32.0-sha256cbor-bytes-example")).clears, 1);
}

#[test]
fn sglang_with_signed_hashes() {
    let naive = follows(&messages("sglang-0.5.23"));
    assert_eq!((naive.block_size, naive.clears), (16, 1));
    assert!(naive.seen.iter().any(|prefix| prefix.0.as_deref() == Some("tenant-1")));
    let evicting = follows(&messages("sglang-0.5.23-evict"));
    assert!(evicting.removals > 100);
}

#[test]
fn a_prefill_and_a_decode_pod() {
    follows(&messages("pd-nixl-0.32.0-events-P"));
    follows(&messages("pd-nixl-0.32.0-events-D"));
}

#[test]
fn two_data_parallel_ranks_tell_their_rank_in_the_batch() {
    let all = messages("vllm-0.32.0-dp2");
    for rank in 0..2 {
        let own: Vec<Message> = all
            .iter()
            .filter(|message| batch::head(&message.1).expect("readable").rank == Some(rank))
            .cloned()
            .collect();
        assert_eq!(own.len(), 4);
        follows(&own);
    }
}
