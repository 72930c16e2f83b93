//! The answers of the calls: token, list, details, offset and lag. Shapes as documented and as in the vendor's samples, which differ.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Envelope, Many, Scalar, Undecodable};
use stream_pipeline_core::words::cut;

/// The most bytes of `resourceConfig` that are kept; a longer one is dropped, because a part of JSON is useless.
const MAX_CONFIG: usize = 4096;

/// How a pipeline runs; read without regard to case, and with spaces, underscores and dashes alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunStatus {
    /// Released and never started.
    Published,
    Running,
    Paused,
    Stopped,
    RunError,
    /// An undocumented state, as the platform writes it; empty where it gives none.
    Other(String),
}

impl RunStatus {
    pub fn parse(text: &str) -> Self {
        let word: String = text.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_uppercase()).take(16).collect();
        match word.as_str() {
            "PUBLISHED" => RunStatus::Published,
            "RUNNING" => RunStatus::Running,
            "PAUSED" => RunStatus::Paused,
            "STOPPED" => RunStatus::Stopped,
            "RUNERROR" => RunStatus::RunError,
            _ => RunStatus::Other(cut(text.trim(), 64)),
        }
    }
}

/// The data of token/get and token/refresh. No Debug, because it holds the token.
#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenData {
    #[serde(rename = "accessToken")]
    access_token: Scalar,
    expire: Scalar,
}

/// The token, and its remaining seconds where the answer has them.
pub fn token(envelope: &Envelope) -> Option<(String, Option<i64>)> {
    let Many(parts) = envelope.data::<Many<TokenData>>().ok().flatten()?;
    let data = parts.into_iter().next()?;
    match data.access_token {
        Scalar::Text(token) if !token.is_empty() => Some((token, data.expire.int())),
        _ => None,
    }
}

/// A pipeline as the list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub name: String,
    pub status: RunStatus,
    /// 0 standalone, 1 cluster.
    pub execution_mode: Option<i64>,
    /// JSON text, e.g. `{"men":2.0,"cpu":1.0}`.
    pub resource_config: Option<String>,
    pub version: String,
    /// 0 real-time, 1 offline.
    pub message_channel: Option<i64>,
    /// Format not documented.
    pub update_time: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ListPart {
    count: Scalar,
    pipelines: Option<Many<ListItem>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ListItem {
    pipeline_id: Scalar,
    pipeline_name: Scalar,
    status: Scalar,
    version: Scalar,
    update_time: Scalar,
    execution_mode: Scalar,
    message_channel: Scalar,
    resource_config: Option<Box<RawValue>>,
}

/// One page: items by id, and the page's `count`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub items: Vec<(String, Item)>,
    pub count: Option<i64>,
}

/// `data` as an object with `pipelines`, or a list of such objects.
pub fn page(envelope: &Envelope) -> Result<Page, Undecodable> {
    let shape = |text: &str| Undecodable::Shape(text.to_owned());
    let Many(parts) = envelope.data::<Many<ListPart>>()?.ok_or_else(|| shape("the list has no data"))?;
    // An empty list is valid; a list of anything but objects is not.
    if parts.is_empty() && !envelope.data_is_empty_list() {
        return Err(shape("the list holds no objects"));
    }
    let mut page = Page::default();
    for part in parts {
        page.count = page.count.or(part.count.int());
        match part.pipelines {
            Some(Many(items)) => page.items.extend(items.into_iter().filter_map(item)),
            None if part.count.int() == Some(0) => {}
            None => return Err(shape("the list has no pipelines")),
        }
    }
    Ok(page)
}

fn item(raw: ListItem) -> Option<(String, Item)> {
    let id = raw.pipeline_id.text().filter(|id| !id.is_empty() && id.len() <= super::MAX_NAME)?.into_owned();
    let item = Item {
        name: raw.pipeline_name.name(),
        status: RunStatus::parse(&raw.status.text().unwrap_or_default()),
        execution_mode: raw.execution_mode.int(),
        resource_config: raw.resource_config.and_then(|raw| config(raw.get())),
        version: raw.version.name(),
        message_channel: raw.message_channel.int(),
        update_time: raw.update_time.name(),
    };
    Some((id, item))
}

/// Given as JSON text in a string, as documented, or as the object itself.
fn config(raw: &str) -> Option<String> {
    let text = if raw.starts_with('"') { serde_json::from_str(raw).ok()? } else { raw.to_owned() };
    (!text.trim().is_empty() && text.len() <= MAX_CONFIG).then_some(text)
}

/// A pipeline as its details show it. There is no status among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    pub id: String,
    pub name: String,
    pub version: String,
    pub template_type: Option<i64>,
    /// 0 real-time, 1 offline.
    pub message_channel: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct DetailsData {
    pipeline_id: Scalar,
    pipeline_name: Scalar,
    version: Scalar,
    template_type: Scalar,
    message_channel: Scalar,
}

/// `data` as an object, or a list with one.
pub fn details(envelope: &Envelope) -> Result<Details, Undecodable> {
    let parts = envelope.data::<Many<DetailsData>>()?.map(|Many(parts)| parts).unwrap_or_default();
    let data = parts.into_iter().next().ok_or_else(|| Undecodable::Shape("the details have no data".to_owned()))?;
    Ok(Details {
        id: data.pipeline_id.name(),
        name: data.pipeline_name.name(),
        version: data.version.name(),
        template_type: data.template_type.int(),
        message_channel: data.message_channel.int(),
    })
}

/// The newest point of a pipeline's offset and lag. Summed over topics where the answer has several; the platform shows no partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LagPoint {
    /// Epoch milliseconds; the oldest, if there are several topics.
    pub ts: i64,
    pub lag: Option<i64>,
    pub offset: Option<i64>,
    pub topics: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LagPart {
    pipeline_id: Scalar,
    topic_name: Scalar,
    lag_and_offset: Option<Many<RawPoint>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawPoint {
    lag: Scalar,
    offset: Scalar,
    ts: Scalar,
}

/// None where there is no point, or no `data` at all. An error where the answer is about another pipeline than `id`.
pub fn lag(envelope: &Envelope, id: &str) -> Result<Option<LagPoint>, Undecodable> {
    let parts = envelope.data::<Many<LagPart>>()?.map(|Many(parts)| parts).unwrap_or_default();
    let mut sum: Option<LagPoint> = None;
    for part in parts {
        if part.pipeline_id.text().is_some_and(|found| !found.is_empty() && found != id) {
            return Err(Undecodable::Shape("the answer is about another pipeline".to_owned()));
        }
        let points = part.lag_and_offset.map(|Many(points)| points).unwrap_or_default();
        let Some((ts, newest)) = points.iter().filter_map(|p| p.ts.int().map(|ts| (ts, p))).max_by_key(|(ts, _)| *ts) else { continue };
        let (lag, offset, topic) = (newest.lag.int(), newest.offset.int(), part.topic_name.name());
        // If a topic's number is missing, the sum is unknown, not smaller.
        let plus = |a: Option<i64>, b: Option<i64>| a.zip(b).and_then(|(a, b)| a.checked_add(b));
        sum = Some(match sum {
            None => LagPoint { ts, lag, offset, topics: vec![topic] },
            Some(mut so_far) => {
                so_far.topics.push(topic);
                LagPoint { ts: ts.min(so_far.ts), lag: plus(so_far.lag, lag), offset: plus(so_far.offset, offset), ..so_far }
            }
        });
    }
    Ok(sum)
}
