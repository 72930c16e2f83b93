//! One table of manifests that are accepted or refused, read by the tests without a cluster (`cel`) and by those on the real
//! API server (`it`).

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// One row of `table.yaml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Row {
    pub name: String,
    /// Merged into the minimal manifest; null removes a field.
    patch: Option<Value>,
    /// YAML of a whole spec, where null or the exact text matters. Instead of `patch`.
    raw: Option<String>,
    /// Merged into the object once it is stored; the expectation is then about this update.
    update: Option<Value>,
    pub refused: Option<Refusal>,
    pub accepted: Option<Acceptance>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    pub by: By,
    /// What the message must contain: the field and the rule.
    pub says: Vec<String>,
}

/// Which part of the API server refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// Types, lengths, enums, list types.
    Schema,
    /// Rules, which `kube` evaluates without a cluster too.
    Cel,
}

/// What is stored, beyond that it is.
#[allow(dead_code, reason = "looked at by the tests on the real API server only")]
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Acceptance {
    /// JSON pointers to what must be there unchanged.
    #[serde(default)]
    pub kept: Vec<String>,
    /// JSON pointers to what the API server drops.
    #[serde(default)]
    pub dropped: Vec<String>,
    /// Values by JSON pointer, where another spelling is stored.
    #[serde(default)]
    pub becomes: Map<String, Value>,
    /// What a client that validates strictly is told.
    pub strict: Option<String>,
}

impl Row {
    /// The manifest of this row; `name` unless the row gives its own.
    pub fn manifest(&self, name: &str) -> Value {
        let mut object = minimal(name);
        if let Some(raw) = &self.raw {
            object["spec"] = as_sent(serde_saphyr::from_str(raw).unwrap_or_else(|e| panic!("{}: raw: {e}", self.name)));
        }
        if let Some(patch) = &self.patch {
            merge(&mut object, &expand(patch));
        }
        object
    }

    /// The manifest as a person's file, for kubectl's own reading of YAML.
    #[allow(dead_code, reason = "for the tests on the real API server only")]
    pub fn file(&self, name: &str) -> Option<String> {
        let spec: String = self.raw.as_ref()?.lines().map(|line| format!("  {line}\n")).collect();
        Some(format!("apiVersion: streampipeline.io/v1alpha1\nkind: StreamPipeline\nmetadata: {{ name: {name} }}\nspec:\n{spec}"))
    }

    /// The manifest after the update, where the row is about one.
    pub fn updated(&self, name: &str) -> Option<Value> {
        let mut object = self.manifest(name);
        merge(&mut object, &expand(self.update.as_ref()?));
        Some(object)
    }
}

pub fn table() -> Vec<Row> {
    let rows: Vec<Row> = serde_saphyr::from_str(include_str!("table.yaml")).expect("table.yaml is a list of rows");
    for row in &rows {
        assert!(row.refused.is_some() != row.accepted.is_some(), "{}: either refused or accepted", row.name);
        assert!(row.raw.is_none() || row.patch.is_none(), "{}: raw or patch, not both", row.name);
        assert!(row.refused.as_ref().is_none_or(|r| r.says.len() >= 2), "{}: a refusal names the field and the rule", row.name);
    }
    let names: std::collections::BTreeSet<_> = rows.iter().map(|r| &r.name).collect();
    assert_eq!(names.len(), rows.len(), "two rows have the same name");
    rows
}

fn minimal(name: &str) -> Value {
    json!({
        "apiVersion": "streampipeline.io/v1alpha1",
        "kind": "StreamPipeline",
        "metadata": { "name": name },
        "spec": {
            "kafka": { "bootstrapServers": ["kafka.example.com:9092"], "consumerGroup": "turbine-cleaning" },
            "offsetReset": { "id": "replay-1", "to": { "position": "Earliest" } }
        }
    })
}

/// JSON as kubectl sends it: a number without a fraction is an integer, however it was written.
fn as_sent(value: Value) -> Value {
    match value {
        Value::Number(n) => match n.as_f64() {
            Some(f) if n.is_f64() && f.fract() == 0.0 && f.abs() < 9e15 => json!(f as i64),
            _ => Value::Number(n),
        },
        Value::Array(items) => items.into_iter().map(as_sent).collect::<Vec<_>>().into(),
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (key, as_sent(value))).collect::<Map<_, _>>().into(),
        other => other,
    }
}

/// RFC 7386.
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in fields {
        if value.is_null() {
            into.as_object_mut().expect("made one above").remove(key);
        } else {
            merge(&mut into[key.as_str()], value);
        }
    }
}

/// `{$times: 3, $of: x}` becomes `xxx`; with a list as `$of` its items repeated, `#` in their texts and `"#"` alone as the count.
fn expand(value: &Value) -> Value {
    match value {
        Value::Object(fields) => match (fields.get("$times").and_then(Value::as_u64), fields.get("$of")) {
            (Some(times), Some(Value::String(text))) => json!(text.repeat(usize::try_from(times).expect("a small number"))),
            (Some(times), Some(Value::Array(items))) => {
                (0..times).flat_map(|n| items.iter().map(move |item| number(item, n))).collect::<Vec<_>>().into()
            }
            _ => fields.iter().map(|(key, value)| (key.clone(), expand(value))).collect::<Map<_, _>>().into(),
        },
        Value::Array(items) => items.iter().map(expand).collect::<Vec<_>>().into(),
        other => other.clone(),
    }
}

fn number(item: &Value, n: u64) -> Value {
    match item {
        Value::String(text) if text == "#" => json!(n),
        Value::String(text) => json!(text.replace('#', &n.to_string())),
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), number(value, n))).collect::<Map<_, _>>().into(),
        other => other.clone(),
    }
}

/// The messages of all rules of a definition.
pub fn rules_of(schema: &Value) -> Vec<String> {
    match schema {
        Value::Object(fields) => {
            let own = fields.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten();
            let own = own.filter_map(|rule| rule["message"].as_str().map(str::to_owned));
            own.chain(fields.values().flat_map(rules_of)).collect()
        }
        Value::Array(items) => items.iter().flat_map(rules_of).collect(),
        _ => Vec::new(),
    }
}
