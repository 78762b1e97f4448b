//! Tools and tool calls as vLLM hands them to a template.

use super::dict::dict;
use super::value::{self, get, present, with};
use minijinja::Value;
use minijinja::value::ValueKind;

/// Tool calls with their arguments as objects: clients send JSON in a string, templates expect what it holds. An
/// empty list is dropped.
pub(super) fn tool_calls(calls: &Value) -> Option<Value> {
    let calls: Vec<Value> = calls
        .try_iter()
        .ok()?
        .map(|call| match present(&call, "function") {
            Some(function) => {
                let arguments = get(&function, "arguments");
                let arguments = match arguments.kind() {
                    ValueKind::String => arguments.as_str().and_then(|text| value::parse(text.as_bytes())),
                    ValueKind::Map | ValueKind::Seq => Some(arguments),
                    _ => None,
                };
                let arguments = arguments.unwrap_or_else(|| Value::from_pairs::<_, Value, Value>([]));
                with(&call, "function", with(&function, "arguments", arguments))
            }
            None => call,
        })
        .collect();
    if calls.is_empty() { None } else { Some(Value::from(calls)) }
}

/// Tools as vLLM's request model dumps them: `type` first, then the function with name, description and parameters
/// in this order (null where absent), then whatever else there is. Templates print them with `tojson`, so that order
/// is tokens.
pub(super) fn dumped_tools(tools: &Value) -> Value {
    let dump = |tool: Value| {
        let Some(function) = present(&tool, "function") else { return tool };
        let function = ordered(&function, &["name", "description", "parameters"]);
        let kind = present(&tool, "type").unwrap_or_else(|| Value::from("function"));
        ordered(&with(&with(&tool, "type", kind), "function", function), &["type", "function"])
    };
    tools.try_iter().into_iter().flatten().map(dump).collect()
}

fn ordered(map: &Value, first: &[&str]) -> Value {
    let leading = first.iter().map(|key| {
        let member = present(map, key).unwrap_or_else(|| Value::from(()));
        (Value::from(*key), member)
    });
    let rest = value::pairs(map).into_iter().flatten();
    let rest = rest.filter(|(key, _)| !key.as_str().is_some_and(|key| first.contains(&key)));
    dict(leading.chain(rest))
}
