//! Takes one right of the chart from the operator's account, to see which test needs it.

use serde_json::{Value, json};

/// A verb on a resource with its API group, as in `patch streampipelines.streampipeline.io` or `get deployments/scale.apps`.
#[derive(Debug, PartialEq)]
pub struct Right<'a> {
    verb: &'a str,
    resource: &'a str,
    group: &'a str,
}

impl<'a> Right<'a> {
    pub fn parse(text: &'a str) -> Option<Self> {
        let (verb, what) = text.split_once(' ')?;
        let (resource, group) = what.split_once('.').unwrap_or((what, ""));
        Some(Self { verb, resource, group })
    }

    /// The rules without it; None: they do not have it.
    pub fn taken_from(&self, rules: &Value) -> Option<Value> {
        let lists = |rule: &Value, field: &str, word: &str| rule[field].as_array().is_some_and(|all| all.iter().any(|w| w == word));
        let without =
            |list: &Value, word: &str| -> Vec<Value> { list.as_array().into_iter().flatten().filter(|w| *w != word).cloned().collect() };
        let mut found = false;
        let mut left = Vec::new();
        for rule in rules.as_array()? {
            let has = lists(rule, "apiGroups", self.group) && lists(rule, "resources", self.resource) && lists(rule, "verbs", self.verb);
            if !has {
                left.push(rule.clone());
                continue;
            }
            found = true;
            let (mut others, mut this) = (rule.clone(), rule.clone());
            others["resources"] = json!(without(&rule["resources"], self.resource));
            this["resources"] = json!([self.resource]);
            this["verbs"] = json!(without(&rule["verbs"], self.verb));
            left.extend(
                [(others, "resources"), (this, "verbs")]
                    .into_iter()
                    .filter(|(rule, field)| rule[*field] != json!([]))
                    .map(|(rule, _)| rule),
            );
        }
        found.then(|| json!(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_verb_on_one_resource_goes_and_nothing_else() {
        let rules = json!([{ "apiGroups": ["apps"], "resources": ["deployments/scale", "statefulsets/scale"], "verbs": ["get", "patch"] }]);
        let left = Right::parse("patch deployments/scale.apps").and_then(|right| right.taken_from(&rules));
        let expected = json!([
            { "apiGroups": ["apps"], "resources": ["statefulsets/scale"], "verbs": ["get", "patch"] },
            { "apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["get"] },
        ]);
        assert_eq!(left, Some(expected));
        assert_eq!(Right::parse("get secrets").and_then(|right| right.taken_from(&rules)), None);
        let one = json!([{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"] }]);
        assert_eq!(Right::parse("get secrets").and_then(|right| right.taken_from(&one)), Some(json!([])));
    }
}
