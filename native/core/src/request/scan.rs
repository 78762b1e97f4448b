//! The scan of a body: its top-level object, field by field.

use super::field::{BodyKind, FIELD_COUNT, Field, Spans};
use super::json::{Shape, kind, skip_key, skip_space, skip_value};
use super::rules;
use super::text::Fault;
use std::fmt;

/// What is wrong with a body. The numbers are `SCAN` in `src/data/native.ts` (0 there is a good body).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ScanCode {
    /// Not RFC 8259 JSON.
    BadJson = 1,
    /// JSON, but not an object.
    NotAnObject = 2,
    /// A field has a type no engine takes.
    WrongType = 3,
    /// A field is absent (or null) that this kind of body must have.
    MissingField = 4,
    /// Bytes that are not UTF-8.
    BadUtf8 = 5,
    /// More than [`MAX_DEPTH`](super::MAX_DEPTH) nested containers.
    TooDeep = 6,
}

/// Why a body was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanFault {
    /// What is wrong.
    pub code: ScanCode,
    /// Byte offset of the fault in the body: the byte that cannot stand there, or the start of a value of the wrong
    /// type. 0 for a missing field.
    pub offset: u32,
    /// The field at fault, where there is one.
    pub field: Option<Field>,
}

impl fmt::Display for ScanFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = self.field.map_or("", Field::name);
        match self.code {
            ScanCode::BadJson => write!(out, "not JSON at byte {}", self.offset),
            ScanCode::NotAnObject => write!(out, "not a JSON object"),
            ScanCode::WrongType => write!(out, "{field} has the wrong type (byte {})", self.offset),
            ScanCode::MissingField => write!(out, "{field} is missing"),
            ScanCode::BadUtf8 => write!(out, "not UTF-8 at byte {}", self.offset),
            ScanCode::TooDeep => write!(out, "nested too deeply at byte {}", self.offset),
        }
    }
}

impl std::error::Error for ScanFault {}

/// Checks that `body` is a JSON object of the given kind and writes the span of each [`Field`] to `out`.
///
/// Duplicate keys: the last one wins, as in `JSON.parse` and Python. Unknown fields are always fine. A field that is
/// null counts as absent. On an error `out` holds nothing of use.
///
/// Bodies of 4 GiB and more do not fit the spans and are refused as `BadJson`; the server's body cap is far below.
pub fn scan(body: &[u8], kind: BodyKind, out: &mut Spans) -> Result<(), ScanFault> {
    *out = [0; FIELD_COUNT * 2];
    let mut shapes: [Shape; FIELD_COUNT] = [[0; 3]; FIELD_COUNT];
    if u32::try_from(body.len()).is_err() {
        return Err(ScanFault { code: ScanCode::BadJson, offset: u32::MAX, field: None });
    }
    scan_object(body, out, &mut shapes).map_err(|(code, offset)| ScanFault {
        code,
        offset: offset as u32,
        field: None,
    })?;
    rules::check(body, kind, out, &shapes)
}

fn scan_object(body: &[u8], out: &mut Spans, shapes: &mut [Shape; FIELD_COUNT]) -> Result<(), Fault> {
    let mut at = skip_space(body, 0);
    if body.get(at) != Some(&b'{') {
        // Is it JSON at all? If so, the caller should hear that it is the wrong kind of value.
        let end = skip_value(body, at, 0, &mut [0; 3])?;
        at_end(body, end)?;
        return Err((ScanCode::NotAnObject, at));
    }
    at = skip_space(body, at + 1);
    if body.get(at) == Some(&b'}') {
        return at_end(body, at + 1);
    }
    loop {
        let (key_end, value, escaped) = skip_key(body, at)?;
        let field = field_of(&body[at + 1..key_end - 1], escaped);
        let mut shape = [0; 3];
        let end = skip_value(body, value, 1, &mut shape)?;
        if let Some(field) = field {
            note(field, value, end, shape, out, shapes);
        }
        at = skip_space(body, end);
        match body.get(at) {
            Some(b',') => at = skip_space(body, at + 1),
            Some(b'}') => return at_end(body, at + 1),
            _ => return Err((ScanCode::BadJson, at)),
        }
    }
}

fn note(
    field: Field,
    start: usize,
    end: usize,
    shape: Shape,
    out: &mut Spans,
    shapes: &mut [Shape; FIELD_COUNT],
) {
    let index = field as usize;
    let null = shape[0] == kind::NULL;
    shapes[index] = shape;
    out[index * 2] = if null { 0 } else { start as u32 };
    out[index * 2 + 1] = if null { 0 } else { (end - start) as u32 };
}

fn at_end(body: &[u8], at: usize) -> Result<(), Fault> {
    let end = skip_space(body, at);
    if end == body.len() { Ok(()) } else { Err((ScanCode::BadJson, end)) }
}

/// The field of a raw key; `"mod\u0065l"` is `model`.
#[inline]
fn field_of(raw: &[u8], escaped: bool) -> Option<Field> {
    if escaped { field_of_escaped(raw) } else { Field::from_name(raw) }
}

#[cold]
fn field_of_escaped(raw: &[u8]) -> Option<Field> {
    /// Longer than any field's name; all of them are ASCII.
    const LONGEST: usize = 32;
    let mut name = [0; LONGEST];
    let mut length = 0;
    let mut rest = raw;
    while let Some((&first, tail)) = rest.split_first() {
        let (byte, used) = match (first, tail.first()) {
            (b'\\', Some(b'u')) => {
                let digits = std::str::from_utf8(tail.get(1..5)?).ok()?;
                (u8::try_from(u32::from_str_radix(digits, 16).ok()?).ok()?, 6)
            }
            // None of the short escapes (\n, \/, …) stands in a field's name.
            (b'\\', _) => return None,
            _ => (first, 1),
        };
        *name.get_mut(length)? = byte;
        length += 1;
        rest = &rest[used..];
    }
    Field::from_name(&name[..length])
}
