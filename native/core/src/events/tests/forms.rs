//! The forms that events come in, one by one: adapters, salts, images, hybrid models, tiers, odd block sizes.

use super::*;
use crate::lane::{Chain, ChainKind, Search};
use crate::model::{Model, Prompt};
use crate::pods::CacheShape;

struct World {
    state: Arc<SharedState>,
    pod: PodRef,
    feed: Feed,
    sequence: u64,
}

/// A stored event that a test changes as it needs: `name(n)` is the n-th block's.
struct Store {
    first: u32,
    blocks: u32,
    size: u32,
    more: Vec<(&'static str, Value)>,
}

fn name(block: u32) -> Value {
    (u64::from(block) + 1000).into()
}

/// Block n holds n × size, n × size + 1, …
fn tokens(blocks: u32, size: u32) -> Vec<u32> {
    (0..blocks * size).collect()
}

fn store(blocks: u32, size: u32) -> Store {
    Store { first: 0, blocks, size, more: Vec::new() }
}

impl Store {
    fn after(mut self, first: u32) -> Self {
        self.first = first;
        self
    }

    fn with(mut self, field: &'static str, value: impl Into<Value>) -> Self {
        self.more.push((field, value.into()));
        self
    }

    fn event(self) -> Value {
        let Self { first, blocks, size, more } = self;
        let ids = (first * size..(first + blocks) * size).map(Value::from);
        let parent = if first == 0 { Value::Nil } else { name(first - 1) };
        let mut pairs = vec![
            ("block_hashes", Value::Array((first..first + blocks).map(name).collect())),
            ("parent_block_hash", parent),
            ("token_ids", Value::Array(ids.collect())),
            ("block_size", size.into()),
            ("a_field_of_tomorrow", Value::Array(vec![Value::Nil, map(vec![("x", 1.into())])])),
        ];
        pairs.retain(|pair| !more.iter().any(|other| other.0 == pair.0));
        pairs.extend(more);
        // The type need not come first.
        pairs.push(("type", "BlockStored".into()));
        map(pairs)
    }
}

fn removed(first: u32, blocks: u32, more: Vec<(&'static str, Value)>) -> Value {
    let names = Value::Array((first..first + blocks).map(name).collect());
    let mut pairs = vec![("type", "BlockRemoved".into()), ("block_hashes", names)];
    pairs.extend(more);
    map(pairs)
}

impl World {
    fn new() -> Self {
        let state = state();
        let pod = pod(&state, "a");
        let feed = Feed::new(state.clone(), pod, options(false));
        Self { state, pod, feed, sequence: 0 }
    }

    fn send(&mut self, events: Vec<Value>) {
        self.send_batch(&Value::Array(vec![self.sequence.into(), Value::Array(events), Value::Nil]));
    }

    fn send_batch(&mut self, batch: &Value) {
        self.feed.receive(self.sequence, &encoded(batch));
        self.sequence += 1;
    }

    fn depth(&self, salt: Option<&str>, blocks: u32, size: u32) -> u32 {
        depth(&self.state, self.pod, salt, &tokens(blocks, size), size as usize)
    }

    /// What the pod holds of a prompt of whole blocks and one token more, on the GPU and below, in tokens.
    fn tiers(&self, blocks: u32, size: u32) -> (u32, u32) {
        let model = Model::placeholder("tiny", size).expect("a size");
        let mut ids = tokens(blocks, size);
        ids.push(0);
        let total_tokens = ids.len() as u32;
        let prompt = Prompt { tokens: ids, exact: true, total_tokens, ..Prompt::default() };
        let chain = Chain::new(ChainKind { variant: None, block_size: size }, &model, None, &prompt, None);
        let mut out = Vec::new();
        Search::default().run(&self.state, &[chain], &mut out);
        out.first().map_or((0, 0), |held| {
            assert_eq!(held.worth, held.gpu + held.lower / 2);
            (held.gpu, held.lower)
        })
    }
}

#[test]
fn an_adapters_blocks_are_the_adapters_model_and_not_the_base_models() {
    let mut world = World::new();
    let keys = Value::Array(vec![Value::Array(vec!["sql".into()]), Value::Array(vec!["sql".into()])]);
    world
        .send(vec![store(2, 4).with("lora_name", "sql").with("lora_id", 1).with("extra_keys", keys).event()]);
    assert_eq!(world.depth(None, 2, 4), 0);
    let mut hashes = Vec::new();
    hash_blocks(Root::new("sql", None, None, 4), &tokens(2, 4), 4, &mut hashes);
    let mut out = Matches::default();
    world.state.match_prefix(&hashes, &mut out);
    assert_eq!(out.as_slice()[0].depth, 2);
}

#[test]
fn salts_are_kept_apart_in_both_engines_forms() {
    for salted in [
        store(3, 4).with("cache_salt", "s"),
        store(3, 4)
            .with("extra_keys", Value::Array(vec![Value::Array(vec!["s".into()]), Value::Nil, Value::Nil])),
    ] {
        let mut world = World::new();
        world.send(vec![salted.event()]);
        assert_eq!((world.depth(Some("s"), 3, 4), world.depth(None, 3, 4)), (3, 0));
    }
}

#[test]
fn behind_an_image_no_text_prompt_matches_and_before_it_all_do() {
    let image = Value::Array(vec![Value::Array(vec!["0a1b".into(), 5.into()])]);
    let keys = Value::Array(vec![Value::Nil, Value::Nil, image, Value::Nil]);
    let mut world = World::new();
    world.send(vec![store(4, 4).with("extra_keys", keys).event()]);
    assert_eq!(world.depth(None, 4, 4), 2);
    assert_eq!(world.state.exact.blocks(world.pod).0, 4);
}

#[test]
fn of_a_hybrid_models_groups_the_one_with_full_attention_describes_prefixes() {
    let mut world = World::new();
    let of = |group: u32, kind: &'static str, size: u32| {
        store(4, size).with("group_idx", group).with("kv_cache_spec_kind", kind).event()
    };
    world.send(vec![of(0, "sliding_window", 4), of(1, "full_attention", 8), of(2, "mamba", 16)]);
    assert_eq!((world.depth(None, 4, 8), world.depth(None, 4, 4), world.depth(None, 4, 16)), (4, 0, 0));
    // The window moves on: its blocks have the same names.
    world.send(vec![removed(0, 3, vec![("group_idx", 0.into())])]);
    assert_eq!(world.depth(None, 4, 8), 4);
    world.send(vec![removed(3, 1, vec![("group_idx", 1.into())])]);
    assert_eq!(world.depth(None, 4, 8), 3);
    assert_eq!(world.state.pods.cache_shape(world.pod).block_size, 8);
}

#[test]
fn copies_are_counted_for_each_tier() {
    let mut world = World::new();
    let cpu = |field: &'static str| (field, Value::from("CPU"));
    world.send(vec![store(6, 4).event()]);
    // Offloaded copies are told by name alone.
    world.send(vec![
        store(6, 4)
            .with("medium", "CPU")
            .with("token_ids", Value::Array(vec![]))
            .with("block_size", 0)
            .event(),
    ]);
    assert_eq!(world.tiers(6, 4), (24, 0));
    world.send(vec![removed(2, 4, vec![("medium", "GPU".into())])]);
    assert_eq!(world.tiers(6, 4), (8, 16));
    world.send(vec![removed(4, 2, vec![cpu("medium")])]);
    assert_eq!(world.tiers(6, 4), (8, 8));
    // A disk may hold the end only.
    world.send(vec![store(2, 4).after(4).with("medium", "DISK").event()]);
    assert_eq!(world.state.exact.blocks(world.pod), (2, 6));
    world.send(vec![removed(0, 2, vec![])]);
    assert_eq!(world.tiers(6, 4).0, 0);
    assert!(world.state.exact.is_exact(world.pod));
}

#[test]
fn pages_of_one_token_and_of_2096() {
    for size in [1, 2096] {
        let mut world = World::new();
        world.send(vec![store(20, size).event(), store(5, size).after(20).event()]);
        assert_eq!(world.depth(None, 25, size), 25);
    }
}

#[test]
fn bigram_pages_stand_for_their_first_tokens() {
    let pairs = (0..8u32).map(|token| Value::Array(vec![token.into(), (token + 1).into()])).collect();
    let mut world = World::new();
    world.send(vec![store(2, 4).with("token_ids", Value::Array(pairs)).event()]);
    assert_eq!(world.depth(None, 2, 4), 2);
}

#[test]
fn a_batch_may_be_a_map_and_its_events_of_kinds_to_come() {
    let mut world = World::new();
    let unknown = map(vec![("type", "BlockPromoted".into()), ("block_hashes", Value::Array(vec![7.into()]))]);
    let events =
        Value::Array(vec![unknown, store(2, 4).event(), Value::Array(vec!["Pinned".into(), 7.into()])]);
    world.send_batch(&map(vec![
        ("data_parallel_rank", 3.into()),
        ("events", events),
        ("a_field_of_tomorrow", Value::Nil),
        ("ts", 5.0.into()),
    ]));
    assert_eq!(world.depth(None, 2, 4), 2);
    assert!(world.state.exact.is_exact(world.pod));
}

#[test]
fn a_block_that_cannot_be_placed_makes_the_pod_stale() {
    let mut world = World::new();
    world.send(vec![store(2, 4).event(), store(2, 4).after(7).event()]);
    assert_eq!(world.state.exact.mode(world.pod), crate::exact::Mode::Stale);
    assert_eq!(world.state.cache_status(world.pod).expect("here")[14], 2.0);
}

/// Two pods of one model with different block sizes, as while a fleet is reconfigured.
#[test]
fn pods_of_several_block_sizes_are_compared_in_tokens() {
    let mut world = World::new();
    let other = pod(&world.state, "b");
    world.send(vec![store(5, 16).event()]);
    world.state.pods.set_cache_shape(other, CacheShape { block_size: 32, ..CacheShape::default() });
    let model = Model::placeholder("tiny", 16).expect("a size");
    let mut ids = tokens(6, 16);
    ids.push(0);
    let prompt = Prompt { total_tokens: 97, tokens: ids, exact: true, ..Prompt::default() };
    let chain = |block_size| Chain::new(ChainKind { variant: None, block_size }, &model, None, &prompt, None);
    let chains = [chain(16), chain(32)];
    world.state.learn(other, &chains[1].hashes, true);
    let mut out = Vec::new();
    Search::default().run(&world.state, &chains, &mut out);
    let found: Vec<(usize, u32)> = out.iter().map(|held| (held.slot.into(), held.gpu)).collect();
    assert_eq!(found, [(other.slot(), 96), (world.pod.slot(), 80)]);
}
