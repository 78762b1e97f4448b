//! Mappings of a request: messages, tools, their members.

use minijinja::Value;
use minijinja::value::{Enumerator, Object, ObjectExt};
use std::sync::Arc;

/// Members up to which each is looked at: minijinja's own map hashes its keys, which for the two to five members of a
/// message costs more. Tools' parameter lists may have more.
const MOST: usize = 12;

/// A mapping of those pairs. Of duplicate keys it keeps the first place and the last value, as Python's dict does.
pub(super) fn dict<K: Into<Value>>(pairs: impl IntoIterator<Item = (K, Value)>) -> Value {
    let mut pairs: Vec<(Value, Value)> = pairs.into_iter().map(|(key, value)| (key.into(), value)).collect();
    if pairs.len() > MOST || pairs.iter().any(|(key, _)| key.as_str().is_none()) {
        return Value::from_pairs(pairs);
    }
    let mut at = 1;
    while at < pairs.len() {
        let key = pairs[at].0.as_str();
        match pairs[..at].iter().position(|(known, _)| known.as_str() == key) {
            Some(place) => pairs[place].1 = pairs.remove(at).1,
            None => at += 1,
        }
    }
    Value::from_object(Dict(pairs))
}

/// Few members, all keys strings and different, in the order of the request.
#[derive(Debug)]
struct Dict(Vec<(Value, Value)>);

impl Object for Dict {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.0.iter().find(|(known, _)| known.as_str() == Some(key)).map(|(_, value)| value.clone())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        self.mapped_rev_key_value_enumerator(|this| Box::new(this.0.iter().cloned()))
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::value::ValueKind;
    use proptest::prelude::*;

    proptest! {
        /// As few and as many, a mapping is minijinja's own to whoever looks at it.
        #[test]
        fn is_what_minijinja_makes_of_the_pairs(keys in prop::collection::vec("[a-d]{1,2}", 0..20)) {
            let pairs = || keys.iter().zip(0..).map(|(key, at)| (key.as_str(), Value::from(at)));
            let (ours, theirs) = (dict(pairs()), Value::from_pairs(pairs()));
            prop_assert_eq!(ours.kind(), ValueKind::Map);
            prop_assert_eq!(ours.len(), theirs.len());
            prop_assert_eq!(ours.to_string(), theirs.to_string());
            prop_assert_eq!(&ours, &theirs);
            let both = |key: &str| (ours.get_attr(key).ok(), ours.get_item(&Value::from(key)).ok());
            for key in keys.iter().map(String::as_str).chain(["e", ""]) {
                let expected = theirs.get_attr(key).ok();
                prop_assert_eq!(both(key), (expected.clone(), expected));
            }
            prop_assert!(ours.get_item(&Value::from(0)).is_ok_and(|value| value.is_undefined()));
        }
    }
}
