//! The rules of `StreamPipeline` as CEL and as schema.
//!
//! Each rule accepts what a value is written back as once read (`1500ms` becomes `1.5s`, `0s` becomes `0ns`, a zone
//! becomes Z), since the record holds a copy of the request under the same rules; and what it accepts can be read.

use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

pub const ID: &str = r"self.matches(r'^[^\s\p{Z}\p{Cc}\p{Cf}\p{Co}]([^\p{Zl}\p{Zp}\p{Cc}\p{Cf}\p{Co}]*[^\s\p{Z}\p{Cc}\p{Cf}\p{Co}])?$')";
/// No marks of a template that was never rendered. A group may have a plain dollar sign, as `$Default` has. The brackets around the
/// space keep Helm, which takes these very words out of whatever it renders, from making a rule of this that refuses everything.
pub const RENDERED: &str = r"!self.matches(r'[$#%@][{]|[$%][(]|[{][{]|[}][}]|<%|%>|[{\[]%|%[}\]]|<no[ ]value>')";
/// Of an id a variable without braces is one too.
pub const ID_RENDERED: &str = r"!self.matches(r'[$#%@][{]|[$%][(]|[{][{]|[}][}]|<%|%>|[{\[]%|%[}\]]|<no[ ]value>|[$][A-Za-z_]')";
/// A name of the API.
pub const OBJECT: &str = "self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')";
/// A name in which nothing is hidden.
pub const VISIBLE: &str = r"!self.matches(r'[\p{Cc}\p{Cf}\p{Co}\p{Zl}\p{Zp}]')";
/// A topic, as Kafka has it.
pub const TOPIC: &str = "self.matches('^[a-zA-Z0-9._-]+$') && self != '.' && self != '..'";
/// An http(s) URL of host, port and path alone.
pub const ENDPOINT: &str =
    r"self.matches(r'^https?://([a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?(/[a-zA-Z0-9._~/-]*)?$')";
const BROKER: &str = r"self.matches(r'^([a-zA-Z0-9._-]+|\[[0-9a-fA-F:.]+\]):([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$')";

/// Go's syntax down to the millisecond, up to 720h: in that range nothing is lost when it is read and written back.
const DURATION: &str =
    r"r'^(0|0ns|([0-9]{1,3}(\.[0-9]{1,3})?h)?([0-9]{1,5}(\.[0-9]{1,3})?m)?([0-9]{1,7}(\.[0-9]{1,3})?s)?([0-9]{1,10}ms)?)$'";
/// A day that exists, 29 February in leap years only: what matches can always be read.
const INSTANT: &str = concat!(
    r"r'^((19[7-9][0-9]|2[0-9]{3})-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))",
    r"|(19(7[26]|8[048]|9[26])|2[0-9](0[48]|[2468][048]|[13579][26])|2[048]00)-02-29)",
    r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$'"
);

pub fn duration() -> String {
    format!("self.size() > 0 && self.matches({DURATION}) && duration(self) <= duration('720h')")
}

pub fn wait_timeout() -> String {
    format!("{} && duration(self) > duration('0s')", duration())
}

/// True also where one of the two cannot be read: that has a rule and a message of its own.
pub fn quiet_fits_wait() -> String {
    let (quiet, wait) = ("(has(self.quietPeriod) ? self.quietPeriod : '10s')", "(has(self.waitTimeout) ? self.waitTimeout : '24h')");
    let unreadable = |it: &str| format!("{it} == '' || !{it}.matches({DURATION})");
    // Without a target it is a platform's, where nothing is watched for rest.
    format!("!has(self.to) || {} || {} || duration({quiet}) <= duration({wait})", unreadable(quiet), unreadable(wait))
}

/// A pipeline that is stopped for a reset is not kept so for weeks by whoever may edit a StreamPipeline and nothing else. True also where
/// the field cannot be read.
pub fn pause_at_most(field: &str, limit: &str) -> String {
    let value = format!("self.offsetReset.{field}");
    format!(
        "!has(self.offsetReset) || !has(self.offsetReset.whenActive) || self.offsetReset.whenActive != 'Pause' || !has({value}) || \
         {value} == '' || !{value}.matches({DURATION}) || duration({value}) > duration('720h') || duration({value}) <= duration('{limit}')"
    )
}

/// By comparing times, not years: a time before 1970 by its zone would be one of Kafka's special numbers.
pub fn instant() -> String {
    format!(
        "self.matches({INSTANT}) && timestamp(self) >= timestamp('1970-01-01T00:00:00Z') && timestamp(self) < timestamp('3000-01-01T00:00:00Z')"
    )
}

/// Where the platform decides, what only makes sense for partitions is refused.
pub fn kafka_only() -> String {
    let fields = ["topics", "quietPeriod", "outOfRange", "noRecordAtTime", "noCommittedOffset", "missingGroup", "approvedPlan"];
    let none = fields.map(|f| format!("!has(self.offsetReset.{f})")).join(" && ");
    format!("!has(self.enos) || !has(self.offsetReset) || ({none})")
}

/// `field: null` means the same as leaving `field` out: the API server prunes it from a field that is not nullable.
pub fn null_is_absent(schema: &mut Schema) {
    let is_null = |s: &Value| s.get("type").is_some_and(|t| t == "null");
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for property in properties.into_iter().flat_map(|p| p.values_mut()).filter_map(Value::as_object_mut) {
        if let Some(Value::Array(either)) = property.get("anyOf").cloned()
            && either.iter().any(is_null)
        {
            property.remove("anyOf");
            for (key, value) in either.iter().filter(|s| !is_null(s)).filter_map(Value::as_object).flatten() {
                property.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        if let Some(Value::Array(words)) = property.get_mut("enum") {
            words.retain(|w| !w.is_null());
        }
        if let Some(Value::Array(types)) = property.get("type").cloned() {
            property.insert("type".to_owned(), types.into_iter().find(|t| t != "null").unwrap_or_default());
        }
    }
}

pub fn bootstrap_schema(_: &mut SchemaGenerator) -> Schema {
    let message =
        "spec.kafka.bootstrapServers: host:port with a port from 1 to 65535, such as broker-0.kafka:9092; one address an item, no scheme";
    schemars::json_schema!({
        "type": "array", "minItems": 1, "maxItems": 8, "x-kubernetes-list-type": "set",
        "items": {
            "type": "string", "maxLength": 261,
            "x-kubernetes-validations": [{ "rule": BROKER, "message": message }]
        }
    })
}

pub fn duration_schema(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({ "type": "string", "maxLength": 32 })
}

/// Without `format: date-time`: the API server's own refusal does not say what a time without a zone lacks.
pub fn instant_schema(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({ "type": "string", "maxLength": 40 })
}

pub fn partitions_schema(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({
        "type": "array", "minItems": 1, "maxItems": 10000, "x-kubernetes-list-type": "set",
        "items": { "type": "integer", "format": "int32", "minimum": 0, "maximum": i32::MAX }
    })
}
