//! The calls that move a group: its commits, and then the deletion of commits. Each is sent at most once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::admin::{AdminError, KafkaCode, OffsetCommit, PerPartition};
use super::{Kafka, clock};
use stream_pipeline_api::Reason;
use stream_pipeline_core::{Aim, Cause, SendOutcome, TopicPartition};

impl Kafka {
    /// Nothing is deleted before every commit of the same send is in place, nor after `not_after`: then the deletions count as refused.
    pub async fn send(&self, changes: &[(TopicPartition, Aim)], not_after: Instant) -> SendOutcome {
        let began = clock::mono();
        let commits: Vec<_> = changes.iter().filter_map(|(at, aim)| commit(at, aim)).collect();
        let deletions: Vec<_> = changes.iter().filter(|(_, aim)| *aim == Aim::Delete).map(|(at, _)| at.clone()).collect();
        let committed = match commits.as_slice() {
            [] => SendOutcome::Answered { refused: BTreeMap::new() },
            commits => {
                let asked: Vec<_> = commits.iter().map(|c| TopicPartition::new(&c.topic, c.partition)).collect();
                let answers = self.client.alter_consumer_group_offsets(&self.backend.group, commits, self.deadline).await;
                self.outcome(&asked, answers).await
            }
        };
        let SendOutcome::Answered { mut refused } = committed else { return committed };
        if deletions.is_empty() {
            return SendOutcome::Answered { refused };
        }
        let now = clock::mono();
        // Both calls together take no longer than one may.
        let left = self.deadline.saturating_sub(now.saturating_duration_since(began));
        if !refused.is_empty() || now >= not_after || left == Duration::ZERO {
            refused.extend(deletions.into_iter().map(|at| (at, KafkaCode::NOT_SENT.0)));
            return SendOutcome::Answered { refused };
        }
        let answers = self.client.delete_consumer_group_offsets(&self.backend.group, &deletions, left).await;
        self.outcome(&deletions, answers).await
    }

    async fn outcome(&self, asked: &[TopicPartition], answers: Result<PerPartition<()>, AdminError>) -> SendOutcome {
        let unclear = |text: String| Cause::new(Reason::OutcomeUnknown, text);
        let cause = match answers {
            Ok(answers) => match answers.iter().find_map(|(_, r)| r.err().filter(|code| code.may_have_been_applied())) {
                None => {
                    let refused = answers.into_iter().filter_map(|(at, r)| r.err().map(|code| (at, code.0))).collect();
                    return SendOutcome::Answered { refused };
                }
                Some(code) => unclear(format!("the broker answered {code}, which does not say whether the offsets were written")),
            },
            Err(error) if !error.is_ambiguous() => {
                let code = error.code().unwrap_or(KafkaCode::INVALID_ARGUMENT).0;
                return SendOutcome::Answered { refused: asked.iter().map(|at| (at.clone(), code)).collect() };
            }
            Err(error) => {
                // Once the client's process has ended, nothing more can be sent: the wait before reading back starts then.
                self.client.retire();
                if tokio::time::timeout(2 * self.deadline, self.client.process_ended()).await.is_err() {
                    tracing::warn!("The process of a retired Kafka client has not ended yet");
                }
                unclear(self.cause_about(&error, asked.iter().map(|at| at.topic.as_str())).message)
            }
        };
        SendOutcome::Unanswered { ended: clock::mono(), cause }
    }
}

fn commit(at: &TopicPartition, aim: &Aim) -> Option<OffsetCommit> {
    let Aim::Commit(to) = aim else { return None };
    Some(OffsetCommit {
        topic: at.topic.clone(),
        partition: at.partition,
        offset: to.offset,
        leader_epoch: to.leader_epoch,
        metadata: Some(to.metadata.clone()).filter(|metadata| !metadata.is_empty()),
    })
}
