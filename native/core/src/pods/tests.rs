//! The table of pods: lives, bounds, breakers, alone and under threads.

mod naive;

use super::*;
use crate::clock::Clock;
use crate::index::{PrefixIndex, Slots, Width};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

const BREAKERS: BreakerOptions =
    BreakerOptions { failures: 3, cooldown_ms: 1000, latency_factor: 3.0, latency_floor_ms: 100.0 };

struct Fleet {
    clock: Arc<Clock>,
    index: PrefixIndex,
    table: PodTable,
}

/// Twice as many in the cache as have to be prefilled.
const fn tokens(pending: u32) -> Tokens {
    Tokens { pending, active: 2 * pending }
}

fn fleet() -> Fleet {
    let (slots, clock) = (Arc::new(Slots::default()), Arc::new(Clock::manual()));
    let index = PrefixIndex::new(Width::Pods64, slots.clone());
    let table = PodTable::new(Width::Pods64, slots, vec![index.clone()], clock.clone(), BREAKERS, 1000);
    Fleet { clock, index, table }
}

impl Fleet {
    fn pod(&self, id: &str) -> PodRef {
        let pod = self.table.add(id).expect("room");
        assert!(self.table.activate(pod));
        pod
    }

    fn book(&self, pod: PodRef) -> Result<(), Refusal> {
        self.table.book(pod, 0, tokens(0))
    }

    fn serve(&self, pod: PodRef, outcome: Outcome) {
        assert_eq!(self.book(pod), Ok(()));
        assert!(self.table.release(pod, tokens(0), outcome));
    }

    /// Serves a request whose first byte took so long.
    fn answer(&self, pod: PodRef, ms: f64) {
        if self.book(pod).is_ok() {
            self.table.first_byte(pod, ms, 0);
            self.table.release(pod, tokens(0), Outcome::Ok);
        }
    }

    fn breaker(&self, pod: PodRef) -> u8 {
        self.table.status(pod).expect("here").breaker
    }

    fn open_breaker(&self, pod: PodRef) {
        (0..3).for_each(|_| self.serve(pod, Outcome::Failed));
        assert_eq!(self.breaker(pod), 1);
    }

    fn wait(&self, ms: f64) {
        self.clock.set(self.clock.now() + ms);
    }
}

#[test]
fn a_pod_joins_is_cordoned_leaves_and_its_slot_is_used_again() {
    let fleet = fleet();
    let table = &fleet.table;
    let pod = table.add("a").expect("room");
    assert_eq!((pod.slot(), pod.generation()), (0, 1));
    assert_eq!(table.add("a"), Err(AddPodError::Duplicate("a".to_owned())));
    assert_eq!(fleet.book(pod), Err(Refusal::Gone));
    assert!(!table.cordon(pod, true) && !table.release_pod(pod));
    assert!(table.activate(pod) && !table.activate(pod));
    assert_eq!(fleet.book(pod), Ok(()));
    assert!(table.cordon(pod, true));
    assert_eq!(fleet.book(pod), Err(Refusal::Cordoned));
    assert!(table.cordon(pod, false));
    assert!(table.remove(pod) && !table.remove(pod) && !table.cordon(pod, false));
    assert_eq!(fleet.book(pod), Err(Refusal::Gone));
    fleet.index.wait_swept();

    // Removed, swept and released, but one request still runs: the slot stays.
    assert!(table.release_pod(pod));
    assert_eq!(table.status(pod).map(|status| (status.phase, status.swept)), Some((Phase::Leaving, true)));
    assert_eq!(table.add("b").map(PodRef::slot), Ok(1));
    assert!(table.release(pod, tokens(0), Outcome::Ok));
    assert_eq!(table.status(pod).map(|status| status.phase), Some(Phase::Free));
    let next = table.add("a").expect("room");
    assert_eq!((next.slot(), next.generation()), (0, 2));
    assert_eq!(table.status(pod), None);
}

#[test]
fn a_slot_is_kept_until_all_workers_have_let_go() {
    let fleet = fleet();
    let pod = fleet.pod("a");
    assert!(fleet.table.remove(pod));
    fleet.index.wait_swept();
    assert_eq!(fleet.table.add("b").map(PodRef::slot), Ok(1));
    assert!(fleet.table.release_pod(pod));
    assert_eq!(fleet.table.add("c").map(PodRef::slot), Ok(0));
}

#[test]
fn no_more_pods_than_slots() {
    let fleet = fleet();
    (0..64).for_each(|i| assert_eq!(fleet.pod(&i.to_string()).slot(), i));
    assert_eq!(fleet.table.add("one more"), Err(AddPodError::Full { id: "one more".to_owned(), width: 64 }));
}

#[test]
fn what_is_given_back_twice_or_by_an_earlier_pod_changes_nothing() {
    let fleet = fleet();
    let old = fleet.pod("a");
    assert_eq!(fleet.table.book(old, 0, tokens(70)), Ok(()));
    fleet.table.first_byte(old, 5.0, 70);
    fleet.table.first_byte(old, 5.0, 70);
    fleet.table.grow(old, 16);
    assert!(fleet.table.release(old, Tokens { pending: 0, active: 140 + 16 }, Outcome::Ok));
    assert!(!fleet.table.release(old, tokens(70), Outcome::Ok));
    fleet.table.remove(old);
    fleet.table.release_pod(old);
    fleet.index.wait_swept();
    let new = fleet.pod("a");
    assert_eq!(new.slot(), old.slot());
    assert_eq!(fleet.table.book(new, 0, tokens(30)), Ok(()));
    assert!(!fleet.table.release(old, tokens(30), Outcome::Failed));
    fleet.table.first_byte(old, 9.0, 30);
    fleet.table.grow(old, 16);
    let status = fleet.table.status(new).expect("here");
    assert_eq!((status.inflight, status.pending_tokens, status.active_tokens), (1, 30, 60));
}

#[test]
fn load_columns_are_where_the_javascript_side_reads_them() {
    let fleet = fleet();
    let (a, b) = (fleet.pod("a"), fleet.table.add("b").expect("room"));
    assert_eq!(fleet.table.book(a, 0, tokens(500)), Ok(()));
    assert_eq!(fleet.table.book(a, 0, tokens(100)), Ok(()));
    fleet.table.first_byte(a, 12.5, 100);
    fleet.table.grow(a, 16);
    let mut out = vec![-1.0; LOAD_COLUMNS * 64];
    assert_eq!(fleet.table.loads(&mut out), 2);
    let columns =
        |slot: usize| -> Vec<f64> { (0..LOAD_COLUMNS).map(|column| out[column * 64 + slot]).collect() };
    assert_eq!(columns(a.slot()), [2.0, 500.0, 12.5, 0.0, 1.0, 2.0, 0.0, 0.0, 0.1, 1216.0]);
    assert_eq!(columns(b.slot()), [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.1, 0.0]);
    assert_eq!(fleet.table.loads(&mut out[1..]), 0);
}

/// Requests, waiting, KV use, warmth.
fn engine_columns(fleet: &Fleet, pod: PodRef) -> [f64; 4] {
    let mut out = vec![-1.0; LOAD_COLUMNS * 64];
    fleet.table.loads(&mut out);
    [5, 6, 7, 8].map(|column| out[column * 64 + pod.slot()])
}

#[test]
fn what_an_engine_reports_beyond_the_bookings_counts_until_its_metrics_are_old() {
    let fleet = fleet();
    let pod = fleet.pod("a");
    fleet.wait(1000.0);
    assert_eq!(fleet.table.book(pod, 0, tokens(0)), Ok(()));
    fleet.table.set_engine_load(pod, 3, 2, 0.75);
    assert_eq!(engine_columns(&fleet, pod), [5.0, 2.0, 0.75, 1.0]);
    // What is booked between two scrapes counts at once.
    assert_eq!(fleet.table.book(pod, 0, tokens(0)), Ok(()));
    assert_eq!(engine_columns(&fleet, pod)[0], 6.0);
    // An engine that has not yet seen all that is booked takes nothing away.
    fleet.table.set_engine_load(pod, 1, 0, f32::NAN);
    assert_eq!(engine_columns(&fleet, pod), [2.0, 0.0, 0.0, 1.0]);
    fleet.table.set_engine_load(pod, 9, 9, 7.0);
    assert_eq!(engine_columns(&fleet, pod), [18.0, 9.0, 1.0, 1.0]);
    fleet.wait(10_000.0);
    assert_eq!(engine_columns(&fleet, pod), [2.0, 0.0, 0.0, 1.0]);
}

#[test]
fn a_new_pod_and_one_that_comes_back_warm_up() {
    let fleet = fleet();
    fleet.wait(5000.0);
    let pod = fleet.pod("a");
    let mut warmth = Vec::new();
    for _ in 0..5 {
        warmth.push(engine_columns(&fleet, pod)[3]);
        fleet.wait(250.0);
    }
    assert_eq!(warmth, [0.1, 0.25, 0.5, 0.75, 1.0]);
    assert!(fleet.table.cordon(pod, true));
    assert_eq!(engine_columns(&fleet, pod)[3], 1.0);
    assert!(fleet.table.cordon(pod, false));
    assert_eq!(engine_columns(&fleet, pod)[3], 0.1);
    // A pod that was not out starts nothing anew.
    fleet.wait(500.0);
    assert!(fleet.table.cordon(pod, false));
    assert_eq!(engine_columns(&fleet, pod)[3], 0.5);
}

#[test]
fn failures_in_a_row_open_and_one_probe_closes() {
    let fleet = fleet();
    let pod = fleet.pod("a");
    fleet.serve(pod, Outcome::Failed);
    fleet.serve(pod, Outcome::Failed);
    fleet.serve(pod, Outcome::Ok);
    fleet.open_breaker(pod);
    assert_eq!(fleet.book(pod), Err(Refusal::CircuitOpen));
    fleet.wait(999.0);
    assert_eq!(fleet.book(pod), Err(Refusal::CircuitOpen));
    fleet.wait(1.0);
    assert_eq!(fleet.breaker(pod), 2);
    assert_eq!(fleet.book(pod), Ok(()));
    assert_eq!(fleet.breaker(pod), 3);
    assert_eq!(fleet.book(pod), Err(Refusal::CircuitOpen));
    assert!(fleet.table.release(pod, tokens(0), Outcome::Ok));
    assert_eq!(fleet.breaker(pod), 0);
    // The row of failures starts anew.
    fleet.serve(pod, Outcome::Failed);
    assert_eq!(fleet.breaker(pod), 0);
}

#[test]
fn a_probe_that_fails_rests_the_pod_again_and_one_that_is_cancelled_judges_nothing() {
    let fleet = fleet();
    let pod = fleet.pod("a");
    fleet.open_breaker(pod);
    fleet.wait(1000.0);
    fleet.serve(pod, Outcome::Cancelled);
    assert_eq!(fleet.breaker(pod), 2);
    fleet.serve(pod, Outcome::Failed);
    assert_eq!(fleet.breaker(pod), 1);
    fleet.wait(1000.0);
    fleet.serve(pod, Outcome::Ok);
    assert_eq!(fleet.breaker(pod), 0);
}

/// Requests from before the opening still run while the probe is out: a cancelled one of them must not make place for
/// a second probe, and all of them cancelled must not leave the place taken for ever.
#[test]
fn old_requests_that_are_cancelled_neither_double_the_probe_nor_block_it() {
    let fleet = fleet();
    let pod = fleet.pod("a");
    assert_eq!((fleet.book(pod), fleet.book(pod)), (Ok(()), Ok(())));
    fleet.open_breaker(pod);
    fleet.wait(1000.0);
    assert_eq!(fleet.book(pod), Ok(()));
    fleet.table.release(pod, tokens(0), Outcome::Cancelled);
    assert_eq!(fleet.book(pod), Err(Refusal::CircuitOpen));
    fleet.table.release(pod, tokens(0), Outcome::Cancelled);
    fleet.table.release(pod, tokens(0), Outcome::Cancelled);
    assert_eq!((fleet.breaker(pod), fleet.book(pod)), (2, Ok(())));
}

#[test]
fn a_refused_probe_leaves_its_place_to_the_next() {
    let fleet = fleet();
    let pod = fleet.pod("a");
    assert_eq!(fleet.book(pod), Ok(()));
    fleet.open_breaker(pod);
    fleet.wait(1000.0);
    assert_eq!(fleet.table.book(pod, 1, tokens(0)), Err(Refusal::Full));
    assert_eq!(fleet.table.book(pod, 2, tokens(0)), Ok(()));
    assert_eq!(fleet.breaker(pod), 3);
}

#[test]
fn a_pod_far_slower_than_the_median_and_the_floor_rests_until_a_probe_is_quick() {
    let fleet = fleet();
    let pods: Vec<PodRef> = (0..4).map(|i| fleet.pod(&i.to_string())).collect();
    for &pod in &pods[1..] {
        (0..8).for_each(|_| fleet.answer(pod, 50.0));
    }
    // Over three times the median of 50, but not before there are enough samples.
    (0..7).for_each(|_| fleet.answer(pods[0], 400.0));
    assert_eq!(fleet.breaker(pods[0]), 0);
    fleet.answer(pods[0], 400.0);
    assert_eq!(fleet.breaker(pods[0]), 1);
    fleet.wait(1000.0);
    fleet.answer(pods[0], 400.0);
    assert_eq!(fleet.breaker(pods[0]), 1, "a slow probe");
    fleet.wait(1000.0);
    fleet.answer(pods[0], 60.0);
    assert_eq!(fleet.breaker(pods[0]), 0, "a quick probe");
}

#[test]
fn below_the_floor_or_alone_no_pod_is_slow() {
    let fleet = fleet();
    let (a, b) = (fleet.pod("a"), fleet.pod("b"));
    for _ in 0..20 {
        fleet.answer(b, 1.0);
        fleet.answer(a, 99.0);
    }
    assert_eq!(fleet.breaker(a), 0, "99 times the median, under the floor of 100 ms");
    fleet.table.remove(b);
    (0..20).for_each(|_| fleet.answer(a, 10_000.0));
    assert_eq!(fleet.breaker(a), 0, "the only one");
}

/// The fleet gets slower from pod to pod, each against the ones that still serve.
#[test]
fn latency_never_rests_more_than_half_of_the_ready_pods() {
    for (pods, most) in [(2, 1), (3, 1), (5, 2), (8, 4)] {
        let fleet = fleet();
        let pods: Vec<PodRef> = (0..pods).map(|i| fleet.pod(&i.to_string())).collect();
        for &pod in &pods {
            (0..8).for_each(|_| fleet.answer(pod, 10.0));
        }
        for (round, &pod) in pods.iter().enumerate() {
            (0..60).for_each(|_| fleet.answer(pod, 1000.0 * 10f64.powi(round as i32)));
        }
        let open = pods.iter().filter(|&&pod| fleet.breaker(pod) != 0).count();
        assert!((1..=most).contains(&open), "{open} of {}", pods.len());
    }
}

#[test]
fn bounds_hold_exactly_under_threads() {
    const BOUND: u32 = 3;
    let fleet = fleet();
    let pod = fleet.pod("a");
    let (inside, full) = (AtomicU32::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    match fleet.table.book(pod, BOUND, tokens(7)) {
                        Ok(()) => {
                            assert!(inside.fetch_add(1, Ordering::SeqCst) < BOUND);
                            std::hint::spin_loop();
                            inside.fetch_sub(1, Ordering::SeqCst);
                            fleet.table.grow(pod, 3);
                            assert!(fleet.table.release(pod, Tokens { pending: 7, active: 17 }, Outcome::Ok));
                        }
                        Err(refusal) => {
                            assert_eq!(refusal, Refusal::Full);
                            full.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let status = fleet.table.status(pod).expect("here");
    assert_eq!((status.inflight, status.pending_tokens, status.active_tokens), (0, 0, 0));
}

#[test]
fn of_many_threads_exactly_one_is_the_probe() {
    let fleet = fleet();
    let pod = fleet.pod("a");
    for round in 0..300 {
        fleet.open_breaker(pod);
        fleet.wait(1000.0);
        let probes: usize = std::thread::scope(|scope| {
            let book = || (0..20).filter(|_| fleet.book(pod).is_ok()).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(book)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(probes, 1, "round {round}");
        assert!(fleet.table.release(pod, tokens(0), Outcome::Ok));
    }
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Threads book whatever pod is in the slot while it is removed and replaced: every booking counts for its own pod.
#[test]
fn bookings_never_land_on_the_slots_next_pod() {
    let fleet = fleet();
    let current = AtomicU64::new(fleet.pod("0").raw());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let pod = PodRef::from_raw(current.load(Ordering::Relaxed));
                    if fleet.table.book(pod, 0, tokens(1)).is_ok() {
                        let status = fleet.table.status(pod).expect("a booked pod keeps its slot");
                        assert!(status.inflight > 0 && status.pending_tokens > 0 && status.active_tokens > 1);
                        fleet.table.first_byte(pod, 1.0, 1);
                        fleet.table.grow(pod, 1);
                        assert!(fleet.table.release(pod, Tokens { pending: 0, active: 3 }, Outcome::Ok));
                    }
                }
            });
        }
        // Set when this leaves, by a failed assertion too: else the others would run on for ever.
        let _stop = StopOnDrop(&stop);
        for i in 1..400 {
            let pod = PodRef::from_raw(current.load(Ordering::Relaxed));
            assert!(fleet.table.remove(pod) && fleet.table.release_pod(pod));
            if i % 32 == 0 {
                // Only so many slots can wait for their sweep.
                fleet.index.wait_swept();
            }
            let next = fleet.pod(&i.to_string());
            current.store(next.raw(), Ordering::Relaxed);
        }
    });
    let mut out = vec![0.0; LOAD_COLUMNS * 64];
    let used = fleet.table.loads(&mut out);
    let (load, active) = (&out[..2 * 64], &out[9 * 64..]);
    assert!(used <= 64 && load.iter().chain(active).all(|&load| load == 0.0), "{load:?} {active:?}");
}
