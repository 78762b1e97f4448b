//! Our own byte-level BPE against the `tokenizers` crate: the same ids, whatever the text.

mod support;

use phyllo_core::tokenizer::Tokenizer;
use proptest::prelude::*;
use std::sync::LazyLock;
use support::{model_dir, template_cases};

const FAST: [&str; 5] = ["qwen3", "qwen2_5", "llama3_1", "gptoss", "deepseek_v3"];

static TOKENIZERS: LazyLock<Vec<(&str, Tokenizer)>> =
    LazyLock::new(|| FAST.map(|name| (name, Tokenizer::load(&model_dir(name)).expect("loads"))).into());

fn same(text: &str) {
    same_with(text, &[false, true]);
}

fn same_with(text: &str, specials: &[bool]) {
    for (name, tokenizer) in TOKENIZERS.iter() {
        for &special in specials {
            let plain = tokenizer.encode_plainly(text, special).expect("encodes");
            // Twice: computed, and remembered.
            for _ in 0..2 {
                let fast = tokenizer.encode(text, special).expect("encodes");
                if fast != plain {
                    let at = fast.iter().zip(&plain).take_while(|(a, b)| a == b).count();
                    let shown =
                        |ids: &[u32]| tokenizer.decode(&ids[at.min(ids.len())..(at + 8).min(ids.len())]);
                    panic!("{name}: {:?} instead of {:?} at token {at}", shown(&fast), shown(&plain));
                }
            }
        }
    }
}

#[test]
fn all_but_gemma_are_of_a_known_kind() {
    for (name, tokenizer) in TOKENIZERS.iter() {
        assert!(tokenizer.is_fast(), "{name}");
    }
    assert!(!Tokenizer::load(&model_dir("gemma3")).expect("loads").is_fast());
}

#[test]
fn every_rendered_conversation() {
    let texts = template_cases().into_iter().filter_map(|case| case.expected);
    texts.for_each(|text| same(&text));
}

#[test]
fn the_demos_conversations_at_every_length() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../demo/data/conversations.jsonl");
    let text = std::fs::read_to_string(path).expect("the demo's data");
    same(&text);
    // Every split point of the first 2 KB, so that each turn can end anywhere; sampled ones above.
    let ends = (0..2048).chain((2048..20_000).step_by(1_997));
    for end in ends.filter(|&end| text.is_char_boundary(end)) {
        for (name, tokenizer) in TOKENIZERS.iter() {
            let plain = tokenizer.encode_plainly(&text[..end], false).expect("encodes");
            assert_eq!(tokenizer.encode(&text[..end], false).expect("encodes"), plain, "{name} to {end}");
        }
    }
}

/// What the classes of the patterns (letters, numbers, marks, white space) contain depends on the Unicode version that
/// an implementation knows; both must know the same.
#[test]
fn every_code_point_in_the_places_where_its_class_counts() {
    let mut text = String::new();
    // Beyond these planes nothing is assigned but private use.
    for char in (0..0x3_3500).chain(0xe_0000..0xe_0200).filter_map(char::from_u32) {
        for context in [["a", "b"], [" ", "1"], ["1", " \n"]] {
            text.push_str(context[0]);
            text.push(char);
            text.push_str(context[1]);
        }
        if text.len() > 60_000 {
            same_with(&text, &[false]);
            text.clear();
        }
    }
    same_with(&text, &[false]);
}

/// Building blocks that meet each other badly.
fn fragment() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        " ",
        "  ",
        "\n",
        "\r\n",
        " \n ",
        "\t",
        "\u{a0}",
        "\u{3000}",
        "\u{85}",
        "'s",
        "'RE",
        "'\u{17f}",
        "it's",
        "Hello",
        "wORLD",
        "12",
        "1234567",
        "½",
        "٣",
        "é",
        "e\u{301}",
        "\u{1100}\u{1161}",
        "한국어",
        "漢字かな",
        "🙂",
        "👩\u{200d}👩\u{200d}👧",
        "\u{0}",
        "\u{1f}",
        "!!",
        "//",
        "</",
        "<|im_start|>",
        "<|im_end|>",
        "<|eot_id|>",
        "<think>",
        "<|im_",
        "｜",
        "<｜User｜>",
        "_",
        "a_b",
        "Ǆ",
        "ǅ",
        "ﬁ",
        "İ",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "----------------------------------",
        "                                 ",
    ]);
    prop_oneof![4 => odd.prop_map(str::to_owned), 1 => any::<String>(), 1 => "[a-zA-Z ]{0,40}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn any_text(fragments in prop::collection::vec(fragment(), 0..12)) {
        same(&fragments.concat());
    }

    /// Long enough to be cut into remembered chunks, and extended as a conversation is.
    #[test]
    fn a_text_that_grows(fragments in prop::collection::vec(fragment(), 0..8), repeats in 1usize..200, tail in fragment()) {
        let mut text = fragments.concat().repeat(repeats);
        text.truncate(text.floor_char_boundary(6_000));
        let (name, tokenizer) = &TOKENIZERS[repeats % TOKENIZERS.len()];
        for more in ["", " and", &tail] {
            text.push_str(more);
            let plain = tokenizer.encode_plainly(&text, false).expect("encodes");
            prop_assert_eq!(tokenizer.encode(&text, false).expect("encodes"), plain, "{}", name);
        }
    }
}
