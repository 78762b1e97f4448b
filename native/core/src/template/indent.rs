//! Jinja2's `indent`, which keeps an empty last line where minijinja's drops it.

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, Value};

/// `s|indent(width=4, first=false, blank=false)`; the width is a number of spaces, or what to put there.
pub(super) fn indent(
    text: &str,
    width: Option<Value>,
    first: Option<bool>,
    blank: Option<bool>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let width = width.or(kwargs.get("width")?).unwrap_or_else(|| Value::from(4));
    let first = first.or(kwargs.get("first")?).unwrap_or(false);
    let blank = blank.or(kwargs.get("blank")?).unwrap_or(false);
    kwargs.assert_all_used()?;
    let indention = match width.kind() {
        ValueKind::String => width.as_str().unwrap_or_default().to_owned(),
        _ => {
            let width = usize::try_from(width).ok().filter(|width| *width <= MOST);
            " ".repeat(width.ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "indent: no width"))?)
        }
    };
    let mut out = String::with_capacity(text.len() + indention.len());
    for (number, line) in lines(text).into_iter().enumerate() {
        if number > 0 {
            out.push('\n');
        }
        if if number == 0 { first } else { blank || !line.is_empty() } {
            out.push_str(&indention);
        }
        out.push_str(line);
    }
    Ok(out)
}

/// A wider one would only fill memory.
const MOST: usize = 1000;

/// Python's `(text + "\n").splitlines()`.
fn lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some((at, end)) = rest.char_indices().find(|(_, c)| is_line_end(*c)) {
        lines.push(&rest[..at]);
        rest = &rest[at + end.len_utf8()..];
        if end == '\r' {
            rest = rest.strip_prefix('\n').unwrap_or(rest);
        }
    }
    // With the line feed appended, what is left is a line, empty or not.
    lines.push(rest);
    lines
}

fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use crate::template::render_template;

    fn rendered(expression: &str, text: &str) -> String {
        let context = serde_json::json!({ "s": text }).to_string();
        render_template(&format!("{{{{ s|{expression} }}}}"), &context, 0).expect(expression)
    }

    /// Each as Jinja2 3.1 gives it.
    #[test]
    fn indents_as_jinja2_does() {
        for (expression, text, expected) in [
            ("indent", "a\nb", "a\n    b"),
            ("indent(2, true)", "a\n\nb\n", "  a\n\n  b\n"),
            ("indent(2, blank=true)", "a\n\nb\n", "a\n  \n  b\n  "),
            ("indent(first=true, width=1)", "{\n", " {\n"),
            ("indent('> ', first=true)", "a\r\nb\x0bc", "> a\n> b\n> c"),
            ("indent", "", ""),
        ] {
            assert_eq!(rendered(expression, text), expected, "{expression}");
        }
    }
}
