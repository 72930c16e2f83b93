//! Records as the API server prints them: of thousands that are over, up to 1 MiB each, none has to be read to see that.

use axum::http::HeaderValue;
use axum::http::header::ACCEPT;
use kube::Client;
use kube::api::ListParams;
use kube::core::Request as Call;
use serde::Deserialize;
use serde_json::Value;

use stream_pipeline_api::RecordPhase;

/// As `kubectl get` asks for it.
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

/// Of a long history nothing but what is open has to be sent. See `OffsetResetRecordStatus::over`.
const OPEN: &str = "status.over!=true";

/// Which records are listed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Also those that are over, so that they are known from then on.
    All,
    /// But for those that say themselves that they are over.
    Open,
}

/// Live. `url`: of a namespace's records. `selector`: labels; empty for all of them.
///
/// # Errors
/// The API server refused, or could not be reached.
pub async fn list(client: &Client, url: &str, selector: &str, which: Which) -> kube::Result<Vec<Listed>> {
    let label_selector = Some(selector.to_owned()).filter(|s| !s.is_empty());
    let all = ListParams { label_selector, ..ListParams::default() };
    let listed = async |params: &ListParams| {
        let mut request = Call::new(url).list(params).map_err(kube::Error::BuildRequest)?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static(TABLE));
        client.request::<Table>(request).await.map(Table::into_listed)
    };
    if which == Which::All {
        return listed(&all).await;
    }
    match listed(&ListParams { field_selector: Some(OPEN.to_owned()), ..all.clone() }).await {
        // Older definitions have no such field.
        Err(kube::Error::Api(status)) if status.code == 400 => listed(&all).await,
        listed => listed,
    }
}

/// A record of a list.
pub struct Listed {
    pub name: String,
    /// uid and resourceVersion.
    pub version: (String, String),
    /// What the columns show to be over, and nothing to be brought back for. The others have to be read.
    pub is_over: bool,
}

/// `Table` of meta.k8s.io/v1, as far as it is needed. Which columns there are depends on the definitions that the API server has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Table {
    column_definitions: Vec<Column>,
    /// An empty list in Go may be null.
    rows: Option<Vec<Row>>,
}

#[derive(Deserialize)]
struct Column {
    name: String,
}

#[derive(Deserialize)]
struct Row {
    cells: Vec<Value>,
    object: Object,
}

/// No more than is needed: what fields who manages is most of the metadata of thousands.
#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    uid: String,
    resource_version: String,
}

impl Table {
    pub fn into_listed(self) -> Vec<Listed> {
        let column = |name: &str| self.column_definitions.iter().position(|column| column.name == name);
        let (phase, stopped) = (column("Phase"), column("Stopped"));
        let is_over = |cells: &[Value]| {
            let phase = phase.and_then(|at| RecordPhase::deserialize(cells.get(at)?).ok());
            let ended = phase.is_some_and(RecordPhase::is_end);
            let untouched = stopped.and_then(|at| cells.get(at)).is_some_and(|cell| matches!(cell, Value::Null | Value::Bool(false)));
            ended && untouched
        };
        let listed = |row: Row| {
            let Metadata { name, uid, resource_version } = row.object.metadata;
            Listed { name, version: (uid, resource_version), is_over: is_over(&row.cells) }
        };
        self.rows.into_iter().flatten().map(listed).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_the_columns_show_to_be_over_is_not_read() {
        let over = |columns: &[&str], cells: Value| {
            let columns: Vec<_> = columns.iter().map(|name| json!({ "name": name })).collect();
            let object = json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": { "name": "r", "uid": "u", "resourceVersion": "1" } });
            let table: Table =
                serde_json::from_value(json!({ "columnDefinitions": columns, "rows": [{ "cells": cells, "object": object }] })).unwrap();
            let listed = table.into_listed();
            assert_eq!((listed[0].name.as_str(), &listed[0].version), ("r", &("u".to_owned(), "1".to_owned())));
            listed[0].is_over
        };
        let columns = ["Request", "Phase", "Stopped"];
        for phase in ["Verified", "Abandoned", "Planned"] {
            assert!(over(&columns, json!(["r1", phase, null])) && over(&columns, json!(["r1", phase, false])), "{phase}");
            assert!(!over(&columns, json!(["r1", phase, true])), "it may have to be brought back");
        }
        for phase in [json!("Held"), json!("Sent"), json!("OfTheNextVersion"), Value::Null] {
            assert!(!over(&columns, json!(["r1", phase, null])), "{phase}");
        }
        assert!(!over(&["Phase"], json!(["Verified"])), "older definitions do not show what was stopped");
        assert!(!over(&["Stopped"], json!([null])) && !over(&columns, json!([])));
        let empty: Table = serde_json::from_value(json!({ "columnDefinitions": [], "rows": null })).unwrap();
        assert!(empty.into_listed().is_empty());
    }
}
