//! Bookings in any order, against plain sums.

use super::*;
use proptest::prelude::*;

/// What may be done to the bookings; a booking is meant by its place among the open ones, modulo their number.
#[derive(Clone, Debug)]
enum Step {
    Book {
        pod: usize,
        bound: u32,
        tokens: Tokens,
    },
    FirstByte {
        booking: usize,
    },
    Grow {
        booking: usize,
        tokens: u32,
    },
    Release {
        booking: usize,
        outcome: u32,
    },
    /// The pod failed: booked on another one, then given back there.
    Retry {
        booking: usize,
        to: usize,
    },
    /// Cordoned, and back.
    Cordon {
        pod: usize,
    },
    /// Another pod comes in its place; what is booked on the old one runs on.
    Replace {
        pod: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (pod, booking) = (0..PODS, any::<usize>());
    let tokens = (any::<bool>(), 0..300_000u32, 0..300_000u32)
        .prop_map(|(huge, pending, active)| Tokens { pending, active: if huge { u32::MAX } else { active } });
    prop_oneof![
        4 => (pod.clone(), 0..6u32, tokens).prop_map(|(pod, bound, tokens)| Step::Book { pod, bound, tokens }),
        2 => booking.prop_map(|booking| Step::FirstByte { booking }),
        4 => (booking, 0..40u32).prop_map(|(booking, tokens)| Step::Grow { booking, tokens }),
        3 => (booking, 0..3u32).prop_map(|(booking, outcome)| Step::Release { booking, outcome }),
        1 => (booking, pod.clone()).prop_map(|(booking, to)| Step::Retry { booking, to }),
        1 => pod.clone().prop_map(|pod| Step::Cordon { pod }),
        1 => pod.prop_map(|pod| Step::Replace { pod }),
    ]
}

const PODS: usize = 3;

/// One that was not given back.
#[derive(Clone, Copy)]
struct Open {
    pod: PodRef,
    tokens: Tokens,
    /// What has come to the active ones; all together within 32 bits, as a caller's count is.
    grown: u32,
}

struct World {
    fleet: Fleet,
    /// Those that requests are booked on.
    pods: Vec<PodRef>,
    open: Vec<Open>,
    /// Pods that may still have bookings, the first ones included.
    all: Vec<PodRef>,
}

impl World {
    fn book(&mut self, pod: PodRef, bound: u32, tokens: Tokens) -> bool {
        let booked = self.fleet.table.book(pod, bound, tokens).is_ok();
        if booked {
            self.open.push(Open { pod, tokens, grown: 0 });
        }
        booked
    }

    fn release(&mut self, place: usize, outcome: Outcome) {
        let Open { pod, tokens, grown } = self.open.swap_remove(place);
        let tokens = Tokens { active: tokens.active + grown, ..tokens };
        assert!(self.fleet.table.release(pod, tokens, outcome));
    }

    fn place(&self, booking: usize) -> Option<usize> {
        (!self.open.is_empty()).then(|| booking % self.open.len())
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Book { pod, bound, tokens } => {
                self.book(self.pods[pod], bound, tokens);
            }
            Step::FirstByte { booking } => {
                if let Some(place) = self.place(booking) {
                    let open = &mut self.open[place];
                    self.fleet.table.first_byte(open.pod, 5.0, std::mem::take(&mut open.tokens.pending));
                }
            }
            Step::Grow { booking, tokens } => {
                if let Some(place) = self.place(booking) {
                    let open = &mut self.open[place];
                    let room = u32::MAX - open.tokens.active - open.grown;
                    self.fleet.table.grow(open.pod, tokens.min(room));
                    open.grown += tokens.min(room);
                }
            }
            Step::Release { booking, outcome } => {
                if let Some(place) = self.place(booking) {
                    self.release(place, Outcome::of(outcome));
                }
            }
            Step::Retry { booking, to } => {
                if let Some(place) = self.place(booking) {
                    let Open { tokens, .. } = self.open[place];
                    if self.book(self.pods[to], 0, tokens) {
                        self.release(place, Outcome::Failed);
                    }
                }
            }
            Step::Cordon { pod } => {
                assert!(self.fleet.table.cordon(self.pods[pod], true));
                assert!(self.fleet.table.cordon(self.pods[pod], false));
            }
            Step::Replace { pod } => {
                assert!(self.fleet.table.remove(self.pods[pod]));
                assert!(self.fleet.table.release_pod(self.pods[pod]));
                self.fleet.index.wait_swept();
                self.pods[pod] = self.fleet.pod(&format!("{}", self.all.len()));
                self.all.push(self.pods[pod]);
            }
        }
    }

    /// Each pod that still has its slot carries what its open bookings add up to.
    fn check(&self) {
        for &pod in &self.all {
            let own = || self.open.iter().filter(|open| open.pod == pod);
            let Some(status) = self.fleet.table.status(pod) else {
                assert_eq!(own().count(), 0, "a pod with bookings has lost its slot");
                continue;
            };
            let pending: u64 = own().map(|open| u64::from(open.tokens.pending)).sum();
            let active: u64 = own().map(|open| u64::from(open.tokens.active) + u64::from(open.grown)).sum();
            assert_eq!(status.inflight as usize, own().count());
            assert_eq!((status.pending_tokens, status.active_tokens), (pending, active));
        }
    }
}

proptest! {
    #[test]
    fn tallies_are_the_sums_of_what_is_booked(steps in prop::collection::vec(step(), 0..120)) {
        let fleet = fleet();
        let pods: Vec<PodRef> = (0..PODS).map(|i| fleet.pod(&format!("first {i}"))).collect();
        let mut world = World { fleet, all: pods.clone(), pods, open: Vec::new() };
        for step in steps {
            world.run(step);
            world.check();
        }
        while !world.open.is_empty() {
            world.release(0, Outcome::Cancelled);
            world.check();
        }
        let mut out = vec![0.0; LOAD_COLUMNS * 64];
        world.fleet.table.loads(&mut out);
        prop_assert!(out[9 * 64..].iter().all(|&active| active == 0.0));
    }
}
