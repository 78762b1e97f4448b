//! The text of a JSON string.

use super::text::skip_string;
use std::borrow::Cow;

/// Reads the JSON string at the start of `raw` (opening quote first). Answers its text and how many bytes it took;
/// `None` if no well-formed string stands there.
///
/// A lone surrogate becomes U+FFFD: it is good JSON, but no engine's tokenizer can be given one.
pub fn unquote(raw: &[u8]) -> Option<(Cow<'_, str>, usize)> {
    if raw.first() != Some(&b'"') {
        return None;
    }
    let (end, escaped) = skip_string(raw, 1).ok()?;
    let inner = std::str::from_utf8(raw.get(1..end - 1)?).ok()?;
    let text = if escaped { Cow::Owned(unescape(inner)?) } else { Cow::Borrowed(inner) };
    Some((text, end))
}

fn unescape(inner: &str) -> Option<String> {
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        let escape = *rest.as_bytes().get(at + 1)?;
        rest = &rest[at + 2..];
        out.push(match escape {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let (c, used) = unicode_escape(rest)?;
                rest = &rest[used..];
                c
            }
            other => char::from(other),
        });
    }
    out.push_str(rest);
    Some(out)
}

/// `rest` begins after `\u`. A high surrogate takes the low one that follows with it.
fn unicode_escape(rest: &str) -> Option<(char, usize)> {
    let unit = |at: usize| u32::from_str_radix(rest.get(at..at + 4)?, 16).ok();
    let first = unit(0)?;
    if let 0xD800..=0xDBFF = first
        && rest.get(4..6) == Some("\\u")
        && let Some(second @ 0xDC00..=0xDFFF) = unit(6)
    {
        let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
        return Some((char::from_u32(code)?, 10));
    }
    Some((char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 4))
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
            prop_assert_eq!(back, text);
            prop_assert_eq!(used, quoted.len());
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
