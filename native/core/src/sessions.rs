//! Where a conversation lives: session key → pod, for all threads, with a bound and a TTL. Response ids, whose state
//! lives on one pod, are noted in the same way under a namespace of their own.
//!
//! Keys are kept as their 64-bit hashes: with a million sessions, a new one meets another's hash with probability
//! 5e-14, and would then be routed to that one's pod, where it is served like anywhere else.

use crate::clock::Clock;
use crate::pods::PodRef;
use crate::predicted::lru::Lru;
use crossbeam_utils::CachePadded;
use parking_lot::Mutex;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What a key names; the same text in two namespaces is two keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Namespace {
    /// A conversation.
    Session = 1,
    /// Something that one pod has and others have not: the state behind a response id.
    Note = 2,
}

/// A key's hash, to be computed once per request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionKey(u64);

impl SessionKey {
    /// The key of that text.
    pub fn new(namespace: Namespace, text: &str) -> Self {
        Self(xxh3_64_with_seed(text.as_bytes(), namespace as u64))
    }
}

/// Shards, for maps that are large enough to have so many: more than worker threads, so that two seldom meet.
const SHARDS: usize = 64;
/// Sessions that a shard should at least have room for; with fewer, chance would fill some long before others.
const MIN_PER_SHARD: usize = 256;

type Shard = CachePadded<Mutex<Lru<PodRef>>>;

/// The map.
pub struct Sessions {
    shards: Box<[Shard]>,
    /// Per shard; the bound of the whole, divided.
    capacity: usize,
    ttl_ms: u64,
    clock: Arc<Clock>,
}

impl Sessions {
    /// Room for `capacity` sessions, the least recently used making way, each for `ttl_ms` from its last use. The
    /// bound is kept per shard, so a full map may hold some per cent less.
    pub fn new(clock: Arc<Clock>, capacity: usize, ttl_ms: u64) -> Self {
        let shards = 1 << (capacity / MIN_PER_SHARD).max(1).ilog2().min(SHARDS.ilog2());
        let shards: Box<[Shard]> = (0..shards).map(|_| Shard::default()).collect();
        Self { capacity: capacity / shards.len(), shards, ttl_ms, clock }
    }

    fn shard(&self, key: SessionKey) -> &Shard {
        // Bits in the middle: the map within chooses by the lowest and the topmost ones.
        &self.shards[(key.0 >> 40) as usize & (self.shards.len() - 1)]
    }

    fn live(&self, shard: &Lru<PodRef>, key: SessionKey, now: u64) -> Option<PodRef> {
        let (pod, used) = shard.peek(key.0)?;
        (now < used.saturating_add(self.ttl_ms)).then_some(pod)
    }

    fn put(&self, shard: &mut Lru<PodRef>, key: SessionKey, pod: PodRef, now: u64) {
        if self.capacity == 0 {
            return;
        }
        shard.put(key.0, pod, now);
        // Two expired ones for each that comes: the map shrinks while it is used.
        for _ in 0..2 {
            if let Some(limit) = now.checked_sub(self.ttl_ms) {
                shard.pop_oldest(limit);
            }
        }
        if shard.len() > self.capacity {
            shard.pop_oldest(u64::MAX);
        }
    }

    /// Where the key lives. Does not count as a use.
    pub fn get(&self, key: SessionKey) -> Option<PodRef> {
        let now = self.clock.millis();
        self.live(&self.shard(key).lock(), key, now)
    }

    /// The key lives there from now on.
    pub fn set(&self, key: SessionKey, pod: PodRef) {
        let now = self.clock.millis();
        self.put(&mut self.shard(key).lock(), key, pod, now);
    }

    /// Claims the key for `pod`, and answers who has it now: another pod keeps it if it `is_here` and is not the one
    /// that the caller has `seen` there and decided to leave. So of several threads that start one session at once the
    /// first wins, and one that moves a session on purpose does.
    pub fn claim(
        &self,
        key: SessionKey,
        pod: PodRef,
        seen: Option<PodRef>,
        is_here: impl FnOnce(PodRef) -> bool,
    ) -> PodRef {
        let now = self.clock.millis();
        let mut shard = self.shard(key).lock();
        let holder = self.live(&shard, key, now).filter(|&held| Some(held) != seen && is_here(held));
        let holder = holder.unwrap_or(pod);
        self.put(&mut shard, key, holder, now);
        holder
    }

    /// Moves the key from one pod to another, if it is still at the first.
    pub fn hand_over(&self, key: SessionKey, from: PodRef, to: PodRef) {
        let now = self.clock.millis();
        let mut shard = self.shard(key).lock();
        if self.live(&shard, key, now) == Some(from) {
            self.put(&mut shard, key, to, now);
        }
    }

    /// Sessions held, expired ones included until something makes them go.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops what has expired; the locks are held for one session at a time.
    pub fn expire(&self) {
        let Some(limit) = self.clock.millis().checked_sub(self.ttl_ms) else { return };
        for shard in &self.shards {
            while shard.lock().pop_oldest(limit).is_some() {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(capacity: usize, ttl_ms: u64) -> (Arc<Clock>, Sessions) {
        let clock = Arc::new(Clock::manual());
        (clock.clone(), Sessions::new(clock, capacity, ttl_ms))
    }

    fn key(text: &str) -> SessionKey {
        SessionKey::new(Namespace::Session, text)
    }

    fn pod(slot: u32) -> PodRef {
        PodRef::new(slot, 1)
    }

    #[test]
    fn the_first_claim_wins_as_long_as_its_pod_is_here() {
        let (_, sessions) = sessions(1000, 1000);
        assert_eq!(sessions.claim(key("a"), pod(1), None, |_| true), pod(1));
        assert_eq!(sessions.claim(key("a"), pod(2), None, |_| true), pod(1));
        assert_eq!(sessions.claim(key("b"), pod(2), None, |_| true), pod(2));
        assert_eq!(sessions.claim(key("a"), pod(3), None, |held| held != pod(1)), pod(3));
        assert_eq!(sessions.get(key("a")), Some(pod(3)));
    }

    #[test]
    fn who_has_seen_where_a_session_lives_may_move_it_and_who_has_not_may_not() {
        let (_, sessions) = sessions(1000, 1000);
        sessions.set(key("a"), pod(1));
        assert_eq!(sessions.claim(key("a"), pod(2), Some(pod(3)), |_| true), pod(1));
        assert_eq!(sessions.claim(key("a"), pod(2), Some(pod(1)), |_| true), pod(2));
        sessions.hand_over(key("a"), pod(1), pod(4));
        assert_eq!(sessions.get(key("a")), Some(pod(2)));
        sessions.hand_over(key("a"), pod(2), pod(4));
        assert_eq!(sessions.get(key("a")), Some(pod(4)));
    }

    #[test]
    fn of_threads_that_claim_at_once_all_get_the_same_pod() {
        let (_, sessions) = sessions(100_000, 1000);
        for round in 0..200 {
            let key = key(&round.to_string());
            let claims: Vec<PodRef> = std::thread::scope(|scope| {
                let claim = |slot| sessions.claim(key, pod(slot), None, |_| true);
                let threads: Vec<_> = (0..3).map(|slot| scope.spawn(move || claim(slot))).collect();
                threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
            });
            assert!(claims.iter().all(|&claim| claim == claims[0]));
        }
    }

    #[test]
    fn a_session_holds_a_ttl_from_its_last_use_and_the_bound_takes_the_least_recent() {
        let (clock, sessions) = sessions(2, 100);
        sessions.set(key("a"), pod(1));
        clock.set(60.0);
        assert_eq!(sessions.claim(key("a"), pod(2), None, |_| true), pod(1));
        clock.set(159.0);
        assert_eq!(sessions.get(key("a")), Some(pod(1)));
        clock.set(160.0);
        assert_eq!(sessions.get(key("a")), None);
        assert_eq!(sessions.claim(key("a"), pod(2), None, |_| true), pod(2));
        sessions.set(key("b"), pod(3));
        sessions.set(key("a"), pod(2));
        sessions.set(key("c"), pod(4));
        assert_eq!(
            [key("a"), key("b"), key("c")].map(|key| sessions.get(key)),
            [Some(pod(2)), None, Some(pod(4))]
        );
        assert_eq!(sessions.len(), 2);
        clock.set(260.0);
        sessions.expire();
        assert!(sessions.is_empty());
    }

    #[test]
    fn the_bound_holds_over_all_shards_and_none_means_none() {
        for capacity in [0, 1, 100, 5000, 100_000] {
            let (_, sessions) = sessions(capacity, 1000);
            (0..20_000).for_each(|i| sessions.set(key(&i.to_string()), pod(1)));
            let expected = capacity.min(20_000);
            assert!(sessions.len() <= expected && sessions.len() >= expected * 9 / 10, "{capacity}");
        }
    }

    #[test]
    fn namespaces_are_apart() {
        let (_, sessions) = sessions(1000, 1000);
        sessions.set(key("a"), pod(1));
        assert_eq!(sessions.get(SessionKey::new(Namespace::Note, "a")), None);
    }
}
