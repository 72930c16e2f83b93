//! A StreamPipeline as a list or a watch shows it: one that cannot be read does not keep the others from being read.

use std::borrow::Cow;

use kube::Resource;
use kube::api::ObjectMeta;
use kube::core::error_boundary::InvalidObject;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use stream_pipeline_api::{StreamPipeline, StreamPipelineSpec};

/// As kube's `DeserializeGuard`, without managedFields. That one copies each object twice, whole, before it decodes it: among ten thousand
/// objects that is a seventh of a restart.
#[derive(Clone, Debug)]
pub struct Object(pub Result<StreamPipeline, InvalidObject>);

#[derive(Default, Deserialize)]
#[serde(default)]
struct Parts {
    metadata: ObjectMeta,
    spec: Value,
    status: Value,
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // An error of the deserializer would end the list, so what may be invalid is decoded apart from it.
        let Parts { mut metadata, spec, status } = Parts::deserialize(deserializer)?;
        // They are a good part of an object by size, and nobody here reads them.
        metadata.managed_fields = None;
        let read = |spec, status| {
            let spec = StreamPipelineSpec::deserialize(spec).map_err(|error| format!("spec: {error}"))?;
            Ok((spec, Option::deserialize(status).map_err(|error| format!("status: {error}"))?))
        };
        Ok(Self(match read(spec, status) {
            Ok((spec, status)) => Ok(StreamPipeline { metadata, spec, status }),
            Err(error) => Err(InvalidObject { error, metadata }),
        }))
    }
}

impl Resource for Object {
    type DynamicType = <StreamPipeline as Resource>::DynamicType;
    type Scope = <StreamPipeline as Resource>::Scope;

    fn kind(dt: &()) -> Cow<'_, str> {
        StreamPipeline::kind(dt)
    }

    fn group(dt: &()) -> Cow<'_, str> {
        StreamPipeline::group(dt)
    }

    fn version(dt: &()) -> Cow<'_, str> {
        StreamPipeline::version(dt)
    }

    fn plural(dt: &()) -> Cow<'_, str> {
        StreamPipeline::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|invalid| &invalid.metadata, |pipeline| &pipeline.metadata)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|invalid| &mut invalid.metadata, |pipeline| &mut pipeline.metadata)
    }
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt;
    use kube::core::{ObjectList, WatchEvent};
    use serde_json::json;

    use super::*;

    fn shown(spec: &Value, status: &Value) -> Value {
        let fields = json!([{ "manager": "kubectl", "operation": "Apply", "fieldsV1": { "f:spec": {} } }]);
        json!({
            "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline",
            "metadata": { "name": "p", "namespace": "n", "labels": { "a": "b" }, "managedFields": fields }, "spec": spec, "status": status,
        })
    }

    fn of_group() -> Value {
        json!({ "kafka": { "bootstrapServers": ["b:9092"], "consumerGroup": "g" } })
    }

    #[test]
    fn one_that_cannot_be_read_says_which_part_and_keeps_its_names() {
        let error = |object: &Value| {
            let Object(read) = serde_json::from_value(object.clone()).unwrap();
            let invalid = read.expect_err("it cannot be read");
            assert_eq!((invalid.metadata.name.as_deref(), invalid.metadata.namespace.as_deref()), (Some("p"), Some("n")));
            assert_eq!((invalid.metadata.labels.map_or(0, |all| all.len()), invalid.metadata.managed_fields), (1, None));
            invalid.error
        };
        let spec = error(&shown(&json!({ "kafka": { "bootstrapServers": ["b:9092"], "consumerGroup": 7 } }), &Value::Null));
        assert_eq!(spec, "spec: invalid type: integer `7`, expected a string");
        let status = error(&shown(&of_group(), &json!({ "conditions": "none" })));
        assert_eq!(status, "status: invalid type: string \"none\", expected a sequence");
        let mut without = shown(&of_group(), &Value::Null);
        without.as_object_mut().unwrap().remove("spec");
        assert!(error(&without).starts_with("spec: "));
        assert!(serde_json::from_value::<Object>(json!({})).is_ok_and(|bare| bare.0.is_err()), "nor does one without metadata end a list");
    }

    /// Each of them as decoded alone, but for managedFields.
    #[test]
    fn the_others_of_a_list_are_as_if_it_were_not_there() {
        let status = json!({ "phase": "Paused", "observedGeneration": 3 });
        let items = [shown(&of_group(), &status), shown(&json!(7), &status), shown(&of_group(), &Value::Null)];
        let list = json!({ "apiVersion": "v1", "kind": "List", "metadata": {}, "items": items }).to_string();
        let listed: ObjectList<Object> = serde_json::from_str(&list).unwrap();
        for (object, item) in listed.items.iter().zip(items) {
            assert_eq!((object.name_any().as_str(), object.namespace().as_deref()), ("p", Some("n")));
            let alone: Option<StreamPipeline> = serde_json::from_value(item).ok().map(|mut alone: StreamPipeline| {
                alone.metadata.managed_fields = None;
                alone
            });
            assert_eq!(object.0.as_ref().ok(), alone.as_ref());
        }
        assert_eq!(listed.items.iter().map(|object| object.0.is_ok()).collect::<Vec<_>>(), [true, false, true]);
    }

    /// The API server tells the type first; JSON has no order.
    #[test]
    fn a_watch_may_tell_the_type_last() {
        let object = shown(&of_group(), &Value::Null);
        for text in [format!(r#"{{"type":"ADDED","object":{object}}}"#), format!(r#"{{"object":{object},"type":"ADDED"}}"#)] {
            let WatchEvent::Added(Object(read)) = serde_json::from_str(&text).unwrap() else { panic!("{text}") };
            assert_eq!(read.unwrap().name_any(), "p");
        }
    }
}
