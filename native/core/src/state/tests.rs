//! Bookings, sessions and time over the whole state.

use super::*;
use crate::events::Medium;
use crate::exact::EngineHash;

const OPTIONS: StateOptions = StateOptions {
    width: 64,
    breakers: BreakerOptions { failures: 2, cooldown_ms: 1000, latency_factor: 0.0, latency_floor_ms: 0.0 },
    predicted_blocks: 1000,
    predicted_ttl_ms: 5000,
    index_bytes: 64 << 20,
    sessions: 1000,
    lower_tier_worth: 0.5,
    slow_start_ms: 0,
    session_ttl_ms: 60_000,
    virtual_clock: true,
};

fn state() -> SharedState {
    SharedState::new(&OPTIONS).expect("a good width")
}

fn pod(state: &SharedState, id: &str) -> PodRef {
    let pod = state.add_pod(id).expect("room");
    assert!(state.pods.activate(pod));
    pod
}

fn sticky(session: &str) -> Booking<'_> {
    Booking { session: Some(session), active_tokens: 25, ..Booking::default() }
}

#[test]
fn a_name_is_one_state_until_it_is_closed() {
    let name = "a_name_is_one_state_until_it_is_closed";
    assert_eq!(SharedState::open(name, None).err(), Some(StateError::NotOpen(name.to_owned())));
    let first = SharedState::open(name, Some(&OPTIONS)).expect("made");
    assert!(Arc::ptr_eq(&first, &SharedState::open(name, None).expect("there")));
    SharedState::close(name);
    assert!(SharedState::open(name, None).is_err());
    let narrow = StateOptions { width: 100, ..OPTIONS };
    assert_eq!(SharedState::open(name, Some(&narrow)).err(), Some(StateError::Width(100)));
}

#[test]
fn a_session_claimed_by_another_thread_is_booked_where_it_lives() {
    let state = state();
    let (a, b) = (pod(&state, "a"), pod(&state, "b"));
    let uncached = |pod| if pod == a { 10 } else { 20 };
    assert_eq!(state.book(a, &sticky("s"), uncached), Ok((a, 10)));
    assert_eq!(state.book(b, &sticky("s"), uncached), Ok((a, 10)));
    let status = state.pods.status(a).expect("here");
    assert_eq!((status.inflight, status.pending_tokens, status.active_tokens), (2, 20, 50));
    assert_eq!(state.pods.status(b).map(|status| status.inflight), Some(0));
}

#[test]
fn a_session_whose_pod_cannot_be_booked_moves_to_the_asked_one() {
    let state = state();
    let (a, b, c) = (pod(&state, "a"), pod(&state, "b"), pod(&state, "c"));
    assert_eq!(state.book(a, &sticky("s"), |_| 0), Ok((a, 0)));
    let bounded = Booking { bound: 1, ..sticky("s") };
    assert_eq!(state.book(b, &bounded, |_| 0), Ok((b, 0)));
    assert_eq!(state.session("s"), Some(b));
    // Neither: the refusal is the asked pod's, and the session stays.
    state.pods.cordon(c, true);
    assert_eq!(state.book(c, &bounded, |_| 0), Err(Refusal::Cordoned));
    assert_eq!(state.session("s"), Some(b));
    state.remove_pod(b);
    assert_eq!(state.session("s"), None);
    assert_eq!(state.book(a, &sticky("s"), |_| 0), Ok((a, 0)));
}

/// A retry after a failed attempt would otherwise be booked on the pod that has just failed.
#[test]
fn a_session_is_moved_by_who_has_seen_where_it_lives() {
    let state = state();
    let (a, b) = (pod(&state, "a"), pod(&state, "b"));
    assert_eq!(state.book(a, &sticky("s"), |_| 0), Ok((a, 0)));
    let retry = Booking { seen: Some(a), ..sticky("s") };
    assert_eq!(state.book(b, &retry, |_| 0), Ok((b, 0)));
    assert_eq!(state.session("s"), Some(b));
}

#[test]
fn what_a_pod_is_sent_is_predicted_until_it_is_removed() {
    let state = state();
    let (a, b) = (pod(&state, "a"), pod(&state, "b"));
    let chain: Vec<SequenceHash> = (1..=10).map(SequenceHash).collect();
    state.learn(a, &chain, true);
    let mut out = crate::index::Matches::default();
    state.index.query(&chain, &mut out);
    assert_eq!(out.as_slice(), [crate::index::Match { slot: a.slot() as u16, depth: 10 }]);
    assert_eq!((state.predicted.blocks(a), state.predicted.blocks(b)), (10, 0));
    assert!(state.remove_pod(a));
    assert_eq!(state.predicted.blocks(a), 0);
}

#[test]
fn virtual_time_maintains_as_it_passes() {
    let state = state();
    let a = pod(&state, "a");
    let chain = [SequenceHash(1)];
    assert_eq!(state.book(a, &sticky("s"), |_| 0), Ok((a, 0)));
    state.learn(a, &chain, true);
    state.remember("r", a);
    assert_eq!(state.recall("r"), Some(a));
    state.set_time(4999.0);
    assert_eq!(state.stats().entries, 1);
    state.set_time(5000.0 + MAINTAIN_PERIOD_MS as f64);
    assert_eq!((state.stats().entries, state.stats().sessions), (0, 1));
    state.set_time(70_000.0);
    assert_eq!((state.stats().sessions, state.stats().live_pods, state.recall("r")), (0, 1, None));
}

/// An engine that restarts is empty, and what it had been sent went on drawing requests to it for the TTL.
#[test]
fn what_was_predicted_of_one_pod_can_be_forgotten() {
    let state = state();
    let (a, b) = (pod(&state, "a"), pod(&state, "b"));
    let chain = [SequenceHash(1), SequenceHash(2)];
    state.predicted.learn(a, &chain, 0);
    state.predicted.learn(b, &chain[..1], 0);
    state.predicted.clear_pod(a);
    assert_eq!((state.predicted.blocks(a), state.predicted.blocks(b), state.stats().entries), (0, 1, 1));
    state.predicted.learn(a, &chain, 0);
    assert_eq!(state.predicted.blocks(a), 2);
}

#[test]
fn what_was_predicted_can_be_forgotten() {
    let state = state();
    let a = pod(&state, "a");
    let chain = [SequenceHash(1), SequenceHash(2)];
    state.predicted.learn(a, &chain, 0);
    state.clear_predicted();
    assert_eq!((state.stats().entries, state.predicted.blocks(a)), (0, 0));
}

/// Of threads that start one session at once, all are booked on one pod.
#[test]
fn threads_that_start_a_session_at_once_meet_on_one_pod() {
    let state = state();
    let pods: Vec<PodRef> = (0..3).map(|i| pod(&state, &i.to_string())).collect();
    for round in 0..200 {
        let session = round.to_string();
        let booked: Vec<PodRef> = std::thread::scope(|scope| {
            let book = |pod| state.book(pod, &sticky(&session), |_| 1).expect("not full").0;
            let threads: Vec<_> = pods.iter().map(|&pod| scope.spawn(move || book(pod))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert!(booked.iter().all(|&pod| pod == booked[0]));
        assert_eq!(state.session(&session), Some(booked[0]));
    }
}

fn blocks(prompt: u64, count: u64) -> Vec<SequenceHash> {
    (0..count).map(|i| SequenceHash((prompt << 24 | i).wrapping_mul(0xD6E8_FEB8_6659_FD93) | 1)).collect()
}

#[test]
fn exact_and_predicted_pods_are_ranked_together() {
    let state = state();
    let pods: Vec<PodRef> = (0..4).map(|i| pod(&state, &format!("pod-{i}"))).collect();
    let prompt = blocks(1, 30);
    for (i, depth) in [(0, 10), (2, 20)] {
        assert!(state.begin_exact(pods[i]));
        let named: Vec<_> = prompt[..depth].iter().map(|hash| (EngineHash(hash.0 >> 1), *hash)).collect();
        state.exact.store(pods[i], Medium::Gpu, None, &named);
    }
    for (i, depth) in [(1, 20), (3, 15)] {
        state.predicted.learn(pods[i], &prompt[..depth], 0);
    }
    let mut out = Matches::default();
    state.match_prefix(&prompt, &mut out);
    let ranked: Vec<(usize, u32)> =
        out.as_slice().iter().map(|found| (found.slot.into(), found.depth)).collect();
    let slot = |i: usize| pods[i].slot();
    assert_eq!(ranked, [(slot(1), 20), (slot(2), 20), (slot(3), 15), (slot(0), 10)]);
}

#[test]
fn an_exact_pod_is_taught_by_its_events_alone() {
    let state = state();
    let (exact, predicted) = (pod(&state, "exact"), pod(&state, "predicted"));
    assert!(state.begin_exact(exact));
    let prompt = blocks(1, 5);
    for pod in [exact, predicted] {
        state.learn(pod, &prompt, true);
    }
    assert_eq!((state.predicted.blocks(exact), state.predicted.blocks(predicted)), (0, 5));
    // Its events say nothing of text.
    state.learn(exact, &prompt, false);
    assert_eq!(state.predicted.blocks(exact), 5);
}

#[test]
fn beyond_the_budget_exact_pods_go_first_and_predictions_shrink() {
    let state =
        SharedState::new(&StateOptions { index_bytes: 400_000, predicted_blocks: 1 << 20, ..OPTIONS })
            .expect("a good width");
    let (exact, predicted) = (pod(&state, "exact"), pod(&state, "predicted"));
    assert!(state.begin_exact(exact));
    let prompt = blocks(1, 10_000);
    let named: Vec<_> = prompt.iter().map(|hash| (EngineHash(hash.0 >> 1), *hash)).collect();
    state.exact.store(exact, Medium::Gpu, None, &named);
    (2..22).for_each(|prompt| state.predicted.learn(predicted, &blocks(prompt, 1000), 0));
    assert!(state.stats().bytes > 800_000);
    for _ in 0..20 {
        state.maintain();
    }
    let stats = state.stats();
    assert_eq!((state.exact.pods(), stats.demoted), (0, 1));
    assert!(stats.shed > 5_000 && stats.bytes < 440_000, "{stats:?}");
    // The newest predictions are still there.
    let mut out = Matches::default();
    state.match_prefix(&blocks(21, 1000), &mut out);
    assert_eq!(out.as_slice().len(), 1);
}
