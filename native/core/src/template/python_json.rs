//! `json.dumps` as Python writes it, and Python's `repr` of a float.

use super::generator::Generator;
use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};
use std::fmt::Write as _;

/// Deeper values than any request can hold ([`MAX_DEPTH`](crate::request::MAX_DEPTH)) can be built by a template that
/// nests in a loop; this keeps such a one from overflowing the stack.
const DEEPEST: usize = 400;

/// How the JSON is laid out.
pub(super) struct Layout {
    ensure_ascii: bool,
    /// What stands for one level of indentation; `None`: all in one line.
    indent: Option<String>,
    item_separator: String,
    key_separator: String,
    sort_keys: bool,
}

impl Layout {
    pub(super) fn new(
        ensure_ascii: bool,
        indent: Option<&Value>,
        separators: Option<&Value>,
        sort_keys: bool,
    ) -> Result<Self, Error> {
        let indent = match indent {
            None => None,
            Some(value) => Some(match (value.as_str(), value.as_i64()) {
                (Some(text), _) => text.to_owned(),
                (_, Some(width)) => " ".repeat(usize::try_from(width.clamp(0, 64)).unwrap_or(0)),
                _ => return Err(Error::new(ErrorKind::InvalidOperation, "indent is no integer or string")),
            }),
        };
        let (item_separator, key_separator) = match separators {
            None => (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()),
            Some(pair) => (pair.get_item_by_index(0)?.to_string(), pair.get_item_by_index(1)?.to_string()),
        };
        Ok(Layout { ensure_ascii, indent, item_separator, key_separator, sort_keys })
    }
}

/// Serialises a value; undefined and other values that are no JSON raise, as in Python.
pub(super) fn dumps(value: &Value, layout: &Layout) -> Result<String, Error> {
    let mut out = String::new();
    write_value(&mut out, value, layout, 0)?;
    Ok(out)
}

fn write_value(out: &mut String, value: &Value, layout: &Layout, depth: usize) -> Result<(), Error> {
    if depth > DEEPEST {
        return Err(Error::new(ErrorKind::BadSerialization, "value is nested too deeply"));
    }
    if value.downcast_object_ref::<Generator>().is_some() {
        return Err(Error::new(ErrorKind::BadSerialization, "a generator is not JSON serializable"));
    }
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => match as_float(value) {
            Some(float) => out.push_str(&json_float(float)),
            None => {
                let _ = write!(out, "{value}");
            }
        },
        ValueKind::String => write_string(out, value.as_str().unwrap_or_default(), layout.ensure_ascii),
        ValueKind::Seq | ValueKind::Iterable => write_array(out, value, layout, depth)?,
        ValueKind::Map => write_object(out, value, layout, depth)?,
        kind => {
            return Err(Error::new(ErrorKind::BadSerialization, format!("{kind} is not JSON serializable")));
        }
    }
    Ok(())
}

fn write_array(out: &mut String, value: &Value, layout: &Layout, depth: usize) -> Result<(), Error> {
    out.push('[');
    let mut empty = true;
    for item in value.try_iter()? {
        separate(out, &mut empty, layout, depth);
        write_value(out, &item, layout, depth + 1)?;
    }
    if !empty {
        break_line(out, layout, depth);
    }
    out.push(']');
    Ok(())
}

fn write_object(out: &mut String, value: &Value, layout: &Layout, depth: usize) -> Result<(), Error> {
    let mut keys: Vec<Value> = value.try_iter()?.collect();
    if layout.sort_keys {
        keys.sort();
    }
    out.push('{');
    let mut empty = true;
    for key in keys {
        separate(out, &mut empty, layout, depth);
        match key.as_str() {
            Some(text) => write_string(out, text, layout.ensure_ascii),
            None => {
                // json.dumps makes strings of the other scalars: {1: …} → {"1": …}, {None: …} → {"null": …}.
                let mut text = String::new();
                write_value(&mut text, &key, layout, depth + 1)?;
                write_string(out, &text, layout.ensure_ascii);
            }
        }
        out.push_str(&layout.key_separator);
        write_value(out, &value.get_item(&key)?, layout, depth + 1)?;
    }
    if !empty {
        break_line(out, layout, depth);
    }
    out.push('}');
    Ok(())
}

fn separate(out: &mut String, empty: &mut bool, layout: &Layout, depth: usize) {
    if !*empty {
        out.push_str(&layout.item_separator);
    }
    *empty = false;
    break_line(out, layout, depth + 1);
}

fn break_line(out: &mut String, layout: &Layout, depth: usize) {
    if let Some(indent) = &layout.indent {
        out.push('\n');
        for _ in 0..depth {
            out.push_str(indent);
        }
    }
}

fn write_string(out: &mut String, text: &str, ensure_ascii: bool) {
    out.push('"');
    let mut plain = 0;
    for (at, c) in text.char_indices() {
        let escape = match c {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\u{8}' => "\\b",
            '\u{c}' => "\\f",
            '\0'..='\u{1f}' => "",
            '\u{7f}'.. if ensure_ascii => "",
            _ => continue,
        };
        out.push_str(&text[plain..at]);
        plain = at + c.len_utf8();
        out.push_str(escape);
        if escape.is_empty() {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

/// The value as a float, if it is one (an integer is not).
pub(super) fn as_float(value: &Value) -> Option<f64> {
    if value.is_number() && !value.is_integer() { f64::try_from(value.clone()).ok() } else { None }
}

fn json_float(float: f64) -> String {
    match float {
        _ if float.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        _ => float_repr(float),
    }
}

/// Python's `repr(float)`: the shortest digits that read back the same (Rust finds the same ones), in scientific
/// notation below 1e-4 and from 1e16 on.
pub(super) fn float_repr(float: f64) -> String {
    if float.is_nan() {
        return "nan".to_owned();
    }
    if float.is_infinite() || float == 0.0 || (1e-4..1e16).contains(&float.abs()) {
        return format!("{float:?}");
    }
    let scientific = format!("{float:e}");
    match scientific.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
            format!("{digits}e{sign}{exponent:0>2}")
        }
        None => scientific,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::value::parse;

    /// What `python3 -c 'import json; print(json.dumps(x, …))'` prints.
    #[test]
    fn writes_what_python_writes() {
        let json = r#"{"b":[1,2.0,1e16,1e-5,1.5e300,-0.0,true,null,[],{}],"a":"é\u007f\"\\\n\u0001👋"}"#;
        let value = parse(json.as_bytes()).expect("JSON");
        let layout = |ascii, indent: Option<i64>, sort| {
            Layout::new(ascii, indent.map(Value::from).as_ref(), None, sort).expect("layout")
        };
        assert_eq!(
            dumps(&value, &layout(false, None, false)).expect("dumps"),
            "{\"b\": [1, 2.0, 1e+16, 1e-05, 1.5e+300, -0.0, true, null, [], {}], \"a\": \"é\u{7f}\\\"\\\\\\n\\u0001👋\"}"
        );
        assert_eq!(
            dumps(&value, &layout(true, None, true)).expect("dumps"),
            r#"{"a": "\u00e9\u007f\"\\\n\u0001\ud83d\udc4b", "b": [1, 2.0, 1e+16, 1e-05, 1.5e+300, -0.0, true, null, [], {}]}"#
        );
        assert_eq!(
            dumps(&parse(br#"{"a":[1,{"b":[]}]}"#).expect("JSON"), &layout(false, Some(2), false))
                .expect("dumps"),
            "{\n  \"a\": [\n    1,\n    {\n      \"b\": []\n    }\n  ]\n}"
        );
        assert!(dumps(&Value::UNDEFINED, &layout(false, None, false)).is_err());
    }

    #[test]
    fn floats_read_as_in_python() {
        for (float, text) in [
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.25e-7, "1.25e-07"),
            (0.0001, "0.0001"),
            (-1e-10, "-1e-10"),
            (f64::NEG_INFINITY, "-inf"),
            (0.1 + 0.2, "0.30000000000000004"),
        ] {
            assert_eq!(float_repr(float), text);
        }
    }
}
