//! Skipping over a JSON string: where it ends, and whether it is well formed.

use super::scan::ScanCode;

/// A fault inside a value: its code and the byte offset.
pub(super) type Fault = (ScanCode, usize);

/// Bytes looked at together: two registers of SSE2, which every x86-64 has.
const WIDE: usize = 32;

/// What a string's plain run ends at: its quote, a backslash, a control character.
#[inline]
fn stops(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Index of the chunk's first byte that [`stops`], or [`WIDE`]; and whether any of its bytes is not ASCII.
#[cfg(target_arch = "x86_64")]
#[inline]
fn first_stop(chunk: &[u8; WIDE]) -> (usize, bool) {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
    };
    let half = |at: usize| {
        // SAFETY: SSE2 is part of x86-64, and the load, which needs no alignment, reads 16 bytes of the chunk's 32 from
        // 0 or from 16 on.
        let (stop, high) = unsafe {
            let bytes = _mm_loadu_si128(chunk.as_ptr().add(at).cast());
            let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
            let backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
            let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
            let stop = _mm_or_si128(_mm_or_si128(quote, backslash), control);
            (_mm_movemask_epi8(stop), _mm_movemask_epi8(bytes))
        };
        (stop as u32, high as u32)
    };
    let ((low, low_high), (top, top_high)) = (half(0), half(WIDE / 2));
    ((low | top << (WIDE / 2)).trailing_zeros() as usize, (low_high | top_high) != 0)
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn first_stop(chunk: &[u8; WIDE]) -> (usize, bool) {
    first_stop_portable(chunk)
}

/// The same without intrinsics, in words of eight bytes.
#[cfg(any(test, not(target_arch = "x86_64")))]
#[inline]
fn first_stop_portable(chunk: &[u8; WIDE]) -> (usize, bool) {
    let (mut stop, mut high) = (WIDE, 0);
    for (at, word) in chunk.chunks_exact(WORD).enumerate() {
        let word = u64::from_le_bytes(word.try_into().unwrap_or_default());
        high |= word & TOPS;
        let first = word_stop(word);
        if first < WORD && stop == WIDE {
            stop = at * WORD + first;
        }
    }
    (stop, high != 0)
}

#[cfg(any(test, not(target_arch = "x86_64")))]
const WORD: usize = 8;
/// A 1, and the top bit, in each byte of a word.
#[cfg(any(test, not(target_arch = "x86_64")))]
const ONES: u64 = u64::from_le_bytes([1; WORD]);
#[cfg(any(test, not(target_arch = "x86_64")))]
const TOPS: u64 = ONES << 7;

/// Index of the word's first byte that [`stops`] (little-endian), or [`WORD`].
///
/// `(x - 1) & !x & 0x80` finds the zero bytes of x: a borrow can mark a byte wrongly only above a right one, so the
/// lowest mark is always right ("Bit Twiddling Hacks", S. E. Anderson). With 0x20 in place of 1 it finds bytes below 0x20.
#[cfg(any(test, not(target_arch = "x86_64")))]
#[inline]
fn word_stop(word: u64) -> usize {
    let below = |x: u64, bound: u64| x.wrapping_sub(ONES * bound) & !x & TOPS;
    let quote = below(word ^ (ONES * u64::from(b'"')), 1);
    let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
    (quote | backslash | below(word, 0x20)).trailing_zeros() as usize / 8
}

/// First index from `at` on with a byte that [`stops`], or the body's length. `high` becomes true if what was passed
/// (or a few bytes after it: too much is harmless, it only asks for a check) is not all ASCII.
#[inline]
pub(super) fn plain_run(body: &[u8], mut at: usize, high: &mut bool) -> usize {
    while let Some(chunk) = body.get(at..).and_then(|rest| rest.first_chunk::<WIDE>()) {
        let (stop, beyond) = first_stop(chunk);
        *high |= beyond;
        at += stop;
        if stop < WIDE {
            return at;
        }
    }
    while at < body.len() && !stops(body[at]) {
        *high |= !body[at].is_ascii();
        at += 1;
    }
    at
}

/// From the byte after the opening quote to the byte after the closing one. The second answer tells whether there
/// was an escape.
#[inline]
pub(super) fn skip_string(body: &[u8], start: usize) -> Result<(usize, bool), Fault> {
    let mut high = false;
    let end = string_end(body, start, &mut high);
    if high {
        // Also where the string is broken further on: what comes first is the fault to tell.
        check_utf8(body, start, end.map_or_else(|(_, offset)| offset, |(end, _)| end))?;
    }
    end
}

/// [`skip_string`] without a look at whether the bytes are UTF-8; `high`: see [`plain_run`].
#[inline]
pub(super) fn string_end(body: &[u8], start: usize, high: &mut bool) -> Result<(usize, bool), Fault> {
    let mut at = plain_run(body, start, high);
    let mut escaped = false;
    loop {
        match body.get(at) {
            Some(b'"') => return Ok((at + 1, escaped)),
            Some(b'\\') => {
                escaped = true;
                at = skip_escape(body, at)?;
                // Escapes come in rows: `\r\n`, and Python writes whole texts as `\uXXXX`.
                if body.get(at) != Some(&b'\\') {
                    at = plain_run(body, at, high);
                }
            }
            Some(_) | None => return Err((ScanCode::BadJson, at)),
        }
    }
}

/// A string with bytes that are not ASCII is read once more, by a checker that takes 32 bytes at a time.
fn check_utf8(body: &[u8], start: usize, end: usize) -> Result<(), Fault> {
    let text = &body[start..end.min(body.len())];
    if simdutf8::basic::from_utf8(text).is_ok() {
        return Ok(());
    }
    // Which byte it is the standard library's checker tells.
    std::str::from_utf8(text).map(drop).map_err(|error| (ScanCode::BadUtf8, start + error.valid_up_to()))
}

/// What a hexadecimal digit stands for; [`NO_DIGIT`] for any other byte.
static DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut byte = 0;
    while byte < 256 {
        digits[byte] = match byte as u8 {
            digit @ b'0'..=b'9' => digit - b'0',
            digit @ b'a'..=b'f' => digit - b'a' + 10,
            digit @ b'A'..=b'F' => digit - b'A' + 10,
            _ => NO_DIGIT,
        };
        byte += 1;
    }
    digits
};
const NO_DIGIT: u8 = 0xff;

/// The UTF-16 unit of four hexadecimal digits; `None` if they are not four, or not digits.
#[inline]
pub(super) fn unit(digits: Option<&[u8]>) -> Option<u16> {
    let [a, b, c, d] = *digits?.first_chunk::<4>()?;
    let [a, b, c, d] = [a, b, c, d].map(|digit| u16::from(DIGITS[usize::from(digit)]));
    // A byte that is no digit has bits above the four of one.
    ((a | b | c | d) & 0xf0 == 0).then_some(a << 12 | b << 8 | c << 4 | d)
}

/// From a backslash to the byte after the escape. A lone surrogate (`\ud800`) is good JSON by the grammar, and both
/// `JSON.parse` and Python accept it.
#[inline]
fn skip_escape(body: &[u8], at: usize) -> Result<usize, Fault> {
    match body.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') if unit(body.get(at + 2..)).is_some() => Ok(at + 6),
        Some(b'u') => Err((ScanCode::BadJson, bad_digit(body, at + 2))),
        _ => Err((ScanCode::BadJson, at + 1)),
    }
}

/// Where the four digits that should stand at `at` are none.
#[cold]
fn bad_digit(body: &[u8], at: usize) -> usize {
    let digits = body.get(at..at + 4).unwrap_or(&body[at..]);
    at + digits.iter().position(|digit| !digit.is_ascii_hexdigit()).unwrap_or(digits.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_ways_to_find_a_stop_agree(bytes in prop::array::uniform32(prop_oneof![
            4 => 0x20u8..0x7f, 1 => any::<u8>(), 1 => prop::sample::select(b"\"\\\x1f\x20\x80\xff!]".to_vec()),
        ])) {
            let expected = bytes.iter().position(|&byte| stops(byte)).unwrap_or(WIDE);
            prop_assert_eq!(first_stop(&bytes), (expected, !bytes.is_ascii()));
            prop_assert_eq!(first_stop_portable(&bytes), (expected, !bytes.is_ascii()));
        }

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
