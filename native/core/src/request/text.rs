//! Skipping over a JSON string: where it ends, and whether it is well formed.

use super::scan::ScanCode;

/// A fault inside a value: its code and the byte offset.
pub(super) type Fault = (ScanCode, usize);

/// How many bytes are looked at together in a long string. Written as a plain loop over an array so that the compiler
/// makes vector compares of it (two 16-byte SSE2 or NEON registers); no intrinsics, no `unsafe`.
const WIDE: usize = 32;
/// How many of them fit a register, for keys and short values.
const WORD: usize = 8;
/// A 1, and the top bit, in each byte of a word.
const ONES: u64 = u64::from_le_bytes([1; WORD]);
const TOPS: u64 = ONES << 7;

/// What a string's plain run ends at: its quote, a backslash, a control character.
#[inline]
fn stops(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Has the chunk a byte that [`stops`]? Also notes whether it has one that is not ASCII.
#[inline]
fn wide_stops(chunk: &[u8; WIDE], high: &mut u8) -> bool {
    let mut stop = 0;
    for &byte in chunk {
        stop |= u8::from(stops(byte));
        *high |= byte;
    }
    stop != 0
}

/// Index of the word's first byte that [`stops`] (little-endian), or [`WORD`].
///
/// `(x - 1) & !x & 0x80` finds the zero bytes of x: a borrow can mark a byte wrongly only above a right one, so the
/// lowest mark is always right ("Bit Twiddling Hacks", S. E. Anderson). With 0x20 in place of 1 it finds bytes below 0x20.
#[inline]
fn word_stop(word: u64) -> usize {
    let below = |x: u64, bound: u64| x.wrapping_sub(ONES * bound) & !x & TOPS;
    let quote = below(word ^ (ONES * u64::from(b'"')), 1);
    let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
    (quote | backslash | below(word, 0x20)).trailing_zeros() as usize / 8
}

/// First index from `at` on with a byte that [`stops`], or the body's length. `high` gathers the top bits of what was
/// passed (and perhaps of a few bytes after it: too much is harmless, it only asks for a check).
#[inline]
fn plain_run(body: &[u8], mut at: usize, high: &mut u8) -> usize {
    let mut words = 0;
    loop {
        // Most strings end in the first words; only what goes on is worth the wide loop.
        if words >= 2 {
            while let Some(chunk) = body.get(at..).and_then(|rest| rest.first_chunk::<WIDE>()) {
                if wide_stops(chunk, high) {
                    break;
                }
                at += WIDE;
            }
            words = 0;
        }
        let Some(chunk) = body.get(at..).and_then(|rest| rest.first_chunk::<WORD>()) else { break };
        let word = u64::from_le_bytes(*chunk);
        *high |= u8::from(word & TOPS != 0) << 7;
        let stop = word_stop(word);
        at += stop;
        if stop < WORD {
            return at;
        }
        words += 1;
    }
    while at < body.len() && !stops(body[at]) {
        *high |= body[at];
        at += 1;
    }
    at
}

/// From the byte after the opening quote to the byte after the closing one. The second answer tells whether there
/// was an escape.
#[inline]
pub(super) fn skip_string(body: &[u8], start: usize) -> Result<(usize, bool), Fault> {
    let mut escaped = false;
    let mut high = 0;
    let mut at = start;
    let end = loop {
        at = plain_run(body, at, &mut high);
        match body.get(at) {
            Some(b'"') => break Ok(at + 1),
            Some(b'\\') => {
                escaped = true;
                match skip_escape(body, at) {
                    Ok(after) => at = after,
                    Err(fault) => break Err(fault),
                }
            }
            Some(_) | None => break Err((ScanCode::BadJson, at)),
        }
    };
    if high & 0x80 != 0 {
        // Also where the string is broken further on: what comes first is the fault to tell.
        check_utf8(body, start, end.unwrap_or_else(|(_, offset)| offset))?;
    }
    end.map(|end| (end, escaped))
}

/// A string with bytes that are not ASCII is read once more, by the standard library's checker, which is several
/// times as fast as checking one sequence at a time on the way.
fn check_utf8(body: &[u8], start: usize, end: usize) -> Result<(), Fault> {
    let text = &body[start..end.min(body.len())];
    std::str::from_utf8(text).map(drop).map_err(|error| (ScanCode::BadUtf8, start + error.valid_up_to()))
}

/// From a backslash to the byte after the escape. A lone surrogate (`\ud800`) is good JSON by the grammar, and both
/// `JSON.parse` and Python accept it.
#[inline]
fn skip_escape(body: &[u8], at: usize) -> Result<usize, Fault> {
    match body.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => {
            let digits = body.get(at + 2..at + 6).unwrap_or(&body[at + 2..]);
            match digits.iter().position(|digit| !digit.is_ascii_hexdigit()) {
                None if digits.len() == 4 => Ok(at + 6),
                bad => Err((ScanCode::BadJson, at + 2 + bad.unwrap_or(digits.len()))),
            }
        }
        _ => Err((ScanCode::BadJson, at + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn utf8_is_judged_as_the_standard_library_judges_it(
            prefix in 0usize..70, bytes in proptest::collection::vec(0x80u8.., 1..6)
        ) {
            let mut body = vec![b'a'; prefix];
            body.extend(&bytes);
            body.push(b'"');
            match std::str::from_utf8(&body) {
                Ok(_) => prop_assert_eq!(skip_string(&body, 0), Ok((body.len(), false))),
                Err(error) => prop_assert_eq!(skip_string(&body, 0), Err((ScanCode::BadUtf8, error.valid_up_to()))),
            }
        }

        #[test]
        fn a_string_ends_at_its_first_bare_quote(text in "[^\"\\\\\\x00-\\x1f]{0,200}", rest in "\\PC{0,40}") {
            let body = format!("{text}\"{rest}");
            prop_assert_eq!(skip_string(body.as_bytes(), 0), Ok((text.len() + 1, false)));
        }

        #[test]
        fn a_control_character_is_found_wherever_it_stands(before in 0usize..100, control in 0u8..0x20) {
            let mut body = vec![b'x'; before];
            body.push(control);
            body.extend(b"tail\"");
            prop_assert_eq!(skip_string(&body, 0), Err((ScanCode::BadJson, before)));
        }
    }

    #[test]
    fn escapes_are_the_eight_of_the_grammar_and_four_hex_digits() {
        for good in [r#"\"""#, r#"\\""#, r#"\/\b\f\n\r\t""#, r#"\u00e9\uD800""#] {
            assert_eq!(skip_string(good.as_bytes(), 0), Ok((good.len(), true)), "{good}");
        }
        for (bad, at) in [(r#"\x41""#, 1), (r#"\u12g4""#, 4), (r#"\u12"#, 4), (r"\", 1), (r#"\u123""#, 5)] {
            assert_eq!(skip_string(bad.as_bytes(), 0), Err((ScanCode::BadJson, at)), "{bad}");
        }
    }
}
