//! An engine whose messages get lost, come twice, late or after a restart: whatever happens, a pod that is called exact
//! is known exactly, and where replays can be had it is exact in the end.

use super::*;
use crate::exact::Mode;
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

const BLOCK: usize = 4;

/// Tokens of a conversation: the first two blocks are those of all.
fn tokens(conversation: u64, blocks: usize) -> Vec<u32> {
    let of = |at: usize| if at < 2 * BLOCK { at as u64 } else { conversation * 1000 + at as u64 };
    (0..blocks * BLOCK).map(|at| of(at) as u32).collect()
}

/// The engine's own name for the block that ends a prefix.
fn name(prefix: &[u32]) -> i64 {
    prefix.iter().fold(7i64, |hash, &token| hash.wrapping_mul(1_000_003).wrapping_add(i64::from(token) + 1))
}

/// A cache of conversations, each held up to some block, with its publisher.
#[derive(Default)]
struct Engine {
    held: BTreeMap<u64, usize>,
    ts: f64,
    log: Vec<Vec<u8>>,
}

impl Engine {
    fn publish(&mut self, events: Vec<Value>) -> (u64, Vec<u8>) {
        self.ts += 1.0;
        let payload = encoded(&Value::Array(vec![self.ts.into(), Value::Array(events), Value::Nil]));
        self.log.push(payload.clone());
        (self.log.len() as u64 - 1, payload)
    }

    fn has(&self, prefix: &[u32]) -> bool {
        let blocks = prefix.len() / BLOCK;
        self.held.iter().any(|(&c, &held)| held >= blocks && tokens(c, blocks) == prefix)
    }

    /// Caches a conversation up to a block.
    fn store(&mut self, conversation: u64, blocks: usize) -> Vec<Value> {
        let all = tokens(conversation, blocks);
        let known = (0..=blocks).rev().find(|&n| n == 0 || self.has(&all[..n * BLOCK])).unwrap_or(0);
        let held = self.held.entry(conversation).or_default();
        *held = blocks.max(*held);
        if known == blocks {
            return Vec::new();
        }
        let names = (known + 1..=blocks).map(|n| Value::from(name(&all[..n * BLOCK]))).collect();
        let parent = if known == 0 { Value::Nil } else { name(&all[..known * BLOCK]).into() };
        vec![map(vec![
            ("type", "BlockStored".into()),
            ("block_hashes", Value::Array(names)),
            ("parent_block_hash", parent),
            ("token_ids", Value::Array(all[known * BLOCK..].iter().map(|&token| token.into()).collect())),
            ("block_size", BLOCK.into()),
        ])]
    }

    /// Drops a conversation's last blocks.
    fn evict(&mut self, conversation: u64, blocks: usize) -> Vec<Value> {
        let Some(held) = self.held.remove(&conversation) else { return Vec::new() };
        let left = held.saturating_sub(blocks);
        if left > 0 {
            self.held.insert(conversation, left);
        }
        let all = tokens(conversation, held);
        let gone = (left + 1..=held).rev().map(|n| &all[..n * BLOCK]).filter(|prefix| !self.has(prefix));
        gone.map(|prefix| {
            map(vec![
                ("type", "BlockRemoved".into()),
                ("block_hashes", Value::Array(vec![name(prefix).into()])),
            ])
        })
        .collect()
    }

    fn restart(&mut self) {
        *self = Self { ts: self.ts + 1.0, ..Self::default() };
    }
}

#[derive(Debug, Clone)]
enum Step {
    Store(u64, usize),
    Evict(u64, usize),
    Clear,
    Restart { seen: bool },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Delivered,
    Lost,
    Twice,
    /// Comes after so many others.
    Late(u8),
}

fn steps() -> impl Strategy<Value = Vec<(Step, Fate)>> {
    let step = prop_oneof![
        6 => (0u64..5, 1usize..9).prop_map(|(c, n)| Step::Store(c, n)),
        3 => (0u64..5, 1usize..9).prop_map(|(c, n)| Step::Evict(c, n)),
        1 => Just(Step::Clear),
        1 => any::<bool>().prop_map(|seen| Step::Restart { seen }),
    ];
    let fate = prop_oneof![
        6 => Just(Fate::Delivered),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Twice),
        1 => (1u8..4).prop_map(Fate::Late),
    ];
    prop::collection::vec((step, fate), 1..60)
}

struct World {
    engine: Engine,
    state: Arc<SharedState>,
    pod: PodRef,
    feed: Feed,
    /// Messages under way, with the number of others that overtake each.
    wire: VecDeque<(u8, u64, Vec<u8>)>,
    /// Batches that the publisher keeps for replays; 0: it has none.
    buffer: usize,
    /// The connection comes back only at the end.
    back: bool,
}

impl World {
    fn new(buffer: usize) -> Self {
        let state = state();
        let pod = pod(&state, "a");
        let feed = Feed::new(state.clone(), pod, options(buffer > 0));
        Self { engine: Engine::default(), state, pod, feed, wire: VecDeque::new(), buffer, back: false }
    }

    fn send(&mut self, events: Vec<Value>, fate: Fate) {
        let (sequence, payload) = self.engine.publish(events);
        match fate {
            Fate::Lost => {}
            Fate::Delivered => self.wire.push_back((0, sequence, payload)),
            Fate::Twice => {
                self.wire.push_back((0, sequence, payload.clone()));
                self.wire.push_back((0, sequence, payload));
            }
            Fate::Late(others) => self.wire.push_back((others, sequence, payload)),
        }
        self.deliver(false);
    }

    fn deliver(&mut self, all: bool) {
        let mut waiting = VecDeque::new();
        while let Some((others, sequence, payload)) = self.wire.pop_front() {
            if others == 0 || all {
                self.feed.receive(sequence, &payload);
            } else {
                waiting.push_back((others - 1, sequence, payload));
            }
        }
        self.wire = waiting;
        self.replay();
    }

    /// What the receiver does about a wish.
    fn replay(&mut self) {
        for _ in 0..10 {
            let Some(from) = self.feed.wants() else { return };
            if self.buffer == 0 {
                self.feed.replay_failed();
                continue;
            }
            let oldest = self.engine.log.len().saturating_sub(self.buffer);
            let log = self.engine.log.clone();
            for (sequence, payload) in log.iter().enumerate().skip(oldest.max(from as usize)) {
                if self.feed.wants() == Some(from) {
                    self.feed.replayed(sequence as u64, payload);
                }
            }
            if self.feed.wants() == Some(from) {
                self.feed.replay_done();
            }
        }
        panic!("a feed that is never content");
    }

    fn step(&mut self, step: &Step, fate: Fate) {
        let events = match step {
            Step::Store(c, n) => self.engine.store(*c, *n),
            Step::Evict(c, n) => self.engine.evict(*c, *n),
            Step::Clear => {
                self.engine.held.clear();
                vec![map(vec![("type", "AllBlocksCleared".into())])]
            }
            Step::Restart { seen } => {
                self.deliver(true);
                self.engine.restart();
                self.feed.disconnected();
                self.back = !*seen;
                if *seen && self.feed.connected() {
                    self.replay();
                }
                return;
            }
        };
        if !events.is_empty() {
            self.send(events, fate);
        }
    }

    /// Everything has come, and one more message that shows whether anything is missing.
    fn drain(&mut self) {
        self.deliver(true);
        if std::mem::take(&mut self.back) && self.feed.connected() {
            self.replay();
        }
        self.send(Vec::new(), Fate::Delivered);
        self.deliver(true);
    }

    fn mode(&self) -> Mode {
        self.state.exact.mode(self.pod)
    }

    fn depths(&self) -> Vec<(u32, u32)> {
        let of = |c: u64| {
            let prompt = tokens(c, 9);
            let there = (1..=9).take_while(|n| self.engine.has(&prompt[..n * BLOCK])).count();
            (depth(&self.state, self.pod, None, &prompt, BLOCK), there as u32)
        };
        (0..5).map(of).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 300 }))]

    #[test]
    fn with_replays_a_pod_is_exact_in_the_end(steps in steps()) {
        let mut world = World::new(10_000);
        for (step, fate) in &steps {
            world.step(step, *fate);
        }
        world.drain();
        prop_assert_eq!(world.mode(), Mode::Exact);
        for (found, there) in world.depths() {
            prop_assert_eq!(found, there);
        }
    }

    #[test]
    fn with_short_or_no_replays_a_pod_that_is_called_exact_is(steps in steps(), buffer in 0usize..6) {
        let mut world = World::new(buffer);
        for (step, fate) in &steps {
            world.step(step, *fate);
        }
        world.drain();
        if world.mode() == Mode::Exact {
            for (found, there) in world.depths() {
                prop_assert_eq!(found, there);
            }
        }
        // An emptied cache makes it exact, and what was doubtful goes.
        world.step(&Step::Clear, Fate::Delivered);
        world.step(&Step::Store(1, 5), Fate::Delivered);
        prop_assert_eq!(world.mode(), Mode::Exact);
        for (found, there) in world.depths() {
            prop_assert_eq!(found, there);
        }
    }

    /// Whatever a pod sends, it harms only itself, and only its own memory grows, up to what it sent.
    #[test]
    fn garbage_makes_a_pod_stale_and_nothing_else(
        junk in prop::collection::vec((0u64..8, prop::collection::vec(any::<u8>(), 0..60)), 1..30),
    ) {
        let mut world = World::new(0);
        let other = pod(&world.state, "b");
        world.state.begin_exact(other);
        world.step(&Step::Store(1, 5), Fate::Delivered);
        for (sequence, payload) in &junk {
            world.feed.receive(1 + sequence, payload);
            if world.feed.wants().is_some() {
                world.feed.replay_failed();
            }
        }
        prop_assert!(world.state.exact.is_exact(other));
        prop_assert_eq!(depth(&world.state, other, None, &tokens(1, 5), BLOCK), 0);
    }
}

#[test]
fn a_router_that_joins_a_warm_engine_knows_it_as_stale_without_a_replay() {
    let mut world = World::new(0);
    let events = world.engine.store(1, 4);
    world.engine.publish(events);
    world.step(&Step::Store(2, 6), Fate::Delivered);
    assert_eq!(world.mode(), Mode::Stale);
    // Its parent was cached before: it cannot be placed.
    assert_eq!(world.depths()[2], (0, 6));
    assert!(world.feed.notice().expect("said").contains("followed from number 1"));
    world.engine.restart();
    world.step(&Step::Store(3, 6), Fate::Delivered);
    assert_eq!((world.mode(), world.depths()[3]), (Mode::Exact, (6, 6)));
}

#[test]
fn a_router_that_joins_a_warm_engine_replays_its_whole_history() {
    let mut world = World::new(10_000);
    let events = world.engine.store(1, 4);
    world.engine.publish(events);
    assert!(world.feed.connected());
    world.replay();
    assert_eq!((world.mode(), world.depths()[1]), (Mode::Exact, (4, 4)));
}

#[test]
fn an_engine_that_has_published_nothing_is_exact_and_empty() {
    let mut world = World::new(10);
    assert!(world.feed.connected());
    assert_eq!(world.feed.wants(), Some(0));
    world.replay();
    assert_eq!(world.mode(), Mode::Exact);
}

/// A lost connection says nothing of the engine: a restart is told by its last batch, which no new process has.
#[test]
fn after_a_lost_connection_the_same_engine_stays_exact_and_another_one_starts_empty() {
    let mut world = World::new(10);
    world.step(&Step::Store(1, 5), Fate::Delivered);
    world.feed.disconnected();
    assert!(world.feed.connected());
    world.replay();
    assert_eq!((world.mode(), world.depths()[1]), (Mode::Exact, (5, 5)));
    world.engine.restart();
    let events = world.engine.store(2, 3);
    world.engine.publish(events);
    assert!(world.feed.connected());
    world.replay();
    assert_eq!((world.mode(), world.depths()[1], world.depths()[2]), (Mode::Exact, (2, 2), (3, 3)));
    assert_eq!(world.state.cache_status(world.pod).expect("here")[16], 1.0);
}

/// A crash whose restart was told live, while the engine was still being asked whether it is the same one: the end of
/// that replay was taken for that of the new engine's history, and the pod stayed stale for ever.
#[test]
fn an_engine_that_tells_of_its_restart_during_a_replay_is_exact_in_the_end() {
    let mut world = World::new(10_000);
    for n in 1..6 {
        world.step(&Step::Store(1, n), Fate::Delivered);
    }
    world.feed.disconnected();
    assert!(world.feed.connected());
    assert_eq!(world.feed.wants(), Some(4));
    world.engine.restart();
    for n in 1..3 {
        let events = world.engine.store(2, n);
        world.engine.publish(events);
    }
    let payload = world.engine.log[1].clone();
    world.feed.receive(1, &payload);
    assert_eq!(world.feed.wants(), Some(0));
    world.replay();
    assert_eq!((world.mode(), world.depths()[1], world.depths()[2]), (Mode::Exact, (2, 2), (2, 2)));
}

#[test]
fn what_is_doubtful_goes_after_a_while_and_what_came_later_stays() {
    let mut world = World::new(0);
    world.step(&Step::Store(1, 8), Fate::Delivered);
    world.step(&Step::Store(2, 8), Fate::Lost);
    world.step(&Step::Store(3, 6), Fate::Delivered);
    assert_eq!((world.mode(), world.depths()[1].0, world.depths()[3].0), (Mode::Stale, 8, 6));
    world.state.set_time(TTL_MS as f64 + 2000.0);
    // Of the third, the first two blocks are doubtful too, for they were stored before.
    assert_eq!((world.depths()[1].0, world.state.exact.blocks(world.pod).0), (0, 4));
}

#[test]
fn no_more_doubtful_blocks_are_kept_than_the_engine_has_room_for() {
    let mut world = World::new(0);
    for c in 0..5 {
        world.step(&Step::Store(c, 8), Fate::Delivered);
    }
    world.state.pods.set_cache_shape(world.pod, crate::pods::CacheShape { blocks: 20, ..Default::default() });
    world.step(&Step::Store(6, 4), Fate::Lost);
    world.step(&Step::Store(7, 4), Fate::Delivered);
    assert_eq!(world.mode(), Mode::Stale);
    world.state.set_time(1500.0);
    assert_eq!(world.state.exact.blocks(world.pod).0, 20);
}
