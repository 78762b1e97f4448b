//! Sums that are written out at once: `{{ '<|im_start|>' + message.role + '\\n' + message.content }}`.
//!
//! Of strings they are written one after the other, without the strings that each `+` would make on the way. Whatever
//! else is added goes the template language's way.

use minijinja::value::{Object, ObjectRepr, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State, Value, context};
use std::fmt;
use std::sync::Arc;

/// The function that a sum's terms are given to.
#[derive(Debug)]
pub(super) struct Sum;

impl Object for Sum {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, terms: &[Value]) -> Result<Value, Error> {
        if terms.iter().all(|term| term.kind() == ValueKind::String) {
            return Ok(Value::from_object(Concatenation(terms.into())));
        }
        added(terms)
    }
}

/// The sum as minijinja adds.
#[cold]
fn added(terms: &[Value]) -> Result<Value, Error> {
    let environment = Environment::empty();
    let plus = environment.compile_expression("a + b")?;
    let mut terms = terms.iter().cloned();
    let first = terms.next().unwrap_or_default();
    terms.try_fold(first, |a, b| plus.eval(context! { a, b }))
}

/// Strings to be written one after the other.
#[derive(Debug)]
pub(super) struct Concatenation(Box<[Value]>);

impl Concatenation {
    /// Writes them.
    pub(super) fn write(&self, out: &mut Output<'_>) -> Result<(), Error> {
        let mut texts = self.0.iter().filter_map(Value::as_str);
        texts.try_for_each(|text| out.write_str(text)).map_err(|_| ErrorKind::WriteFailure.into())
    }
}

impl Object for Concatenation {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().filter_map(Value::as_str).try_for_each(|text| out.write_str(text))
    }
}

#[cfg(test)]
mod tests {
    use crate::template::render_template;

    fn rendered(source: &str) -> String {
        match render_template(source, r#"{"s":"text","t":"é","n":7,"f":0.5,"l":[1],"none":null}"#, 0) {
            Ok(text) => text,
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn strings_are_joined_and_numbers_and_lists_added() {
        assert_eq!(rendered("{{- s + '-' + t|upper }} {{ s + t }}"), "text-É texté");
        assert_eq!(rendered("{{ n + 1 + n }} {{ n + f }} {{ l + l + [s] }}"), "15 7.5 [1, 1, 'text']");
        assert_eq!(rendered("{% set x %}{{ s + t }}{% endset %}{{ x|length }}"), "5");
    }

    /// With parentheses the sum is left as it is: both must fail alike.
    #[test]
    fn what_cannot_be_added_fails_as_it_does_without_the_function() {
        for terms in ["s + n", "n + s", "s + none", "s + missing", "s + l", "s + t + n"] {
            let (ours, theirs) =
                (rendered(&format!("{{{{ {terms} }}}}")), rendered(&format!("{{{{ ({terms}) }}}}")));
            assert!(ours.starts_with("the chat template fails"), "{terms}: {ours}");
            assert_eq!(ours, theirs);
        }
    }
}
