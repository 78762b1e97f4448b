//! One publisher's stream: whose batches are numbered, and of which some may be missing.
//!
//! A feed is called by whoever receives, with messages as they come, and says when it wants a replay; docs/design/
//! cache-state.md draws its states. What it holds to:
//!
//! - A batch is applied once, in order. One that comes too early is held until those before it have come: by
//!   themselves (they were reordered) or by a replay. Where there is no replay to be had, the receiver waits a moment.
//! - What cannot be had is lost: the pod is stale from there on. An emptied cache or a new engine makes it exact again.
//! - Number `first` at the beginning, or a replay from there on, tells a pod's whole history: it is exact. Whoever joins
//!   later has missed what an idle cache will never say again.
//! - An engine that starts anew counts from `first` again. A number that was seen before with a later time on it is
//!   a new engine's; with the same time it is a duplicate.
//! - After a lost connection the last batch is asked for once more. If it is the same, so is the engine.

use super::apply::{Applier, Target};
use super::batch::{self, Scratch};
use super::held::Held;
use super::stats::FeedStats;
use crate::pods::PodRef;
use crate::state::SharedState;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Who publishes.
#[derive(Clone, Debug)]
pub struct FeedOptions {
    /// The base model that the pod serves, as the router calls it.
    pub model: String,
    /// Whether a replay can be asked for.
    pub replay: bool,
    /// Number of a publisher's first batch.
    pub first: u64,
}

/// Times that a replay is asked for because the one before did not close the gap.
const MOST_REPLAYS: u32 = 3;
/// Milliseconds between two attempts to read a pod's whole history because an event named a block that is not known.
const RESYNC_MS: u64 = 60_000;
/// Log lines kept for whoever asks.
const MOST_NOTICES: usize = 16;

/// What the feed waits for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// The next batch.
    Live,
    /// The connection, which was lost: another engine may be at its end when it is back.
    Unsure,
    /// Missing batches; the number of replays asked for already.
    Recovering(u32),
    /// A replay that tells whether this is still the same engine: the time of its last batch.
    Verifying { ts: f64 },
}

/// One pod's stream of events.
pub struct Feed {
    state: Arc<SharedState>,
    pod: PodRef,
    options: FeedOptions,
    phase: Phase,
    /// Number of the next batch; `None` before any was applied.
    next: Option<u64>,
    /// Time of the last batch.
    last_ts: f64,
    held: Held,
    wish: Option<u64>,
    notices: VecDeque<String>,
    scratch: Scratch,
    applier: Applier,
    resynced_ms: Option<u64>,
}

impl Feed {
    /// A feed of a pod from which nothing has been heard yet.
    pub fn new(state: Arc<SharedState>, pod: PodRef, options: FeedOptions) -> Self {
        if let Some(stats) = state.feed_stats(pod) {
            stats.reset();
        }
        Self {
            state,
            pod,
            options,
            phase: Phase::Live,
            next: None,
            last_ts: f64::NEG_INFINITY,
            held: Held::default(),
            wish: None,
            notices: VecDeque::new(),
            scratch: Scratch::default(),
            applier: Applier::default(),
            resynced_ms: None,
        }
    }

    /// Number from which a replay is wanted.
    pub fn wants(&self) -> Option<u64> {
        self.wish
    }

    /// A line for the log.
    pub fn notice(&mut self) -> Option<String> {
        self.notices.pop_front()
    }

    /// A message as it came. True: look at [`Feed::wants`] and [`Feed::notice`].
    pub fn receive(&mut self, sequence: u64, payload: &[u8]) -> bool {
        if self.phase == Phase::Live && self.next == Some(sequence) {
            self.apply(sequence, payload);
        } else {
            self.out_of_order(sequence, payload);
        }
        !self.notices.is_empty() || self.wish.is_some()
    }

    /// The same where the number itself may be unreadable.
    pub fn receive_raw(&mut self, sequence: Option<u64>, payload: &[u8]) -> bool {
        match sequence {
            Some(sequence) => self.receive(sequence, payload),
            None => {
                self.count(|stats| FeedStats::add(&stats.malformed, 1));
                false
            }
        }
    }

    #[cold]
    fn out_of_order(&mut self, sequence: u64, payload: &[u8]) {
        match self.next {
            // It is asked first whether this is still the same engine.
            _ if self.phase == Phase::Unsure && self.options.replay => self.hold(sequence, payload),
            Some(next) if sequence < next => self.seen_before(sequence, payload),
            Some(next) if sequence == next && self.phase == Phase::Unsure => {
                self.live();
                self.doubt("its connection was lost, and without a replay nobody knows whether it is the same engine");
                self.apply(sequence, payload);
            }
            Some(next) if sequence == next && matches!(self.phase, Phase::Recovering(_)) => {
                // It was only late.
                self.apply(sequence, payload);
                self.drain_next();
                if self.held.is_empty() {
                    self.live();
                }
            }
            // Nothing of this engine was heard before, so this is where its history begins.
            None if sequence == self.options.first && self.is_waiting() => {
                self.begin("its events are followed from the first");
                self.apply(sequence, payload);
            }
            _ => self.hold(sequence, payload),
        }
    }

    fn hold(&mut self, sequence: u64, payload: &[u8]) {
        let ask_first = self.phase == Phase::Unsure && self.options.replay;
        if self.is_waiting() && !ask_first {
            let from = self.next.unwrap_or(self.options.first);
            if self.next.is_some() {
                self.count(|stats| FeedStats::add(&stats.gaps, 1));
            }
            self.recover(from, 1);
        }
        if !self.held.put(sequence, payload) && self.held.is_full(payload.len()) {
            self.give_up("too many events came while others were missing");
            self.out_of_order_again(sequence, payload);
        }
    }

    /// After giving up there is room, and the next number is known.
    fn out_of_order_again(&mut self, sequence: u64, payload: &[u8]) {
        if self.next == Some(sequence) {
            self.apply(sequence, payload);
        } else {
            self.recover(self.next.unwrap_or(self.options.first), 1);
            self.held.put(sequence, payload);
        }
    }

    /// A number that was applied already.
    fn seen_before(&mut self, sequence: u64, payload: &[u8]) {
        let newer = batch::timestamp(payload).is_some_and(|ts| ts > self.last_ts);
        if !newer {
            return self.count(|stats| FeedStats::add(&stats.duplicates, 1));
        }
        self.new_engine();
        if sequence == self.options.first {
            self.begin("its engine started anew");
            self.apply(sequence, payload);
        } else {
            self.hold(sequence, payload);
        }
    }

    /// Another process answers in the engine's place: what its predecessor held is gone.
    fn new_engine(&mut self) {
        self.count(|stats| FeedStats::add(&stats.restarts, 1));
        self.held.clear();
        self.next = None;
        self.last_ts = f64::NEG_INFINITY;
        self.live();
        self.state.lose_engine(self.pod);
        // The new one may be of another version, with other groups.
        self.applier = Applier::default();
    }

    /// The subscription is up.
    pub fn connected(&mut self) -> bool {
        if !self.options.replay || !self.is_waiting() {
            return false;
        }
        let first = self.options.first;
        match self.next {
            Some(next) if next > first => {
                self.phase = Phase::Verifying { ts: self.last_ts };
                self.ask(next - 1);
            }
            _ => {
                self.next = None;
                self.recover(first, 1);
            }
        }
        true
    }

    /// The connection was lost. What is known stays: the engine may be well.
    pub fn disconnected(&mut self) {
        if self.phase == Phase::Live && self.next.is_some() {
            self.phase = Phase::Unsure;
        }
    }

    /// For whatever comes next.
    fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Live | Phase::Unsure)
    }

    /// A batch of the replay that was asked for. Not to be called, nor [`Feed::replay_done`], once [`Feed::wants`] gives
    /// another number than was asked: what came live meanwhile told of another engine, whose history is wanted now.
    pub fn replayed(&mut self, sequence: u64, payload: &[u8]) {
        if let Phase::Verifying { ts } = self.phase {
            self.verify(ts, sequence, payload);
        } else if matches!(self.phase, Phase::Recovering(_)) {
            self.replay_one(sequence, payload);
        }
    }

    fn verify(&mut self, ts: f64, sequence: u64, payload: &[u8]) {
        let same = batch::timestamp(payload) == Some(ts) || !ts.is_finite();
        if self.next == sequence.checked_add(1) && !same {
            self.new_engine();
            self.recover(self.options.first, 1);
            // Its history is wanted from the beginning, which this may be.
            if sequence == self.options.first {
                self.replay_one(sequence, payload);
            }
            return;
        }
        self.phase = Phase::Recovering(1);
        if self.next != sequence.checked_add(1) {
            self.doubt("its connection was lost, and its buffer does not tell whether it is the same engine");
            self.replay_one(sequence, payload);
        }
    }

    fn replay_one(&mut self, sequence: u64, payload: &[u8]) {
        match self.next {
            None if sequence == self.options.first => self.begin("its events were replayed from the first"),
            // The beginning is gone from the buffer: a warm engine, of which only the last is known.
            None => self.join_late(sequence),
            Some(next) if sequence < next => return,
            Some(next) if sequence > next => self.lose(next, sequence),
            Some(_) => {}
        }
        self.count(|stats| FeedStats::add(&stats.replayed, 1));
        self.apply(sequence, payload);
    }

    /// The replay has come to its end.
    pub fn replay_done(&mut self) -> bool {
        match self.phase {
            Phase::Live | Phase::Unsure => {}
            Phase::Verifying { .. } => {
                // An engine that has not got that far is another one.
                self.new_engine();
                self.recover(self.options.first, 1);
            }
            Phase::Recovering(asked) => {
                if self.next.is_none() && self.held.first().is_none_or(|held| held == self.options.first) {
                    self.begin("it has cached nothing yet");
                }
                self.drain_next();
                match (self.next, self.held.first()) {
                    (Some(_), None) => self.live(),
                    (Some(next), Some(_)) if asked < MOST_REPLAYS => self.recover(next, asked + 1),
                    _ => self.give_up("a replay did not bring the missing events"),
                }
            }
        }
        !self.notices.is_empty() || self.wish.is_some()
    }

    /// There is no replay, or it was waited for in vain.
    pub fn replay_failed(&mut self) -> bool {
        if !self.is_waiting() {
            self.give_up("missing events could not be had again");
        }
        !self.notices.is_empty() || self.wish.is_some()
    }

    /// Goes on from what is there.
    fn give_up(&mut self, why: &str) {
        let verifying = matches!(self.phase, Phase::Verifying { .. });
        self.live();
        match (self.next, self.held.first()) {
            (None, Some(first)) => self.join_late(first),
            (Some(_), None) if verifying => self.doubt("it could not be asked whether it is the same engine"),
            _ => {}
        }
        if !self.held.is_empty() {
            self.note(format!("{why}: it is stale until its cache is emptied or its engine starts anew"));
        }
        while let Some((sequence, payload)) = self.held.pop(u64::MAX) {
            if let Some(next) = self.next.filter(|&next| next < sequence) {
                self.lose(next, sequence);
            }
            self.apply(sequence, &payload);
        }
    }

    fn lose(&mut self, next: u64, found: u64) {
        self.count(|stats| FeedStats::add(&stats.lost, found - next));
        self.doubt("events were lost");
    }

    fn doubt(&mut self, why: &str) {
        if self.state.exact.is_exact(self.pod) {
            self.note(format!("{why}: it is stale until its cache is emptied or its engine starts anew"));
        }
        self.state.exact.doubt(self.pod, self.state.clock.millis());
    }

    fn join_late(&mut self, sequence: u64) {
        if self.state.exact.follows(self.pod) {
            self.doubt("the beginning of its events cannot be had");
        } else if self.state.exact.follow(self.pod) {
            self.note(format!(
                "its events are followed from number {sequence}; what it cached before is not known, so it is stale until \
                 its cache is emptied or its engine starts anew"
            ));
        }
    }

    fn begin(&mut self, why: &str) {
        if self.state.begin_exact(self.pod) {
            self.note(format!("{why}: its cache is known exactly"));
        }
        self.next = Some(self.options.first);
    }

    fn recover(&mut self, from: u64, asked: u32) {
        self.phase = Phase::Recovering(asked);
        self.ask(from);
    }

    fn ask(&mut self, from: u64) {
        self.wish = Some(from);
        if self.options.replay {
            self.count(|stats| FeedStats::add(&stats.replays, 1));
        }
    }

    fn live(&mut self) {
        self.phase = Phase::Live;
        self.wish = None;
    }

    /// Applies the held messages that follow without a gap.
    fn drain_next(&mut self) {
        while let Some((sequence, payload)) = self.next.and_then(|next| self.held.pop(next)) {
            if self.next == Some(sequence) {
                self.apply(sequence, &payload);
            }
        }
    }

    fn apply(&mut self, sequence: u64, payload: &[u8]) {
        self.next = Some(sequence + 1);
        let state = self.state.clone();
        let Some(stats) = state.feed_stats(self.pod) else { return };
        let mut target = Target {
            state: &state,
            stats,
            pod: self.pod,
            model: &self.options.model,
            applier: &mut self.applier,
            orphans: 0,
            cleared: false,
        };
        let result = batch::read(payload, &mut self.scratch, &mut target);
        target.flush();
        let Target { orphans, cleared, .. } = target;
        match result {
            Ok(head) => {
                stats.applied(sequence, lag_ms(head.ts));
                if head.ts.is_finite() {
                    self.last_ts = head.ts;
                }
            }
            Err(error) => {
                FeedStats::add(&stats.malformed, 1);
                self.doubt(&format!("a message could not be read ({error})"));
            }
        }
        if cleared {
            self.note("its cache was emptied: it is known exactly".to_owned());
        }
        if orphans > 0 && state.exact.is_exact(self.pod) {
            self.resync();
        }
    }

    /// An event named a block that is not there, though none was lost: something is not as it was thought.
    #[cold]
    fn resync(&mut self) {
        self.doubt("an event named a block that is not known");
        let now = self.state.clock.millis();
        let due = self.resynced_ms.is_none_or(|last| now >= last + RESYNC_MS);
        if due && self.options.replay && self.phase == Phase::Live {
            self.resynced_ms = Some(now);
            self.next = None;
            self.recover(self.options.first, 1);
        }
    }

    fn count(&self, add: impl FnOnce(&FeedStats)) {
        if let Some(stats) = self.state.feed_stats(self.pod) {
            add(stats);
        }
    }

    fn note(&mut self, line: String) {
        if self.notices.len() < MOST_NOTICES {
            self.notices.push_back(line);
        }
    }
}

/// Milliseconds since a batch was made; the engine's clock may be ahead.
fn lag_ms(ts: f64) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    ((now.as_secs_f64() - ts) * 1000.0).max(0.0)
}
