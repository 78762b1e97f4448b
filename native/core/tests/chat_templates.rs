//! 68 real chat templates × 13 conversations against the text that Hugging Face transformers 5.23 renders.

mod support;

use phyllo_core::template::{TemplateError, render_template};
use std::collections::BTreeMap;
use support::{Case, template_cases};

/// 2026-11-21, noon UTC: the day the expected texts were rendered on (in any time zone but the outermost).
const RENDERED_ON_MS: u64 = 1_795_262_400_000;

/// `(template, case, why)` of what does not render as transformers renders it.
const KNOWN_DIFFERENCES: &[(&str, &str, &str)] = &[];

/// What is wrong with a case's result; `None` if nothing is.
fn difference(case: &Case) -> Option<String> {
    let context = serde_json::to_string(&case.context).expect("JSON");
    match (render_template(&case.template, &context, RENDERED_ON_MS), &case.expected, &case.expected_error) {
        (Ok(text), Some(expected), _) if text == *expected => None,
        (Ok(text), Some(expected), _) => {
            let at = text.bytes().zip(expected.bytes()).take_while(|(a, b)| a == b).count();
            let from = |text: &str| {
                String::from_utf8_lossy(&text.as_bytes()[at.saturating_sub(20)..])
                    .chars()
                    .take(80)
                    .collect::<String>()
            };
            Some(format!(
                "differs at byte {at}:\n  got      {:?}\n  expected {:?}",
                from(&text),
                from(expected)
            ))
        }
        (Ok(text), None, error) => Some(format!("renders, where transformers raises {error:?}: {text:?}")),
        (Err(error), Some(_), _) => Some(format!("fails: {error}")),
        (Err(_), None, _) => None,
    }
}

#[test]
fn renders_what_transformers_renders() {
    let cases = template_cases();
    assert_eq!(cases.len(), 884);
    let mut differences: BTreeMap<(&str, &str), String> = BTreeMap::new();
    for case in &cases {
        if let Some(difference) = difference(case) {
            differences.insert((&case.template_name, &case.case), difference);
        }
    }
    for (template, name, why) in KNOWN_DIFFERENCES {
        assert!(!why.is_empty());
        let known = differences.remove(&(*template, *name));
        assert!(known.is_some(), "{template} {name} renders right now: take it off the list");
    }
    let report: Vec<String> =
        differences.iter().map(|((template, name), what)| format!("{template} {name}: {what}")).collect();
    assert!(report.is_empty(), "{} differences:\n{}", report.len(), report.join("\n"));
}

fn render(template: &str, context: &str) -> Result<String, TemplateError> {
    render_template(template, context, RENDERED_ON_MS)
}

#[test]
fn the_clock_is_the_one_injected() {
    assert_eq!(
        render("{{ strftime_now('%Y-%m-%d %d %b %Y') }}", "{}"),
        Ok("2026-11-21 21 Nov 2026".to_owned())
    );
    assert!(
        render_template("{{ strftime_now('%Y') }}", "{}", u64::MAX).is_err(),
        "beyond the calendar, no panic"
    );
}

#[test]
fn values_print_and_compare_as_in_python() {
    for (template, text) in [
        ("{{ x }} {{ y }} {{ z }} {{ none }} {{ true }}", "1.0 1e+16 [1, 'a', None, True] None True"),
        ("{{ {'items': 1}.items()|list }}", "[('items', 1)]"),
        ("{{ none is iterable }} {{ 'a' is sequence }} {{ true is number }}", "False True True"),
        ("{{ z|map('string')|list|tojson }}", "[\"1\", \"a\", \"None\", \"True\"]"),
        ("{% if z|select('undefined') %}a generator is true{% endif %}", "a generator is true"),
        ("{% for a in z if a is string %}{{ a }}{{ loop.last }}{% endfor %}", "aTrue"),
    ] {
        let context = r#"{"x": 1.0, "y": 1e16, "z": [1, "a", null, true]}"#;
        assert_eq!(render(template, context), Ok(text.to_owned()), "{template}");
    }
}

#[test]
fn errors_tell_their_kind_and_line() {
    let error = render("a\n{{ x.y.z }}", "{}").expect_err("undefined");
    assert!(matches!(&error, TemplateError::Failed(text) if text.contains("template line 2")), "{error}");
    assert_eq!(
        render("{{ raise_exception('no ' ~ 1) }}", "{}"),
        Err(TemplateError::Raised("no 1".to_owned()))
    );
    assert!(matches!(render("{% if %}", "{}"), Err(TemplateError::Compile(_))));
    assert!(matches!(render("", "[1]"), Err(TemplateError::BadRequest(_))));
    assert!(matches!(render("", "{"), Err(TemplateError::BadRequest(_))));
}

#[test]
fn a_template_that_never_ends_its_recursion_is_an_error() {
    let source = "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}";
    assert!(matches!(render(source, "{}"), Err(TemplateError::Failed(_))));
}
