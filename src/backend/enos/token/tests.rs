//! When a token is used, refreshed and asked for again.

use crate::backend::enos::operation::Operation;
use std::sync::Mutex as Plain;

use super::*;
use crate::backend::enos::failure::Effect;

/// Gives answers in order, and remembers each question: the token to refresh, or None.
struct Script {
    answers: Plain<Vec<Result<(&'static str, i64), i64>>>,
    asked: Plain<Vec<Option<String>>>,
}

impl Script {
    fn new(mut answers: Vec<Result<(&'static str, i64), i64>>) -> Self {
        answers.reverse();
        Self { answers: Plain::new(answers), asked: Plain::default() }
    }

    fn asked(&self) -> Vec<Option<String>> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

impl TokenService for Script {
    async fn ask(&self, refresh: Option<&str>) -> Result<Token, Failure> {
        self.asked.lock().unwrap().push(refresh.map(str::to_owned));
        tokio::task::yield_now().await;
        match self.answers.lock().unwrap().pop().unwrap() {
            // A negative life stands for a token that was fetched long ago.
            Ok((value, life)) if life < 0 => {
                Ok(Token::new(value.into(), Some(7200), Instant::now() - Duration::from_secs((7200 + life) as u64)))
            }
            Ok((value, life)) => Ok(Token::new(value.into(), Some(life), Instant::now())),
            Err(0) => Err(Failure::new(Operation::GetToken, FailureKind::Timeout, Effect::Unknown, "")),
            Err(code) => {
                let kind = if code == 1003 { FailureKind::Unauthorized } else { FailureKind::Platform };
                Err(Failure { code: Some(code), ..Failure::new(Operation::GetToken, kind, Effect::Refused, "") })
            }
        }
    }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn a_token_is_refreshed_ten_minutes_before_its_end_or_at_half_of_its_life() {
    let now = Instant::now();
    for (life, refresh, end) in [
        (Some(7200), 6600, 7200),
        (Some(1200), 600, 1200),
        (Some(600), 300, 600),
        (Some(10), 5, 10),
        (Some(0), 0, 0),
        (Some(-5), 0, 0),
        (None, 300, 600),
        (Some(i64::MAX), 85_800, 86_400),
    ] {
        let token = Token::new("t".into(), life, now);
        assert_eq!((token.refresh_at - now, token.ends - now), (seconds(refresh), seconds(end)), "{life:?}");
    }
}

#[tokio::test]
async fn one_that_nears_its_end_is_refreshed_and_a_failed_refresh_is_a_get() {
    // 300 s left: due for a refresh.
    let script = Script::new(vec![Ok(("a", -300)), Ok(("b", -300)), Err(1204), Ok(("c", 7200))]);
    let tokens = Tokens::default();
    assert_eq!(tokens.get(&script).await.unwrap().value(), "a");
    assert_eq!(tokens.get(&script).await.unwrap().value(), "b");
    assert_eq!(tokens.get(&script).await.unwrap().value(), "c");
    assert_eq!(tokens.get(&script).await.unwrap().value(), "c");
    assert_eq!(script.asked(), [None, Some("a".into()), Some("b".into()), None]);
}

#[tokio::test]
async fn one_that_cannot_be_refreshed_now_is_used_on() {
    let script = Script::new(vec![Ok(("a", -300)), Err(0)]);
    let tokens = Tokens::default();
    for _ in 0..3 {
        assert_eq!(tokens.get(&script).await.unwrap().value(), "a");
    }
    assert_eq!(script.asked().len(), 2, "not refreshed again at once");
}

#[tokio::test]
async fn only_the_one_in_use_is_discarded() {
    let script = Script::new(vec![Ok(("a", 7200)), Ok(("b", 7200))]);
    let tokens = Tokens::default();
    let a = tokens.get(&script).await.unwrap();
    tokens.discard(&a).await;
    assert_eq!(tokens.get(&script).await.unwrap().value(), "b");
    tokens.discard(&a).await;
    assert_eq!(tokens.get(&script).await.unwrap().value(), "b");
}

#[tokio::test]
async fn those_who_wait_share_a_failure_and_later_ones_ask_again() {
    let script = Script::new(vec![Err(0), Ok(("a", 7200))]);
    let tokens = Tokens::default();
    let together = futures::future::join_all((0..5).map(|_| tokens.get(&script))).await;
    assert!(together.iter().all(|t| t.as_ref().is_err_and(|e| e.effect == Effect::NotSent)));
    assert_eq!(tokens.get(&script).await.unwrap().value(), "a");
}

#[tokio::test]
async fn a_repeated_encryption_is_asked_once_more() {
    let script = Script::new(vec![Err(1001), Ok(("a", 7200))]);
    assert_eq!(Tokens::default().get(&script).await.unwrap().value(), "a");
    let script = Script::new(vec![Err(1001), Err(1001)]);
    assert_eq!(Tokens::default().get(&script).await.err().and_then(|e| e.code), Some(1001));
}

#[tokio::test]
async fn refused_credentials_are_asked_for_ever_less_often() {
    let failure = Failure { code: Some(1003), ..Failure::new(Operation::GetToken, FailureKind::Unauthorized, Effect::Refused, "") };
    let mut now = Instant::now();
    let mut state = State::default();
    for (before, penalty) in [1, 2, 4, 8, 16, 32, 60, 60].into_iter().enumerate() {
        assert!(state.refused(&failure, u32::try_from(before).unwrap(), now));
        assert!(!state.refused(&failure, 99, now), "together they count once");
        let last = now + seconds(penalty) - Duration::from_millis(1);
        assert!(matches!(state.need(last), Need::Wait(f) if f.effect == Effect::NotSent && f.retry_after.is_some()));
        now += seconds(penalty);
        assert!(matches!(state.need(now), Need::Get));
    }
    let script = Script::new(vec![Err(1003)]);
    let tokens = Tokens::default();
    for _ in 0..5 {
        assert_eq!(tokens.get(&script).await.err().and_then(|e| e.code), Some(1003));
    }
    assert_eq!(script.asked().len(), 1);
}

#[test]
fn stamps_strictly_increase() {
    let stamps = Stamps::default();
    assert_eq!([1000, 1000, 999, 1001, 5000, 0].map(|now| stamps.next(now)), [1000, 1001, 1002, 1003, 5000, 5001]);
}
