//! One list for all who ask, and pages that lie, repeat and shift.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::stub::*;
use crate::backend::enos::list::Pipelines;
use crate::backend::enos::list::read_all;
use crate::backend::enos::wire::answers::{Item, Page};
use crate::backend::enos::{Failure, FailureKind, RunStatus};

fn item(status: RunStatus) -> Item {
    let none = String::new;
    Item { name: none(), status, execution_mode: None, resource_config: None, version: none(), message_channel: None, update_time: none() }
}

fn page(ids: impl IntoIterator<Item = usize>, count: Option<i64>) -> Page {
    Page { items: ids.into_iter().map(|n| (format!("p{n}"), item(RunStatus::Running))).collect(), count }
}

/// Reads the list that `pages` gives: the result, and how many pages were asked for.
async fn read(mut pages: impl FnMut(usize) -> Page) -> (Result<Pipelines, Failure>, usize) {
    let mut asked = 0;
    let fetch = |number| {
        asked += 1;
        std::future::ready(Ok(pages(number)))
    };
    let list = read_all(&OnceLock::new(), fetch).await;
    (list, asked)
}

fn slice(all: usize, size: usize, number: usize) -> std::ops::Range<usize> {
    ((number - 1) * size).min(all)..(number * size).min(all)
}

#[tokio::test]
async fn a_list_is_whole_whatever_count_counts_and_however_long_pages_are() {
    for all in [0, 1, 49, 50, 51, 100, 101, 237] {
        for size in [1, 20, 50] {
            type Count = fn(usize, usize) -> Option<i64>;
            for count in [(|all, _| Some(all as i64)) as Count, |_, length| Some(length as i64), |_, _| None, |_, _| Some(0)] {
                if all / size > 199 {
                    continue;
                }
                let (list, asked) = read(|n| page(slice(all, size, n), count(all, slice(all, size, n).len()))).await;
                let list = list.unwrap();
                assert_eq!((list.items.len(), list.settled), (all, true), "{all} by {size}");
                assert!(asked <= all.div_ceil(size) + 1);
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_ignores_the_page_number_ends() {
    let (list, asked) = read(|_| page(0..70, Some(70))).await;
    let list = list.unwrap();
    assert_eq!((list.items.len(), list.settled, asked), (70, true, 2));
}

#[tokio::test]
async fn a_list_that_shifts_is_read_again_until_it_is_still() {
    // p3 is removed after the first page, so p50 moves from the second page to the first.
    let mut asked = 0;
    let all = |asked: usize| (0..101).filter(move |n| asked <= 1 || *n != 3).collect::<Vec<_>>();
    let (list, _) = read(|n| {
        asked += 1;
        let all = all(asked);
        page(all[slice(all.len(), 50, n)].to_vec(), Some(all.len() as i64))
    })
    .await;
    let list = list.unwrap();
    assert!(list.settled && list.items.contains_key("p50"), "{:?}", list.items.keys());
    // p999 is inserted at the front, so every item moves back and one comes twice.
    let mut asked = 0;
    let (list, _) = read(|n| {
        asked += 1;
        let all: Vec<_> = if asked > 1 { std::iter::once(999).chain(0..101).collect() } else { (0..101).collect() };
        page(all[slice(all.len(), 50, n)].to_vec(), None)
    })
    .await;
    let list = list.unwrap();
    assert_eq!((list.items.len(), list.settled), (102, true));
    // A list that never stops changing is reported as such.
    let mut asked = 0;
    let (list, _) = read(|n| {
        asked += 1;
        page(slice(100 + asked, 50, n), Some(100 + asked as i64))
    })
    .await;
    assert!(!list.unwrap().settled);
}

#[tokio::test]
async fn a_list_without_an_end_is_an_error() {
    let (list, asked) = read(|n| page(n * 50..n * 50 + 50, None)).await;
    assert_eq!((list.unwrap_err().kind, asked), (FailureKind::TooManyPages, 200));
}

const LIST: &str = r#"{"code":0,"data":{"count":1,"pipelines":[{"pipelineId":"p","status":"PAUSED"}]}}"#;
const END: &str = r#"{"code":0,"data":{"count":0,"pipelines":[]}}"#;

fn paged(asked: &Asked) -> Do {
    std::thread::sleep(Duration::from_millis(60));
    say(if asked.target.contains("pageNo=1&") { LIST } else { END })
}

#[tokio::test]
async fn those_who_ask_together_share_one_poll() {
    let stub = Stub::start(|_, asked| paged(asked));
    let client = stub.client();
    let since = Instant::now();
    let lists = futures::future::join_all((0..100).map(|_| client.pipelines(ORG, since))).await;
    for list in lists {
        let list = list.unwrap();
        assert_eq!(list.items["p"].status, RunStatus::Paused);
        assert!(list.read_from >= since);
    }
    assert_eq!(stub.calls().len(), 2);
    let query = format!("/streaming/v2.0/streaming/pipelines?orgId={ORG}&pageSize=50&pageNo=1&isSystem=false&ifReleased=true");
    assert_eq!(stub.calls()[0].target, query);
    client.pipelines(ORG, since).await.unwrap();
    assert_eq!(stub.calls().len(), 2, "what is there is new enough");
    client.pipelines("o2", since).await.unwrap();
    assert_eq!(stub.calls().len(), 4, "another organization is another list");
}

#[tokio::test]
async fn those_who_come_later_share_the_next_poll() {
    let stub = Stub::start(|_, asked| paged(asked));
    let client = stub.client();
    client.pipelines(ORG, Instant::now()).await.unwrap();
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.pipelines(ORG, Instant::now()).await.unwrap() }
    });
    while stub.calls().len() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let since = Instant::now();
    let later = futures::future::join_all((0..20).map(|_| client.pipelines(ORG, since))).await;
    assert!(first.await.unwrap().read_from < since);
    assert!(later.iter().all(|list| list.as_ref().is_ok_and(|l| l.read_from >= since)));
    assert_eq!(stub.calls().len(), 6);
}

#[tokio::test]
async fn an_error_is_shared_and_forgotten() {
    let stub = Stub::start(|n, asked| {
        std::thread::sleep(Duration::from_millis(50));
        if n == 0 { say(r#"{"code":61115,"msg":"Failed to get stream processing jobs."}"#) } else { paged(asked) }
    });
    let client = stub.client();
    let since = Instant::now();
    let lists = futures::future::join_all((0..10).map(|_| client.pipelines(ORG, since))).await;
    assert!(lists.iter().all(|l| l.as_ref().is_err_and(|e| e.code == Some(61115))));
    assert_eq!(stub.calls().len(), 1);
    assert!(client.pipelines(ORG, since).await.is_ok());
}

#[tokio::test]
async fn one_who_goes_away_ends_nobody_elses_poll() {
    let stub = Stub::start(|_, asked| paged(asked));
    let client = stub.client();
    let since = Instant::now();
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.pipelines(ORG, since).await }
    });
    while stub.calls().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let second = client.pipelines(ORG, since);
    first.abort();
    assert!(second.await.is_ok());
    assert_eq!(stub.calls().len(), 2);
}

#[tokio::test]
async fn a_page_that_is_none_is_an_error_not_an_empty_list() {
    for body in [r#"{"code":0}"#, r#"{"code":0,"data":""}"#, r#"{"code":0,"data":{}}"#, r#"{"code":0,"data":7}"#] {
        let stub = Stub::start(move |_, _| say(body));
        let result = stub.client().pipelines(ORG, Instant::now()).await;
        assert_eq!(result.unwrap_err().kind, FailureKind::BadAnswer, "{body}");
    }
}
