use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;
use kafka_protocol::messages::offset_fetch_response::{OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics};
use kafka_protocol::messages::{ApiKey, GroupId, OffsetFetchResponse, TopicName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::attack::{Attack, Script};
use super::fields::Answer;
use super::spoil::spoiled;
use super::{HostileBroker, Options};

const FETCH: ApiKey = ApiKey::OffsetFetch;
const VERSION: i16 = 9;

/// What a broker answers about a group that stands at 7, 8 and 9.
fn fetched() -> OffsetFetchResponse {
    let row = |partition| {
        let row = OffsetFetchResponsePartitions::default();
        row.with_partition_index(partition).with_committed_offset(7 + i64::from(partition)).with_metadata(Some("m".into()))
    };
    let topic = OffsetFetchResponseTopics::default().with_name(TopicName("t".into())).with_partitions((0..3).map(row).collect());
    let group = OffsetFetchResponseGroup::default().with_group_id(GroupId("g".into())).with_topics(vec![topic]);
    OffsetFetchResponse::default().with_groups(vec![group])
}

fn body() -> Vec<u8> {
    Answer::OffsetFetch(fetched()).encode(VERSION).expect("it is of this version")
}

fn drawn(seed: u64, connection: u64) -> Vec<String> {
    let apis = [ApiKey::ApiVersions, ApiKey::Metadata, ApiKey::ConsumerGroupDescribe, FETCH, ApiKey::OffsetCommit];
    let mut script = Script::new(seed, connection, &[]);
    let strikes = apis.iter().cycle().take(500).map(|api| {
        let strike = script.next(*api);
        strike.map_or_else(String::new, |mut strike| format!("{} {api:?} {}", strike.attack, strike.rng.u64(..)))
    });
    strikes.collect()
}

#[test]
fn the_same_seed_gives_the_same_attacks_and_another_others() {
    assert_eq!(drawn(1, 0), drawn(1, 0));
    assert_ne!(drawn(1, 0), drawn(2, 0));
    assert_ne!(drawn(1, 0), drawn(1, 1));
    assert_ne!(drawn(1, 2), drawn(2, 1));
}

#[test]
fn every_attack_is_drawn_and_most_answers_are_left_in_order() {
    let all: Vec<_> = (0..200).flat_map(|connection| drawn(1, connection)).collect();
    let names: BTreeSet<_> = all.iter().filter_map(|drawn| drawn.split(' ').next()).collect();
    for attack in Attack::ALL.into_iter().filter(|attack| *attack != Attack::ResetOnAccept) {
        assert!(names.contains(attack.to_string().as_str()), "{attack}");
        assert_eq!(Attack::named(&attack.to_string()), Some(attack));
    }
    let struck = all.iter().filter(|drawn| !drawn.is_empty()).count();
    assert!(struck * 20 > all.len() && struck * 3 < all.len(), "{struck} of {}", all.len());
}

#[test]
fn a_field_is_changed_by_its_schema_and_nothing_else() {
    let mut rng = Rng::with_seed(1);
    let mut groups = BTreeSet::new();
    for _ in 0..100 {
        let changed = spoiled(Attack::WrongGroup, FETCH, VERSION, &body(), &mut rng).expect("it has a group");
        let Some(Answer::OffsetFetch(mut found)) = Answer::decode(FETCH, VERSION, &changed) else { panic!("it is well formed") };
        groups.insert(std::mem::replace(&mut found.groups[0].group_id, GroupId("g".into())).to_string());
        assert_eq!(found, fetched());
    }
    assert!(groups.len() > 5 && !groups.contains("g"), "{groups:?}");
}

#[test]
fn no_lie_about_offsets_is_near_a_truth() {
    let mut rng = Rng::with_seed(1);
    for _ in 0..100 {
        let changed = spoiled(Attack::WrongOffset, FETCH, VERSION, &body(), &mut rng).expect("it has offsets");
        let Some(Answer::OffsetFetch(found)) = Answer::decode(FETCH, VERSION, &changed) else { panic!("it is well formed") };
        let offsets: Vec<_> = found.groups[0].topics[0].partitions.iter().map(|p| p.committed_offset).collect();
        assert_ne!(offsets, [7, 8, 9]);
        assert!((0..).zip(&offsets).all(|(n, offset)| *offset == 7 + n || offset.unsigned_abs() > 1 << 20), "{offsets:?}");
    }
}

#[test]
fn counts_and_lengths_are_changed_where_they_are() {
    let mut rng = Rng::with_seed(1);
    for attack in [Attack::NegativeCount, Attack::HugeCount, Attack::Null, Attack::WrongLength] {
        for version in [5, VERSION] {
            let answer = match version {
                VERSION => Answer::OffsetFetch(fetched()),
                _ => Answer::decode(FETCH, version, &OLD).expect("it is of this version"),
            };
            let body = answer.encode(version).expect("it is of this version");
            for _ in 0..100 {
                let changed = spoiled(attack, FETCH, version, &body, &mut rng).unwrap_or_else(|| panic!("{attack} {version}"));
                assert_ne!(changed, body, "{attack} {version}");
                // It is not decoded: the crate takes memory for whatever a count says.
                assert!(changed.len() + 3 > body.len() && changed.len() < body.len() + 12, "{attack} {version}");
            }
        }
    }
}

/// Of version 5: no time to wait, topic "t", partition 0 at 7 without an epoch, metadata "m", no error; none for all.
#[rustfmt::skip]
const OLD: [u8; 38] = [
    0, 0, 0, 0, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0xff, 0xff, 0xff, 0xff, 0, 1, b'm', 0, 0, 0, 0,
];

/// Answers each request with the same body.
async fn broker() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                while let Ok(size) = client.read_i32().await {
                    let mut request = vec![0; usize::try_from(size).expect("a size")];
                    client.read_exact(&mut request).await.expect("a request");
                    let answer = [&request[4..8], &[0], &body()].concat();
                    let size = i32::try_from(answer.len()).expect("a size");
                    if client.write_all(&[&size.to_be_bytes(), answer.as_slice()].concat()).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

async fn hostile(only: &[Attack], honest: bool) -> (HostileBroker, String) {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address").to_string();
    let options = Options { seed: 1, only: only.to_vec(), deadline: Duration::from_millis(50) };
    (HostileBroker::serve(socket, broker().await, options, honest).expect("it listens"), address)
}

/// Asks so often, one after the other, and tells what came.
async fn ask(address: &str, times: i32) -> Vec<Option<Vec<u8>>> {
    // It may be reset as soon as it is made.
    let Ok(mut stream) = TcpStream::connect(address).await else { return Vec::new() };
    stream.set_nodelay(true).expect("it is open");
    let mut answers = Vec::new();
    for id in 1..=times {
        let request = [&(FETCH as i16).to_be_bytes()[..], &VERSION.to_be_bytes(), &id.to_be_bytes(), b"rest"].concat();
        let asked = async {
            stream.write_i32(i32::try_from(request.len()).expect("a size")).await?;
            stream.write_all(&request).await?;
            let mut answer = vec![0; usize::try_from(stream.read_i32().await?).unwrap_or_default().min(1 << 20)];
            stream.read_exact(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        answers.push(tokio::time::timeout(Duration::from_secs(5), asked).await.ok().and_then(Result::ok));
    }
    answers
}

fn truth(id: i32) -> Option<Vec<u8>> {
    Some([&id.to_be_bytes()[..], &[0], &body()].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_one_passes_everything_on_and_a_hostile_one_does_not() {
    let (broker, address) = hostile(&[Attack::OtherCorrelationId], true).await;
    let truths: Vec<_> = (1..=50).map(truth).collect();
    assert_eq!(ask(&address, 50).await, truths);
    assert!(broker.struck().is_empty());
    assert_eq!(broker.answers().into_iter().collect::<Vec<_>>(), [(("OffsetFetch".to_owned(), true), 50)]);
    broker.set_honest(false);
    let mut others = 0;
    for _ in 0..20 {
        others += ask(&address, 50).await.iter().zip(&truths).filter(|(found, truth)| found != truth).count();
    }
    assert!(others > 0 && others == broker.struck().len(), "{others} of {}", broker.struck().len());
    broker.set_honest(true);
    assert_eq!(ask(&address, 50).await, truths);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_end_by_a_reset_or_are_flooded() {
    for attack in [Attack::ResetBefore, Attack::ResetMidAnswer, Attack::Gigabyte, Attack::Flood, Attack::ResetOnAccept] {
        let (broker, address) = hostile(&[attack], false).await;
        for _ in 0..200 {
            if !broker.struck().is_empty() {
                break;
            }
            ask(&address, 5).await;
        }
        assert_eq!(broker.struck().first().map(|struck| struck.attack), Some(attack));
    }
}
