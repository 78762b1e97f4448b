//! Tokenizers side by side, and what comes before them in a request: `TEXT FIXTURE ROUNDS NAME=MODEL_DIR…`. One JSON
//! object a line on standard output.
//!
//! Everything is CPU time of the whole process (some subjects have threads of their own), subjects in turn. Each is
//! loaded anew for every cold text, since all of them remember something; and all must give the same ids.

mod cpu;
mod render;

use cpu::{cpu_ns, emit, process_cpu};
use phyllo_core::tokenizer::Tokenizer;
use std::path::Path;

/// Memo of the subject that remembers.
const MEMO_BYTES: u64 = 64 << 20;

/// A tokenizer as just loaded.
type Encode = Box<dyn Fn(&str) -> Vec<u32>>;

struct Subject {
    name: &'static str,
    load: fn(&Path) -> Option<Encode>,
}

const SUBJECTS: [Subject; 3] = [
    Subject { name: "phyllo", load: load_phyllo },
    Subject { name: "tokenizers", load: load_tokenizers },
    Subject { name: "fastokens 0.3.5", load: load_fastokens },
];

fn load_phyllo(dir: &Path) -> Option<Encode> {
    let tokenizer = Tokenizer::load_remembering(dir, MEMO_BYTES).expect("loads");
    Some(Box::new(move |text| tokenizer.encode(text, false).expect("encodes")))
}

fn load_tokenizers(dir: &Path) -> Option<Encode> {
    let tokenizer = Tokenizer::load_remembering(dir, 0).expect("loads");
    Some(Box::new(move |text| tokenizer.encode_plainly(text, false).expect("encodes")))
}

fn load_fastokens(dir: &Path) -> Option<Encode> {
    let tokenizer = fastokens::Tokenizer::from_file(&dir.join("tokenizer.json"))
        .inspect_err(|error| eprintln!("fastokens does not load {}: {error}", dir.display()))
        .ok()?;
    Some(Box::new(move |text| tokenizer.encode(text).expect("encodes")))
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| {
        arguments.next().unwrap_or_else(|| panic!("usage: TEXT FIXTURE ROUNDS NAME=MODEL_DIR…: no {what}"))
    };
    let text = std::fs::read_to_string(next("text")).expect("the text");
    let fixture = next("fixture of chat templates");
    let rounds: usize = next("rounds").parse().expect("a number of rounds");
    // For a profiler: `PHYLLO_BENCH_ONLY="many turns, code"`.
    let only = std::env::var("PHYLLO_BENCH_ONLY").unwrap_or_default();
    render::bench(&text, Path::new(&fixture), rounds, &only);
    for model in arguments {
        let (name, dir) = model.split_once('=').expect("NAME=MODEL_DIR");
        bench(name, Path::new(dir), &text, rounds);
    }
}

fn bench(model: &str, dir: &Path, text: &str, rounds: usize) {
    let expected = load_tokenizers(dir).expect("loads")(text);
    let mut samples = SUBJECTS.map(|_| Vec::new());
    for _ in 0..rounds {
        for (subject, samples) in SUBJECTS.iter().zip(&mut samples) {
            let Some(encode) = (subject.load)(dir) else { continue };
            // What is built on first use, but nothing of the text.
            encode("Hello, world! 123\n\n  it's");
            let start = process_cpu();
            let ids = encode(text);
            let spent = process_cpu() - start;
            // It may add special tokens of its own; the text's ids must be the same.
            if ids.windows(expected.len()).any(|window| window == expected) {
                samples.push(text.len() as f64 / spent.as_secs_f64() / 1e6);
            } else {
                eprintln!("{model}: {} gives other ids and is left out", subject.name);
            }
        }
    }
    for (subject, samples) in SUBJECTS.iter().zip(&samples).filter(|(_, samples)| !samples.is_empty()) {
        emit(&format!("{model}, cold text"), subject.name, "speed", "MB/s", samples);
    }
    let tokenizer = Tokenizer::load_remembering(dir, MEMO_BYTES).expect("loads");
    next_turn(model, text, &tokenizer, rounds);
}

/// A conversation of 100,000 tokens and more is known; its next turn adds 100 words.
fn next_turn(model: &str, text: &str, tokenizer: &Tokenizer, rounds: usize) {
    let mut known = String::new();
    while known.len() < 420_000 {
        known.push_str(text);
    }
    known.truncate(known.floor_char_boundary(420_000));
    let tokens = tokenizer.encode(&known, false).expect("encodes").len();
    let mut turn = 0_u64;
    let samples: Vec<f64> = (0..rounds)
        .map(|_| {
            cpu_ns(|| {
                turn += 1;
                let mut next = known.clone();
                (0..100).for_each(|word| next.push_str(&format!(" word{}", turn * 131 + word)));
                drop(tokenizer.encode(&next, false).expect("encodes"));
            }) / 1e3
        })
        .collect();
    emit(
        &format!("{model}, next turn after {} thousand tokens", tokens / 1000),
        "phyllo",
        "CPU",
        "µs",
        &samples,
    );
}
