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
                let arguments = match arguments.as_str() {
                    Some(text) => value::parse(text.as_bytes()),
                    None => Some(arguments),
                };
                // Whatever is no object (broken JSON, a list, null) vLLM makes an empty one, which templates expect.
                let arguments = arguments.filter(|arguments| arguments.kind() == ValueKind::Map);
                let arguments = arguments.unwrap_or_else(|| Value::from_pairs::<_, Value, Value>([]));
                with(&call, "function", with(&function, "arguments", arguments))
            }
            None => call,
        })
        .collect();
    if calls.is_empty() { None } else { Some(Value::from(calls)) }
}

/// Tools as vLLM's request model dumps them: what the model knows and nothing else, in its order, null where absent
/// (vllm/entrypoints/openai/chat_completion/protocol.py: `ChatCompletionToolsParam`). Templates print them with
/// `tojson`, so that order is tokens.
pub(super) fn dumped_tools(tools: &Value) -> Value {
    let dump = |tool: Value| {
        let Some(function) = present(&tool, "function") else { return tool };
        let deferred = present(&tool, "defer_loading");
        let null = || Value::from(());
        let mut inner: Vec<(&str, Value)> = ["name", "description", "parameters"]
            .map(|key| (key, present(&function, key).unwrap_or_else(null)))
            .into();
        inner.extend(present(&function, "strict").map(|strict| ("strict", strict)));
        let inner_deferred = present(&function, "defer_loading").or_else(|| deferred.clone());
        inner.extend(inner_deferred.map(|deferred| ("defer_loading", deferred)));
        let kind = present(&tool, "type").unwrap_or_else(|| Value::from("function"));
        let mut outer = vec![("type", kind), ("function", dict(inner))];
        outer.extend(deferred.map(|deferred| ("defer_loading", deferred)));
        dict(outer)
    };
    tools.try_iter().into_iter().flatten().map(dump).collect()
}
