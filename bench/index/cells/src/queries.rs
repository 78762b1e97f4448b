//! CPU time of queries: every subject's index is built and checked, then the subjects take turns.

use crate::clock::thread_cpu;
use crate::dynamo::{self, BINARY, COMPRESSED, JUMP, RADIX};
use crate::inputs::{self, Inputs};
use crate::options::Options;
use crate::phyllo;
use crate::rounds::{Rounds, sample};
use crate::timing::{Lookup, cpu_per_query, order};
use dynamo_kv_router::{RadixTree, SyncIndexer};
use phyllo_core::index::owned::OwnedIndex;
use std::hint::black_box;
use std::time::Duration;

pub const QUERY: &str = "query CPU";
const TWO_THREADS: &str = "query CPU, two threads";
const FROM_TOKENS: &str = "tokens to ranked pods CPU";

/// One cell's queries, and how long a measurement is.
struct Cell<'a> {
    inputs: &'a Inputs,
    round: u64,
    ms: u64,
}

impl Cell<'_> {
    fn measure<L: Lookup + Sync>(&self, subject: &str, metric: &str, lookups: &[&L]) {
        let ns = cpu_per_query(lookups, self.inputs.local.len(), self.round, self.ms);
        sample(subject, metric, "ns", ns);
    }

    fn dynamo<B: SyncIndexer>(&self, subject: &str, index: &B) {
        self.measure(subject, QUERY, &[&dynamo::ByHashes { index, inputs: self.inputs }]);
    }

    fn dynamo_tokens<B: SyncIndexer>(&self, subject: &str, index: &B) {
        self.measure(subject, FROM_TOKENS, &[&dynamo::ByTokens { index, inputs: self.inputs }]);
    }

    /// Two threads on one index; and on an index each, which shows what the machine alone makes of two threads.
    fn phyllo_two_threads(&self, index: &OwnedIndex, other: &OwnedIndex) {
        let [index, other] = [index, other].map(|index| phyllo::ByHashes { index, inputs: self.inputs });
        self.measure(phyllo::NAME, TWO_THREADS, &[&index, &index]);
        self.measure("phyllo, an index a thread", TWO_THREADS, &[&index, &other]);
    }

    /// Its queries are taken by value, so they are copied outside of the time.
    fn radix(&self, tree: &RadixTree) {
        const STRIDE: usize = 64;
        let order = order(self.inputs.local.len(), 77 + 1000 * self.round);
        let (mut spent, mut asked) = (Duration::ZERO, 0);
        for queries in order.chunks(STRIDE).cycle() {
            let queries: Vec<_> = queries.iter().map(|&at| self.inputs.local[at as usize].clone()).collect();
            asked += queries.len();
            let start = thread_cpu();
            for query in queries {
                black_box(tree.find_matches(black_box(query), false));
            }
            spent += thread_cpu() - start;
            if spent >= Duration::from_millis(self.ms) {
                break;
            }
        }
        sample(RADIX, QUERY, "ns", spent.as_nanos() as f64 / asked as f64);
    }
}

/// All subjects, one and two threads, from hashes and from tokens.
pub fn all(options: &Options) -> ! {
    let (workload, inputs) = inputs::build(options.shape, true);
    let [ours, other] = [(); 2].map(|()| phyllo::filled(&workload));
    let compressed = dynamo::filled(dynamo::compressed(), &workload);
    let jump = dynamo::filled(dynamo::jump(), &workload);
    let binary = dynamo::filled(dynamo::binary(), &workload);
    let radix = dynamo::filled_radix(&workload);
    phyllo::check(&ours, &inputs, &workload);
    phyllo::check(&other, &inputs, &workload);
    dynamo::check(COMPRESSED, compressed.index.as_ref(), &inputs, &workload);
    dynamo::check(JUMP, jump.index.as_ref(), &inputs, &workload);
    dynamo::check(BINARY, binary.index.as_ref(), &inputs, &workload);
    dynamo::check_radix(&radix, &inputs, &workload);
    Rounds::ready(workload.pairs, workload.shape.groups).each(|round| {
        let cell = Cell { inputs: &inputs, round, ms: options.ms };
        cell.measure(phyllo::NAME, QUERY, &[&phyllo::ByHashes { index: &ours, inputs: &inputs }]);
        cell.dynamo(COMPRESSED, compressed.index.as_ref());
        cell.dynamo(JUMP, jump.index.as_ref());
        cell.dynamo(BINARY, binary.index.as_ref());
        cell.radix(&radix);
        cell.phyllo_two_threads(&ours, &other);
        let two = dynamo::ByHashes { index: compressed.index.as_ref(), inputs: &inputs };
        cell.measure(COMPRESSED, TWO_THREADS, &[&two, &two]);
        cell.measure(phyllo::NAME, FROM_TOKENS, &[&phyllo::ByTokens { index: &ours, inputs: &inputs }]);
        cell.dynamo_tokens(COMPRESSED, compressed.index.as_ref());
        cell.dynamo_tokens(JUMP, jump.index.as_ref());
        cell.dynamo_tokens(BINARY, binary.index.as_ref());
    })
}

/// The fastest subjects alone: at 16 million pairs the others take gigabytes.
pub fn large(options: &Options) -> ! {
    let (workload, inputs) = inputs::build(options.shape, false);
    let ours = phyllo::filled(&workload);
    let compressed = dynamo::filled(dynamo::compressed(), &workload);
    let binary = dynamo::filled(dynamo::binary(), &workload);
    // Only now, when all are built: memory that lay idle may have to be fetched back, as by a virtual machine's host.
    phyllo::check(&ours, &inputs, &workload);
    dynamo::check(COMPRESSED, compressed.index.as_ref(), &inputs, &workload);
    dynamo::check(BINARY, binary.index.as_ref(), &inputs, &workload);
    Rounds::ready(workload.pairs, workload.shape.groups).each(|round| {
        let cell = Cell { inputs: &inputs, round, ms: options.ms };
        cell.measure(phyllo::NAME, QUERY, &[&phyllo::ByHashes { index: &ours, inputs: &inputs }]);
        cell.dynamo(COMPRESSED, compressed.index.as_ref());
        cell.dynamo(BINARY, binary.index.as_ref());
    })
}
