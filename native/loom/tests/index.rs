//! What readers see while a writer is at work, in every interleaving. Each model is one function
//! over both trees; the relaxed one shows that the model can fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn explore(model: impl Fn() + Send + Sync + 'static) {
    let ways = Arc::new(AtomicUsize::new(0));
    let count = ways.clone();
    loom::model(move || {
        count.fetch_add(1, Ordering::Relaxed);
        model();
    });
    // One that explores nothing would pass.
    let ways = ways.load(Ordering::Relaxed);
    println!("{ways} interleavings");
    assert!(ways > 10, "{ways} interleavings");
}

macro_rules! models {
    ($tree:ident) => {
        use loom::thread;
        use phyllo_loom::$tree::Model;
        use std::sync::Arc;

        /// A chain grows in place: a reader sees it as it was or as it is, and what it was is never less.
        pub fn growth() {
            let index = Arc::new(Model::new(1));
            index.store(0, None, &[1, 2, 3]);
            let reader = thread::spawn({
                let index = index.clone();
                move || {
                    let [first] = index.depths(&[1, 2, 3, 4, 5, 6, 7]);
                    let [second] = index.depths(&[1, 2, 3, 4, 5, 6, 7]);
                    assert!([3, 5].contains(&first) && [3, 5].contains(&second), "{first} {second}");
                    assert!(second >= first, "{first} {second}");
                }
            });
            index.store(0, Some(3), &[4, 5]);
            reader.join().unwrap();
            assert_eq!(index.depths(&[1, 2, 3, 4, 5, 6]), [5]);
        }

        /// A table is replaced by a larger one while a block in it is looked up.
        pub fn rebuild() {
            let index = Arc::new(Model::new(1));
            index.store(0, None, &[1, 2, 3]);
            index.store(0, None, &[11, 12]);
            let reader = thread::spawn({
                let index = index.clone();
                move || {
                    assert_eq!(index.depths(&[1, 2, 3]), [3]);
                    assert_eq!(index.depths(&[11, 12]), [2]);
                }
            });
            let more: Vec<u64> = (100..130).collect();
            index.store(0, None, &more);
            reader.join().unwrap();
            assert_eq!(index.depths(&more), [30]);
        }

        /// A chain is cut in two where many pods end: no pod's depth is ever less than it was.
        pub fn cut() {
            let index = Arc::new(Model::new(5));
            index.store(0, None, &[1, 2, 3, 4]);
            (1..4).for_each(|pod| index.store(pod, None, &[1, 2]));
            let reader = thread::spawn({
                let index = index.clone();
                move || {
                    let [deepest, other, .., newest] = index.depths::<5>(&[1, 2, 3, 4]);
                    assert_eq!((deepest, other), (4, 2));
                    assert!([0, 2].contains(&newest), "{newest}");
                }
            });
            index.store(4, None, &[1, 2]);
            reader.join().unwrap();
            assert_eq!(index.depths(&[1, 2, 3, 4]), [4, 2, 2, 2, 2]);
        }

        /// The same for a request whose beginning was left out: its first block moves to another chain meanwhile.
        pub fn cut_before_a_request_from_the_middle() {
            let index = Arc::new(Model::new(5));
            index.store(0, None, &[1, 2, 3, 4]);
            (1..4).for_each(|pod| index.store(pod, None, &[1, 2]));
            let reader = thread::spawn({
                let index = index.clone();
                move || assert_eq!(index.depths(&[3, 4]), [2, 0])
            });
            index.store(4, None, &[1, 2]);
            reader.join().unwrap();
        }

        /// A chain's number, table words and memory go to another prompt: a reader takes neither for the other.
        pub fn reuse() {
            let index = Arc::new(Model::new(2));
            index.store(0, None, &[1, 2, 3]);
            let reader = thread::spawn({
                let index = index.clone();
                move || {
                    let [old, stranger] = index.depths(&[1, 2, 3]);
                    assert!([0, 3].contains(&old), "{old}");
                    assert_eq!(stranger, 0);
                    let [stranger, new] = index.depths(&[7, 8]);
                    assert!([0, 2].contains(&new), "{new}");
                    assert_eq!(stranger, 0);
                }
            });
            index.remove(0, &[3, 2, 1]);
            index.store(1, None, &[7, 8]);
            reader.join().unwrap();
            assert_eq!(index.depths(&[7, 8]), [0, 2]);
        }

        /// A pod leaves and its blocks are swept: who asks after that does not get it, and the others stay as they are.
        pub fn leaving() {
            let index = Arc::new(Model::new(2));
            index.store(0, None, &[1, 2, 3]);
            index.store(1, None, &[1, 2]);
            let left = Arc::new(loom::sync::atomic::AtomicBool::new(false));
            let reader = thread::spawn({
                let (index, left) = (index.clone(), left.clone());
                move || {
                    let gone = left.load(loom::sync::atomic::Ordering::Acquire);
                    let [leaver, stayer] = index.depths(&[1, 2, 3]);
                    assert_eq!(stayer, 2);
                    assert!(leaver == 0 || !gone && leaver == 3, "{leaver} {gone}");
                }
            });
            index.close(0);
            left.store(true, loom::sync::atomic::Ordering::Release);
            index.sweep(0);
            reader.join().unwrap();
            assert_eq!(index.depths(&[1, 2, 3]), [0, 2]);
        }
    };
}

mod sound {
    models!(index);
}
#[allow(dead_code, reason = "two of the models are enough to show it")]
mod broken {
    models!(relaxed);
}

#[test]
fn a_growing_chain_is_seen_as_it_was_or_as_it_is() {
    explore(sound::growth);
}

#[test]
fn a_block_is_found_while_its_table_is_replaced() {
    explore(sound::rebuild);
}

#[test]
fn a_cut_shortens_no_depth() {
    explore(sound::cut);
}

#[test]
fn a_block_in_mid_chain_is_found_while_the_chain_is_cut_before_it() {
    explore(sound::cut_before_a_request_from_the_middle);
}

#[test]
fn a_reused_chain_number_is_not_taken_for_its_last_owner() {
    explore(sound::reuse);
}

#[test]
fn a_pod_that_left_is_not_answered() {
    explore(sound::leaving);
}

#[test]
#[should_panic = "assertion `left == right` failed"]
fn without_its_orderings_a_cut_is_seen_half_done() {
    explore(broken::cut);
}

#[test]
#[should_panic = "Causality violation"]
fn without_its_orderings_a_replaced_table_is_seen_empty() {
    explore(broken::rebuild);
}
