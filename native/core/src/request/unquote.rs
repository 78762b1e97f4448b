//! The text of a JSON string.

use super::text::{plain_run, string_end, unit};
use std::borrow::Cow;

/// Reads the JSON string at the start of `raw` (opening quote first). Answers its text and how many bytes it took;
/// `None` if no well-formed string stands there.
///
/// A lone surrogate becomes U+FFFD: it is good JSON, but no engine's tokenizer can be given one.
pub fn unquote(raw: &[u8]) -> Option<(Cow<'_, str>, usize)> {
    if raw.first() != Some(&b'"') {
        return None;
    }
    let (end, escaped) = string_end(raw, 1, &mut false).ok()?;
    let inner = simdutf8::basic::from_utf8(raw.get(1..end - 1)?).ok()?;
    if !escaped {
        return Some((Cow::Borrowed(inner), end));
    }
    let mut text = String::with_capacity(inner.len());
    unescape(inner, 0, &mut text)?;
    Some((Cow::Owned(text), end))
}

/// Reads the string whose opening quote stands before `start` in a JSON text, in one pass. Answers what `read` makes of
/// it and the index after the closing quote. `scratch` is memory for a text that differs from what stands there.
#[inline]
pub(crate) fn read_string<T>(
    json: &str,
    start: usize,
    scratch: &mut String,
    read: impl FnOnce(&str) -> T,
) -> Option<(T, usize)> {
    let bytes = json.as_bytes();
    let first = plain_run(bytes, start, &mut false);
    if bytes.get(first) == Some(&b'"') {
        return Some((read(json.get(start..first)?), first + 1));
    }
    scratch.clear();
    scratch.push_str(json.get(start..first)?);
    let end = unescape(json, first, scratch)?;
    (bytes.get(end) == Some(&b'"')).then(|| (read(scratch), end + 1))
}

/// Appends the text of the string that goes on at `at`, up to its closing quote or the end of `json`, and answers where
/// that is. `None` for what cannot stand in a string.
fn unescape(json: &str, mut at: usize, out: &mut String) -> Option<usize> {
    let bytes = json.as_bytes();
    loop {
        match bytes.get(at) {
            None | Some(b'"') => return Some(at),
            Some(b'\\') => {
                let (char, after) = escape(bytes, at)?;
                out.push(char);
                at = after;
            }
            Some(_) => {
                let end = plain_run(bytes, at, &mut false);
                if end == at {
                    return None;
                }
                out.push_str(json.get(at..end)?);
                at = end;
            }
        }
    }
}

/// The character of the escape at `at`, and the index after it.
#[inline]
fn escape(bytes: &[u8], at: usize) -> Option<(char, usize)> {
    let short = match bytes.get(at + 1)? {
        b'u' => return unicode_escape(bytes, at + 2),
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        &same @ (b'"' | b'\\' | b'/') => char::from(same),
        _ => return None,
    };
    Some((short, at + 2))
}

/// Four hexadecimal digits at `at`. A high surrogate takes the low one that follows with it.
#[inline]
fn unicode_escape(bytes: &[u8], at: usize) -> Option<(char, usize)> {
    let first = unit(bytes.get(at..))?;
    if let 0xD800..=0xDBFF = first
        && bytes.get(at + 4..at + 6) == Some(b"\\u")
        && let Some(second @ 0xDC00..=0xDFFF) = unit(bytes.get(at + 6..))
    {
        let code = 0x10000 + (u32::from(first - 0xD800) << 10) + u32::from(second - 0xDC00);
        return Some((char::from_u32(code)?, at + 10));
    }
    Some((char::from_u32(u32::from(first)).unwrap_or(char::REPLACEMENT_CHARACTER), at + 4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn undoes_what_serde_json_quotes(text in "\\PC{0,40}|[\\x00-\\x7f]{0,40}") {
            let quoted = serde_json::to_string(&text).expect("a string");
            let (back, used) = unquote(quoted.as_bytes()).expect("a string");
            prop_assert_eq!(back, text.as_str());
            prop_assert_eq!(used, quoted.len());
            let mut scratch = "left over".to_owned();
            let within = format!("[{quoted},1]");
            let read = read_string(&within, 2, &mut scratch, str::to_owned);
            prop_assert_eq!(read, Some((text, 1 + quoted.len())));
            // Cut anywhere, it is no string.
            for end in (0..quoted.len()).filter(|&end| quoted.is_char_boundary(end)) {
                prop_assert!(read_string(&quoted[..end], 1, &mut scratch, |_| ()).is_none());
                prop_assert!(unquote(&quoted.as_bytes()[..end]).is_none());
            }
        }

        #[test]
        fn undoes_escaped_utf16(text in "\\PC{0,20}") {
            let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
            let quoted = format!("\"{units}\"rest");
            let (back, used) = unquote(quoted.as_bytes()).expect("a string");
            prop_assert_eq!(back, text);
            prop_assert_eq!(used, quoted.len() - 4);
        }
    }

    #[test]
    fn lone_surrogates_become_the_replacement_character() {
        for (json, text) in
            [(r#""\ud800""#, "\u{fffd}"), (r#""\udc00x""#, "\u{fffd}x"), (r#""\ud800\u0041""#, "\u{fffd}A")]
        {
            assert_eq!(unquote(json.as_bytes()).expect(json).0, text);
        }
    }
}
