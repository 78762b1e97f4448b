//! All that is shared between the threads of the process, under one name.

use crate::clock::Clock;
use crate::cursors::Cursors;
use crate::events::{FEED_WORDS, FeedStats};
use crate::exact::Exact;
use crate::hash::SequenceHash;
use crate::index::{Matches, PrefixIndex, Slots, Width};
use crate::lane::{ChainKind, Plan};
use crate::model::Model;
use crate::pods::{AddPodError, BreakerOptions, PodRef, PodTable, Tokens};
use crate::predicted::Predicted;
use crate::sessions::{Namespace, SessionKey, Sessions};
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

pub use crate::pods::{Outcome, Refusal};

/// Milliseconds between two rounds of maintenance: how much longer than its TTL a prediction may count.
pub const MAINTAIN_PERIOD_MS: u64 = 1000;

/// Words of [`SharedState::cache_status`].
pub const CACHE_WORDS: usize = 6 + FEED_WORDS;

/// What a state is made with; `SharedStateOptions` of `src/data/native.ts`.
#[derive(Clone, Debug, PartialEq)]
pub struct StateOptions {
    /// 64, 256 or 1,024 pods.
    pub width: usize,
    /// When breakers open and for how long.
    pub breakers: BreakerOptions,
    /// Predicted blocks remembered per pod.
    pub predicted_blocks: usize,
    /// Milliseconds that a prediction holds without being used again.
    pub predicted_ttl_ms: u64,
    /// Worth of a cached token below the GPU against one on it, 0 to 1.
    pub lower_tier_worth: f64,
    /// Milliseconds in which a new pod's share of the load grows to its full size; 0: at once.
    pub slow_start_ms: u64,
    /// Bytes that exact and predicted state together should not exceed.
    pub index_bytes: usize,
    /// Sessions remembered; as many response ids besides.
    pub sessions: usize,
    /// Milliseconds that an unused session holds.
    pub session_ttl_ms: u64,
    /// The clock stands still until it is set.
    pub virtual_clock: bool,
}

/// Why there is no such state.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum StateError {
    /// No index is that wide.
    #[error("width is {0} pods; it must be 64, 256 or 1024")]
    Width(usize),
    /// Opened without options before anyone made it.
    #[error("there is no state {0:?} yet, and no options to make it with")]
    NotOpen(String),
}

/// Counts for the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateStats {
    /// Blocks in the prefix index.
    pub entries: usize,
    /// Bytes of exact and predicted state.
    pub bytes: usize,
    /// Predicted blocks that were dropped for the sake of the budget, so far.
    pub shed: u64,
    /// Exact pods that became predicted for the sake of the budget, so far.
    pub demoted: u64,
    /// Pods that queries see.
    pub live_pods: usize,
    /// Sessions held.
    pub sessions: usize,
}

/// What a booking does besides counting load.
#[derive(Clone, Copy, Debug, Default)]
pub struct Booking<'a> {
    /// Most requests in flight on the pod, this one included; 0: no bound.
    pub bound: u32,
    /// The session to claim for the pod.
    pub session: Option<&'a str>,
    /// Where the caller saw that session when it decided for the pod; after a booking, the pod that was booked. A
    /// session found elsewhere was claimed by another thread meanwhile; found here, it is moved on purpose.
    pub seen: Option<PodRef>,
    /// Tokens that the request holds in the KV cache, cached or not.
    pub active_tokens: u32,
}

/// One memory for all threads.
pub struct SharedState {
    /// Milliseconds of this state.
    pub clock: Arc<Clock>,
    /// Predicted blocks of all models: model and block size are in the hashes' root, so one table serves all.
    pub index: PrefixIndex,
    /// Slots, load, breakers.
    pub pods: PodTable,
    /// What keeps the index.
    pub predicted: Predicted,
    /// What engines say of themselves.
    pub exact: Exact,
    /// Sessions.
    pub sessions: Sessions,
    /// Response ids. Apart from the sessions, so that a burst of the one does not push out the other.
    pub notes: Sessions,
    /// Round robin.
    pub cursors: Cursors,
    /// Models by id.
    models: RwLock<Vec<Plan>>,
    slots: Arc<Slots>,
    /// Counts of the pods' event streams, by slot.
    feeds: Box<[FeedStats]>,
    lower_tier_worth: f64,
    predicted_ttl_ms: u64,
    maintained_ms: AtomicU64,
    index_bytes: usize,
    shed: AtomicU64,
    /// Of maintenance.
    rounds: AtomicU64,
}

static STATES: LazyLock<Mutex<HashMap<String, Arc<SharedState>>>> = LazyLock::new(Mutex::default);

impl SharedState {
    /// The state of that name, made with the options if there is none yet.
    pub fn open(name: &str, options: Option<&StateOptions>) -> Result<Arc<Self>, StateError> {
        let mut states = STATES.lock();
        if let Some(state) = states.get(name) {
            return Ok(state.clone());
        }
        let options = options.ok_or_else(|| StateError::NotOpen(name.to_owned()))?;
        let state = Arc::new(Self::new(options)?);
        if !options.virtual_clock {
            maintain_in_background(Arc::downgrade(&state));
        }
        states.insert(name.to_owned(), state.clone());
        Ok(state)
    }

    /// Forgets the name; the memory goes with the last user.
    pub fn close(name: &str) {
        // Dropped only after the lock is free: the last user's tables take a while.
        let closed = STATES.lock().remove(name);
        drop(closed);
    }

    /// A state without a name. Who uses a real clock calls `maintain` from time to time.
    pub fn new(options: &StateOptions) -> Result<Self, StateError> {
        let width = Width::exactly(options.width).ok_or(StateError::Width(options.width))?;
        let clock = Arc::new(if options.virtual_clock { Clock::manual() } else { Clock::real() });
        let slots = Arc::new(Slots::default());
        let planes = [width; 3].map(|width| PrefixIndex::new(width, slots.clone()));
        let [index, exact, lower] = planes.clone();
        let sessions = || Sessions::new(clock.clone(), options.sessions, options.session_ttl_ms);
        Ok(Self {
            pods: PodTable::new(
                width,
                slots.clone(),
                planes.to_vec(),
                clock.clone(),
                options.breakers,
                options.slow_start_ms,
            ),
            predicted: Predicted::new(
                index.clone(),
                clock.clone(),
                options.predicted_blocks,
                options.predicted_ttl_ms,
            ),
            sessions: sessions(),
            notes: sessions(),
            cursors: Cursors::default(),
            models: RwLock::default(),
            maintained_ms: AtomicU64::new(0),
            exact: Exact::new(exact, lower),
            feeds: (0..width.pods()).map(|_| FeedStats::default()).collect(),
            lower_tier_worth: options.lower_tier_worth.clamp(0.0, 1.0),
            predicted_ttl_ms: options.predicted_ttl_ms,
            index_bytes: options.index_bytes,
            shed: AtomicU64::new(0),
            rounds: AtomicU64::new(0),
            clock,
            index,
            slots,
        })
    }

    /// Number of slots.
    pub fn width(&self) -> usize {
        self.pods.width()
    }

    /// Adds a pod in phase joining.
    pub fn add_pod(&self, id: &str) -> Result<PodRef, AddPodError> {
        self.pods.add(id)
    }

    /// Takes a pod out of every decision at once.
    pub fn remove_pod(&self, pod: PodRef) -> bool {
        let removed = self.pods.remove(pod);
        if removed {
            self.predicted.forget(pod);
            self.exact.forget(pod);
        }
        removed
    }

    /// Counts a request on a pod, or says why not. `uncached` gives the tokens that a pod would have to prefill.
    ///
    /// With a session, the pod it lives on is booked if another thread claimed it meanwhile and that pod can be
    /// booked; if it cannot, the asked pod is, and the session moves there. Answers the pod and its uncached tokens.
    pub fn book(
        &self,
        pod: PodRef,
        booking: &Booking<'_>,
        uncached: impl Fn(PodRef) -> u32,
    ) -> Result<(PodRef, u32), Refusal> {
        let try_book = |pod: PodRef| {
            let pending = uncached(pod);
            let tokens = Tokens { pending, active: booking.active_tokens };
            self.pods.book(pod, booking.bound, tokens).map(|()| (pod, pending))
        };
        let booked = match booking.session {
            None => try_book(pod)?,
            Some(session) => {
                let key = SessionKey::new(Namespace::Session, session);
                let holder = self.sessions.claim(key, pod, booking.seen, |held| self.pods.is_here(held));
                match try_book(holder) {
                    Err(_) if holder != pod => {
                        let booked = try_book(pod)?;
                        self.sessions.hand_over(key, holder, pod);
                        booked
                    }
                    result => result?,
                }
            }
        };
        Ok(booked)
    }

    /// The pod is about to hold these blocks. Of an exact pod its own events will say so, unless the blocks are made of
    /// text, which its events know nothing of.
    pub fn learn(&self, pod: PodRef, chain: &[SequenceHash], of_tokens: bool) {
        if !of_tokens || !self.exact.is_exact(pod) {
            self.predicted.learn(pod, chain, self.pods.room(pod.slot()));
        }
    }

    /// Gives a booking back.
    pub fn release(&self, pod: PodRef, tokens: Tokens, outcome: Outcome) -> bool {
        self.pods.release(pod, tokens, outcome)
    }

    /// The pod that a session lives on, while that pod is here.
    pub fn session(&self, key: &str) -> Option<PodRef> {
        self.here(self.sessions.get(SessionKey::new(Namespace::Session, key)))
    }

    /// The pod that was noted for a name, while that pod is here.
    pub fn recall(&self, key: &str) -> Option<PodRef> {
        self.here(self.notes.get(SessionKey::new(Namespace::Note, key)))
    }

    /// Notes a pod for a name.
    pub fn remember(&self, key: &str, pod: PodRef) {
        self.notes.set(SessionKey::new(Namespace::Note, key), pod);
    }

    fn here(&self, pod: Option<PodRef>) -> Option<PodRef> {
        pod.filter(|&pod| self.pods.is_here(pod))
    }

    /// Sets a virtual clock, and does the maintenance that has become due. False on a real clock.
    pub fn set_time(&self, ms: f64) -> bool {
        let set = self.clock.set(ms);
        let now = self.clock.millis();
        let last = self.maintained_ms.load(Ordering::Acquire);
        if set && now >= last + MAINTAIN_PERIOD_MS {
            self.maintain();
        }
        set
    }

    /// Drops what has expired. Locks are held for moments.
    pub fn maintain(&self) {
        self.maintained_ms.store(self.clock.millis(), Ordering::Release);
        self.predicted.expire();
        self.sessions.expire();
        self.notes.expire();
        // What was replaced waits for its readers; where traffic is thin, this sees that they have gone.
        self.index.tidy();
        self.exact.index.tidy();
        self.exact.lower.tidy();
        let doubtful_until = self.clock.millis().checked_sub(self.predicted_ttl_ms);
        self.exact.expire(doubtful_until, |slot| self.pods.room(slot));
        // Use counts half after a minute.
        if self.rounds.fetch_add(1, Ordering::Relaxed) % 60 == 59 {
            self.exact.age();
        }
        self.keep_budget();
    }

    /// The pod holds nothing, and from now on what its own events say; nothing is predicted of it. False if it is gone.
    pub fn begin_exact(&self, pod: PodRef) -> bool {
        let begun = self.exact.begin(pod);
        if begun {
            self.predicted.clear_pod(pod);
        }
        begun
    }

    /// The pod's engine is gone, or another one is in its place: what was known of its cache is forgotten, and what it
    /// holds now is not known.
    pub fn lose_engine(&self, pod: PodRef) {
        self.predicted.clear_pod(pod);
        if self.exact.follows(pod) {
            self.exact.follow(pod);
        }
    }

    /// The pod is out of service. Whether its engine is still the same one, a replay will tell; where there is none,
    /// what was known is forgotten.
    pub fn pod_lost(&self, pod: PodRef, can_verify: bool) {
        if !(can_verify && self.exact.follows(pod)) {
            self.lose_engine(pod);
        }
    }

    /// What is known of the pod's cache and its events, at the places of `CACHE` in `src/data/native.ts`; `None` once
    /// the pod is gone.
    pub fn cache_status(&self, pod: PodRef) -> Option<[f64; CACHE_WORDS]> {
        if !self.pods.is_here(pod) {
            return None;
        }
        let shape = self.pods.cache_shape(pod);
        let (blocks, lower) = self.exact.blocks(pod);
        let mut words = [0.0; CACHE_WORDS];
        words[..6].copy_from_slice(&[
            f64::from(self.exact.mode(pod) as u8),
            blocks as f64,
            lower as f64,
            self.predicted.blocks(pod) as f64,
            shape.block_size.into(),
            shape.blocks.into(),
        ]);
        words[6..].copy_from_slice(&self.feed_stats(pod)?.words());
        Some(words)
    }

    /// Counts of the pod's event stream.
    pub fn feed_stats(&self, pod: PodRef) -> Option<&FeedStats> {
        self.feeds.get(pod.slot())
    }

    /// Takes in a model; answers its number.
    pub fn add_model(&self, model: Model) -> u32 {
        let mut models = self.models.write();
        models.push(Plan::of(Arc::new(model)));
        models.len() as u32 - 1
    }

    /// Puts a model in the place of one whose files were still to be loaded. False if there is none of that number.
    pub fn replace_model(&self, number: u32, model: Model) -> bool {
        let mut models = self.models.write();
        let Some(plan) = models.get_mut(number as usize) else { return false };
        plan.model = Arc::new(model);
        true
    }

    /// A model by its number, with the kinds of chains that its pods have.
    pub fn plan(&self, number: u32) -> Option<Plan> {
        self.models.read().get(number as usize).cloned()
    }

    /// A model by its number.
    pub fn model(&self, number: u32) -> Option<Arc<Model>> {
        Some(self.models.read().get(number as usize)?.model.clone())
    }

    /// A model's name by its number.
    pub fn model_name(&self, number: u32) -> Option<String> {
        Some(self.model(number)?.name().to_owned())
    }

    /// The kinds of chains that a model's pods have; none: its own at its own block size.
    pub fn set_kinds(&self, number: u32, kinds: &[ChainKind]) {
        if let Some(plan) = self.models.write().get_mut(number as usize) {
            let own = Plan::of(plan.model.clone()).kinds;
            plan.kinds = if kinds.is_empty() { own } else { kinds.into() };
        }
    }

    /// Worth of a cached token below the GPU against one on it.
    pub fn lower_tier_worth(&self) -> f64 {
        self.lower_tier_worth
    }

    /// Exact pods become predicted first; then what is predicted gets less.
    fn keep_budget(&self) {
        let predicted = self.predicted.bytes();
        if self.exact.pods() > 0 {
            self.exact.fit(self.index_bytes.saturating_sub(predicted));
        }
        if predicted > self.index_bytes {
            // A tenth more than needed, so that the next blocks do not cross the line again at once.
            let part = 1.0 - 0.9 * self.index_bytes as f64 / predicted as f64;
            self.shed.fetch_add(self.predicted.shed(part) as u64, Ordering::Relaxed);
        }
    }

    /// Ranks the living pods by the leading blocks that they hold, exact or predicted, as [`PrefixIndex::query`] does.
    pub fn match_prefix(&self, hashes: &[SequenceHash], out: &mut Matches) {
        self.index.query(hashes, out);
        if self.exact.pods() > 0 {
            self.exact.index.query_more(hashes, out);
        }
    }

    /// Forgets everything that was predicted.
    pub fn clear_predicted(&self) {
        self.predicted.clear();
    }

    /// Counts for the metrics.
    pub fn stats(&self) -> StateStats {
        StateStats {
            entries: self.index.entries() + self.exact.index.entries() + self.exact.lower.entries(),
            bytes: self.predicted.bytes() + self.exact.bytes(),
            shed: self.shed.load(Ordering::Relaxed),
            demoted: self.exact.demoted(),
            live_pods: self.slots.alive_count(),
            sessions: self.sessions.len(),
        }
    }
}

/// Maintains a state until its last user has gone. Where no thread can be had, expiry is left to what `book` drops.
fn maintain_in_background(state: Weak<SharedState>) {
    let run = move || {
        loop {
            std::thread::sleep(Duration::from_millis(MAINTAIN_PERIOD_MS));
            let Some(state) = state.upgrade() else { return };
            state.maintain();
        }
    };
    let _ = std::thread::Builder::new().name("phyllo-maintain".to_owned()).spawn(run);
}

#[cfg(test)]
mod tests;
