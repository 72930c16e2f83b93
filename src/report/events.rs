//! Who writes events. kube's recorder keeps each event for six minutes, so that one that happens again is counted and not written anew. But
//! each reset has events of its own, thousands in a busy minute. So after so many a new recorder begins.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, Recorder, Reporter};
use parking_lot::Mutex;

/// An event that happens again across a change of recorders is written anew, which harms nobody.
const OF_ONE_RECORDER: usize = 200;

/// See the module's own comment.
pub struct Events {
    client: Client,
    reporter: Reporter,
    /// The recorder of now, and how many events it was given.
    now: Mutex<(Recorder, usize)>,
}

impl Events {
    pub fn new(client: Client, reporter: Reporter) -> Self {
        let now = Mutex::new((Recorder::new(client.clone(), reporter.clone()), 0));
        Self { client, reporter, now }
    }

    /// # Errors
    /// The API server did not take it.
    pub async fn publish(&self, event: &Event, about: &ObjectReference) -> Result<(), kube::Error> {
        self.recorder().publish(event, about).await
    }

    fn recorder(&self) -> Recorder {
        let mut now = self.now.lock();
        if now.1 >= OF_ONE_RECORDER {
            *now = (Recorder::new(self.client.clone(), self.reporter.clone()), 0);
        }
        now.1 += 1;
        now.0.clone()
    }
}
