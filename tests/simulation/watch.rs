//! What a process's watches have delivered so far: copies that lag behind the API server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::runtime::watcher;
use stream_pipeline_api::StreamPipeline;
use stream_pipeline_operator::pipelines;
use stream_pipeline_operator::records::Filler;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::api_server::{Key, metadata};
use crate::world::{Link, lock};

pub type Cache = Arc<Mutex<BTreeMap<String, StreamPipeline>>>;

/// Updates the copies of pipelines and of the records' metadata, some time behind the API server.
pub async fn watch(
    link: &Link,
    cache: &Cache,
    (mut records, mut elders): (Filler, Option<pipelines::Filler>),
    changes: &BTreeMap<String, Arc<Notify>>,
) {
    let (mut seen, first): (usize, Vec<(Key, serde_json::Value)>) = {
        let world = lock(&link.world);
        let all = world.api.all("streampipelines").chain(world.api.all("offsetresetrecords"));
        (world.api.changes.len(), all.map(|(key, object)| (key.clone(), object.clone())).collect())
    };
    records.apply(&watcher::Event::Init);
    let meta = |object: &serde_json::Value| serde_json::from_value(metadata(object)).expect("metadata");
    for (key, object) in first.iter().filter(|(key, _)| key.0 == "offsetresetrecords") {
        let _ = key;
        records.apply(&watcher::Event::InitApply(meta(object)));
    }
    records.apply(&watcher::Event::InitDone);
    let mut beside = |object: &serde_json::Value, gone: bool| {
        let Some(elders) = &mut elders else { return };
        let object = serde_json::from_value(object.clone()).expect("an object");
        elders.apply(&if gone { watcher::Event::Delete(object) } else { watcher::Event::Apply(object) });
    };
    let tell = |key: &Key, object: &serde_json::Value, gone: bool| {
        let mut cache = cache.lock().expect("no panic under this lock");
        if gone {
            cache.remove(&key.2);
        } else {
            cache.insert(key.2.clone(), serde_json::from_value(object.clone()).expect("a StreamPipeline"));
        }
        if let Some(changed) = changes.get(&key.2) {
            changed.notify_one();
        }
    };
    for (key, object) in first.iter().filter(|(key, _)| key.0 == "streampipelines") {
        beside(object, false);
        tell(key, object, false);
    }
    loop {
        let (end, changed, mut random) = {
            let world = lock(&link.world);
            (world.api.changes.len(), Arc::clone(&world.changed), world.random.of(&link.process.name, seen as u64))
        };
        if end == seen {
            changed.notified().await;
            continue;
        }
        let until = link.process.watches_from();
        sleep(Duration::from_millis(random.between(2, 30))).await;
        if let Some(until) = until {
            tokio::time::sleep_until(until).await;
        }
        let news = lock(&link.world).api.changes[seen..end].to_vec();
        seen = end;
        for (key, object, gone) in news {
            match key.0.as_str() {
                "streampipelines" => {
                    beside(&object, gone);
                    tell(&key, &object, gone);
                }
                "offsetresetrecords" if gone => records.apply(&watcher::Event::Delete(meta(&object))),
                "offsetresetrecords" => records.apply(&watcher::Event::Apply(meta(&object))),
                _ => {}
            }
        }
    }
}
