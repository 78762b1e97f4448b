//! Times the prefix index and the predicted ledger on one core and prints a table.
//!
//! `cargo run --release -p phyllo-core --example index_timing [prompts]`
//!
//! The index holds `prompts` prompts of 2,048 blocks (default 2,000: 4.1 million blocks) over 256 pods, each prompt at
//! K depths: its pods are K groups that hold an equal part more each. Queries go over the prompts in a scattered order,
//! so that none finds its entries in the cache; the hashes asked for are in the cache, as they are after hashing. Best
//! read as medians: each row is 2,000 queries one by one, less what reading the clock costs.
#![allow(clippy::print_stdout, reason = "an example that prints what it measures")]

use phyllo_core::clock::Clock;
use phyllo_core::hash::{Root, SequenceHash, hash_blocks};
use phyllo_core::index::naive::NaiveIndex;
use phyllo_core::index::{Matches, PrefixIndex, Slots, Width};
use phyllo_core::pods::PodRef;
use phyllo_core::predicted::Predicted;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PODS: u32 = 256;
const LONGEST: usize = 2048;
const QUERIES: usize = 2000;

fn prompt(number: u64, blocks: usize) -> Vec<SequenceHash> {
    let mut out = Vec::new();
    let tokens: Vec<u32> = (0..blocks as u32 * 16).map(|i| i ^ (number as u32) << 12).collect();
    hash_blocks(Root::new("m", None, Some(&number.to_string()), 16), &tokens, 16, &mut out);
    out
}

fn fleet() -> (Arc<Slots>, PrefixIndex, Vec<PodRef>) {
    let slots = Arc::new(Slots::default());
    let index = PrefixIndex::new(Width::Pods256, slots.clone());
    let pods: Vec<PodRef> = (0..PODS).map(|slot| PodRef::new(slot, 1)).collect();
    pods.iter().for_each(|&pod| {
        slots.open(pod);
        slots.show(pod);
    });
    (slots, index, pods)
}

/// Gives each prompt's first `blocks` blocks to eight pods at K depths.
fn fill(index: &PrefixIndex, pods: &[PodRef], prompts: u64, blocks: usize, depths: usize) {
    for number in 0..prompts {
        let hashes = prompt(number, LONGEST);
        for group in 0..depths.max(8) {
            let depth = blocks * (group % depths + 1) / depths
                - usize::from(depths > 1 && group % depths + 1 < depths);
            index.store(pods[(number as usize * 8 + group * 31) % pods.len()], None, &hashes[..depth.max(1)]);
        }
        // The rest of the prompt belongs to a pod that has not its start: the table is full size for every row.
        index.store(pods[(number as usize + 7) % pods.len()], None, &hashes[blocks..]);
    }
}

fn quantiles(mut times: Vec<u64>) -> (u64, u64, u64) {
    times.sort_unstable();
    (times[0], times[times.len() / 2], times[times.len() * 99 / 100])
}

fn clock_cost() -> u64 {
    quantiles((0..10_000).map(|_| nanos(Instant::now().elapsed())).collect()).1
}

fn nanos(time: Duration) -> u64 {
    time.as_nanos() as u64
}

fn queries(prompts: u64) {
    println!(
        "{:>6} {:>4} {:>9} {:>9} {:>9} {:>7}   (ns a query; 256 pods)",
        "N", "K", "min", "median", "p99", "MB"
    );
    for depths in [1, 4, 16] {
        for blocks in [64, 512, LONGEST] {
            let (_slots, index, pods) = fleet();
            fill(&index, &pods, prompts, blocks, depths);
            let mut out = Matches::default();
            let clock = clock_cost();
            let times = (0..QUERIES).map(|i| {
                let hashes = prompt(i as u64 * 1_000_003 % prompts, blocks);
                let start = Instant::now();
                index.query(black_box(&hashes), &mut out);
                let time = nanos(start.elapsed()).saturating_sub(clock);
                assert!(out.as_slice().len() >= depths.min(8));
                time
            });
            let (min, median, p99) = quantiles(times.collect());
            println!("{blocks:>6} {depths:>4} {min:>9} {median:>9} {p99:>9} {:>7}", index.bytes() >> 20);
        }
    }
}

fn naive() {
    let mut index = NaiveIndex::default();
    (0..PODS).for_each(|slot| index.add_pod(slot));
    let hashes = prompt(1, 512);
    (0..8).for_each(|group| index.store(group * 31, &hashes[..128 * (group as usize % 4 + 1)]));
    let times = (0..200).map(|_| {
        let start = Instant::now();
        black_box(index.query(black_box(&hashes)));
        nanos(start.elapsed())
    });
    println!("linear scan, all in the cache, N=512 K=4: {} ns", quantiles(times.collect()).1);
}

/// Nanoseconds a block, over prompts of 512 blocks.
fn per_block(name: &str, rounds: u64, mut run: impl FnMut(u64, &[SequenceHash])) {
    let times = (0..rounds).map(|number| {
        let hashes = prompt(number, 512);
        let start = Instant::now();
        run(number, &hashes);
        nanos(start.elapsed()) / 512
    });
    let (min, median, p99) = quantiles(times.collect());
    println!("{name:<52} {min:>4} {median:>4} {p99:>4}");
}

fn blocks() {
    println!("ns a block (512 at a time): min median p99");
    let tokens: Vec<u32> = (0..512 * 16).collect();
    let mut hashes = Vec::new();
    let root = Root::new("m", None, None, 16);
    per_block("hash 16 tokens and link", 2000, |_, _| hash_blocks(root, black_box(&tokens), 16, &mut hashes));

    let (_slots, index, pods) = fleet();
    per_block("index: store, new", 8000, |number, hashes| {
        index.store(pods[number as usize % 256], None, hashes)
    });
    per_block("index: store, known", 8000, |number, hashes| {
        index.store(pods[number as usize % 256], None, hashes)
    });

    let (_slots, index, pods) = fleet();
    let predicted = Predicted::new(index.clone(), Arc::new(Clock::real()), 32_768, 600_000);
    let mut learn =
        |number: u64, hashes: &[SequenceHash]| predicted.learn(pods[number as usize % 64], hashes, 0);
    per_block("predicted: learn, new", 4000, &mut learn);
    per_block("predicted: learn, known", 4000, &mut learn);
    per_block("predicted: learn, new, each pushing one out", 8000, |number, hashes| {
        learn(number + 4000, hashes)
    });
}

fn main() {
    let prompts = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(2000);
    queries(prompts);
    naive();
    blocks();
}
