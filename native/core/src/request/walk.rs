//! Walking over the raw elements of a scanned value, without making anything of them.

use super::json::{skip_key, skip_space, skip_value};
use super::unquote::unquote;
use std::borrow::Cow;

/// The raw elements of a JSON array; nothing if it is no array. Ends early where the JSON is broken (it is not, in a
/// body that [`scan`](super::scan()) accepted).
pub fn elements(raw: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut next = first(raw, b'[');
    std::iter::from_fn(move || {
        let start = next.take()?;
        let end = skip_value(raw, start, OUTER_DEPTH, &mut [0; 3]).ok()?;
        next = following(raw, end);
        raw.get(start..end)
    })
}

/// The members of a JSON object, keys unescaped, values raw; nothing if it is no object.
pub fn members(raw: &[u8]) -> impl Iterator<Item = (Cow<'_, str>, &[u8])> {
    let mut next = first(raw, b'{');
    std::iter::from_fn(move || {
        let key_start = next.take()?;
        let (_, start, _) = skip_key(raw, key_start).ok()?;
        let (key, _) = unquote(raw.get(key_start..)?)?;
        let end = skip_value(raw, start, OUTER_DEPTH, &mut [0; 3]).ok()?;
        next = following(raw, end);
        Some((key, raw.get(start..end)?))
    })
}

/// The scan has counted the depth from the top; what is left of it inside is never too deep.
const OUTER_DEPTH: u32 = 0;

fn first(raw: &[u8], opening: u8) -> Option<usize> {
    let at = skip_space(raw, 0);
    if raw.get(at) != Some(&opening) {
        return None;
    }
    let at = skip_space(raw, at + 1);
    // `]` is `[` + 2 and `}` is `{` + 2.
    if raw.get(at) == Some(&(opening + 2)) { None } else { Some(at) }
}

fn following(raw: &[u8], end: usize) -> Option<usize> {
    let at = skip_space(raw, end);
    if raw.get(at) == Some(&b',') { Some(skip_space(raw, at + 1)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_raw_elements_and_members() {
        let items: Vec<&[u8]> = elements(b" [ 1, \"a,b\" ,[2,3],{} ] ").collect();
        assert_eq!(items, [&b"1"[..], b"\"a,b\"", b"[2,3]", b"{}"]);
        let pairs: Vec<(Cow<'_, str>, &[u8])> = members(br#"{"a":1,"b\n": [ 2 ]}"#).collect();
        assert_eq!(pairs, [("a".into(), &b"1"[..]), ("b\n".into(), b"[ 2 ]")]);
        assert_eq!(elements(b"[]").count() + elements(b"{}").count() + members(b"[1]").count(), 0);
    }
}
