//! JSON text straight into template values.
//!
//! Not through serde: Python's rules are wanted where they differ (`1.0` stays a float, big integers stay integers,
//! a lone surrogate becomes U+FFFD instead of an error), and one pass makes the values the template will read.

use super::dict::dict;
use crate::request::{MAX_DEPTH, read_string};
use minijinja::Value;

/// Parses one JSON value; `None` if it is not JSON, not UTF-8 or nested deeper than a body may be.
pub(super) fn parse(json: &[u8]) -> Option<Value> {
    let text = simdutf8::basic::from_utf8(json).ok()?;
    let mut parser = Parser { text, at: 0, depth: 0, scratch: String::new() };
    let value = parser.value()?;
    parser.skip_space();
    (parser.at == parser.text.len()).then_some(value)
}

/// The pairs of a map value, in order.
pub(super) fn pairs(value: &Value) -> Option<impl Iterator<Item = (Value, Value)>> {
    let object = value.as_object().filter(|object| object.repr() == minijinja::value::ObjectRepr::Map)?;
    object.try_iter_pairs()
}

/// A member of a map; undefined if there is none.
pub(super) fn get(map: &Value, key: &str) -> Value {
    map.get_attr(key).unwrap_or_default()
}

/// A member that is neither absent nor null.
pub(super) fn present(map: &Value, key: &str) -> Option<Value> {
    Some(get(map, key)).filter(|value| !value.is_undefined() && !value.is_none())
}

/// The map with one member replaced or added.
pub(super) fn with(map: &Value, key: &str, member: Value) -> Value {
    let pairs = pairs(map).into_iter().flatten();
    dict(pairs.chain(std::iter::once((Value::from(key), member))))
}

/// The map without a member.
pub(super) fn without(map: &Value, key: &str) -> Value {
    dict(pairs(map).into_iter().flatten().filter(|(name, _)| name.as_str() != Some(key)))
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
    /// Memory for strings with escapes.
    scratch: String,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Takes the byte if it comes next (after white space).
    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self) -> Option<Value> {
        self.skip_space();
        match self.peek()? {
            b'{' => self.nested(Self::object),
            b'[' => self.nested(Self::array),
            b'"' => self.string(),
            b't' => self.literal("true", Value::from(true)),
            b'f' => self.literal("false", Value::from(false)),
            b'n' => self.literal("null", Value::from(())),
            _ => self.number(),
        }
    }

    fn nested(&mut self, inner: impl FnOnce(&mut Self) -> Option<Value>) -> Option<Value> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        self.at += 1;
        let value = inner(self);
        self.depth -= 1;
        value
    }

    fn object(&mut self) -> Option<Value> {
        let mut pairs: Vec<(Value, Value)> = Vec::new();
        if self.take(b'}') {
            return Some(dict(pairs));
        }
        loop {
            self.skip_space();
            let key = self.string()?;
            if !self.take(b':') {
                return None;
            }
            pairs.push((key, self.value()?));
            if self.take(b'}') {
                // Of duplicate keys the map keeps the first place and the last value, as Python's dict does.
                return Some(dict(pairs));
            }
            if !self.take(b',') {
                return None;
            }
        }
    }

    fn array(&mut self) -> Option<Value> {
        let mut items: Vec<Value> = Vec::new();
        if self.take(b']') {
            return Some(Value::from(items));
        }
        loop {
            items.push(self.value()?);
            if self.take(b']') {
                return Some(Value::from(items));
            }
            if !self.take(b',') {
                return None;
            }
        }
    }

    fn literal(&mut self, word: &str, value: Value) -> Option<Value> {
        let found = self.text[self.at..].starts_with(word);
        self.at += word.len();
        found.then_some(value)
    }

    fn number(&mut self) -> Option<Value> {
        let rest = &self.text[self.at..];
        let length = rest.bytes().take_while(|byte| b"+-.eE0123456789".contains(byte)).count();
        let text = &rest[..length];
        self.at += length;
        if text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
            return text.parse::<f64>().ok().map(Value::from);
        }
        match text.parse::<i64>() {
            Ok(integer) => Some(Value::from(integer)),
            // Python's integers have no bounds; 128 bits and then a float are as far as values go here.
            Err(_) => {
                text.parse::<i128>().map(Value::from).or_else(|_| text.parse::<f64>().map(Value::from)).ok()
            }
        }
    }

    fn string(&mut self) -> Option<Value> {
        if self.peek() != Some(b'"') {
            return None;
        }
        let (text, end) = read_string(self.text, self.at + 1, &mut self.scratch, |text| Value::from(text))?;
        self.at = end;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_python_type() {
        for (json, text) in [
            ("1", "1"),
            ("-0", "0"),
            ("1.0", "1.0"),
            ("18446744073709551615", "18446744073709551615"),
            ("2e3", "2000.0"),
        ] {
            assert_eq!(parse(json.as_bytes()).expect(json).to_string(), text);
        }
    }

    #[test]
    fn broken_json_is_none_and_never_a_panic() {
        let good = r#"{"a":[1,-2.5e3,"x\u00e9\ud83d\ude00\n",true,null,{}]} "#;
        assert!(parse(good.as_bytes()).is_some());
        for end in 0..good.len() - 1 {
            assert!(parse(&good.as_bytes()[..end]).is_none(), "{end}");
        }
        assert!(parse(&b"[".repeat(10_000)).is_none());
    }
}
