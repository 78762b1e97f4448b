//! A minijinja environment that behaves as transformers' Jinja2 sandbox does, where templates can tell.

use super::generator::Generator;
use super::indent::indent;
use super::python_json::{self, Layout, float_repr};
use super::source;
use super::sum::{Concatenation, Sum};
use minijinja::value::{Kwargs, Rest, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, Output, State, Value, filters, syntax::SyntaxConfig};
use minijinja_contrib::pycompat::unknown_method_callback;
use std::borrow::Cow;

type Args = Rest<ValueOrKwargs>;
type Test = Option<String>;

/// What `raise_exception` was given, carried as the source of the error so that no text has to be parsed back.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

/// `trim_blocks` and `lstrip_blocks` on, loop controls, Python's methods, `tojson` of `json.dumps`.
pub(super) fn python_like() -> Environment<'static> {
    let mut environment = Environment::new();
    if let Ok(syntax) = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build() {
        environment.set_syntax(syntax);
    }
    // A chat is text, not HTML.
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    // Debug builds of minijinja would clone the whole source into every error.
    environment.set_debug(false);
    environment.set_unknown_method_callback(unknown_method_callback);
    environment.set_formatter(format_as_python);
    environment.add_filter("tojson", to_json);
    environment.add_filter("indent", indent);
    environment.add_filter("items", items);
    environment.add_filter("length", length);
    environment.add_filter("count", length);
    environment.add_filter(source::ITERATED, iterated);
    environment.add_function(source::ADD_MARKUP, add_markup);
    environment.add_global(source::SUM, Value::from_object(Sum));
    environment.add_filter("map", |state: &mut State<'_, '_>, value: Value, args: Args| {
        filters::map(state, value, args).map(Generator::value)
    });
    environment.add_filter("select", |state: &mut State<'_, '_>, value: Value, test: Test, args: Args| {
        filters::select(state, value, test.map(Cow::Owned), args).map(Generator::value)
    });
    environment.add_filter("reject", |state: &mut State<'_, '_>, value: Value, test: Test, args: Args| {
        filters::reject(state, value, test.map(Cow::Owned), args).map(Generator::value)
    });
    environment.add_filter(
        "selectattr",
        |state: &mut State<'_, '_>, value: Value, name: String, test: Test, args: Args| {
            filters::selectattr(state, value, name.into(), test.map(Cow::Owned), args).map(Generator::value)
        },
    );
    environment.add_filter(
        "rejectattr",
        |state: &mut State<'_, '_>, value: Value, name: String, test: Test, args: Args| {
            filters::rejectattr(state, value, name.into(), test.map(Cow::Owned), args).map(Generator::value)
        },
    );
    environment.add_test("iterable", is_iterable);
    environment.add_test("sequence", is_sequence);
    environment.add_test("number", |value: &Value| value.is_number() || value.kind() == ValueKind::Bool);
    environment.add_function("raise_exception", raise_exception);
    environment
}

/// The message of `raise_exception`, if that is what ended the rendering.
pub(super) fn raised_message(error: &minijinja::Error) -> Option<String> {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(Raised(message)) = cause.downcast_ref() {
            return Some(message.clone());
        }
        source = cause.source();
    }
    None
}

fn raise_exception(message: &Value) -> Result<Value, Error> {
    let message = message.to_string();
    Err(Error::new(ErrorKind::InvalidOperation, message.clone()).with_source(Raised(message)))
}

/// Floats as Python prints them; all else minijinja prints as Python does.
fn format_as_python(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    if let Some(concatenation) = value.downcast_object_ref::<Concatenation>() {
        return concatenation.write(out);
    }
    match python_json::as_float(value) {
        Some(float) => out.write_str(&float_repr(float)).map_err(|_| ErrorKind::WriteFailure.into()),
        None => minijinja::escape_formatter(out, state, value),
    }
}

/// transformers' `tojson`: `json.dumps(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
fn to_json(
    input: &Value,
    ensure_ascii: Option<bool>,
    indent: Option<Value>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let named = |name: &str| -> Result<Option<Value>, Error> {
        Ok(kwargs.get::<Option<Value>>(name)?.filter(|value| !value.is_none()))
    };
    let flag = |name: &str| -> Result<bool, Error> { Ok(kwargs.get::<Option<bool>>(name)?.unwrap_or(false)) };
    let layout = Layout::new(
        ensure_ascii.unwrap_or(false) | flag("ensure_ascii")?,
        indent.filter(|value| !value.is_none()).or(named("indent")?).as_ref(),
        named("separators")?.as_ref(),
        flag("sort_keys")?,
    )?;
    kwargs.assert_all_used()?;
    python_json::dumps(input, &layout)
}

/// An undefined value has the length 0.
fn length(value: &Value) -> Result<usize, Error> {
    if value.is_undefined() { Ok(0) } else { filters::length(value) }
}

/// … and no pairs.
fn items(value: &Value) -> Result<Value, Error> {
    if value.is_undefined() { Ok(Value::from(Vec::<Value>::new())) } else { filters::items(value) }
}

/// Passes on what a loop is to run over, unless Python could not.
fn iterated(value: Value) -> Result<Value, Error> {
    if value.is_none() {
        return Err(Error::new(ErrorKind::InvalidOperation, "None is not iterable"));
    }
    Ok(value)
}

/// `a + b + …` where a term may be marked safe: as soon as one side is, the other is HTML-escaped, and the sum is
/// safe (markupsafe's `Markup.__add__`).
fn add_markup(terms: Rest<Value>) -> Result<Value, Error> {
    let mut terms = terms.iter();
    let mut sum = terms.next().cloned().unwrap_or_default();
    for term in terms {
        let (Some(left), Some(right)) = (sum.as_str(), term.as_str()) else {
            return Err(Error::new(ErrorKind::InvalidOperation, "can only add strings to strings"));
        };
        sum = match (sum.is_safe(), term.is_safe()) {
            (false, false) => Value::from(format!("{left}{right}")),
            (left_safe, right_safe) => {
                let left = if left_safe { left.to_owned() } else { html_escaped(left) };
                let right = if right_safe { right.to_owned() } else { html_escaped(right) };
                Value::from_safe_string(left + &right)
            }
        };
    }
    Ok(sum)
}

/// markupsafe's `escape`.
fn html_escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            _ => out.push(c),
        }
    }
    out
}

/// Python's `iter(x)` works: not on None, as minijinja has it, nor on numbers.
fn is_iterable(value: &Value) -> bool {
    !value.is_none() && value.try_iter().is_ok()
}

/// Jinja2 asks for a length and `__getitem__`, which strings, dicts and undefined values have, too.
fn is_sequence(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::String | ValueKind::Map | ValueKind::Undefined)
}
