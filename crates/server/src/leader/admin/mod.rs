//! What operators ask the leader's loop, and order it to do.
//!
//! A question is answered between two passes, from the records and from what was seen; an order becomes a record
//! like every other decision. Answers leave after the commit: what they say is durable.

mod accounts;
mod ask;
mod feed;
mod info;
mod order;
mod status;
mod timeline;

use std::fmt;

pub use accounts::QuotaLine;
pub(super) use feed::Feed;
pub use feed::{Delta, JobChange, MachineChange, Watching};
pub use info::{JobInfo, MachineInfo};
pub use order::{CancelRefused, Ordered};
pub use status::{ReplicaLine, ShardLine, SourceLine, Status};
pub(crate) use timeline::of_history;
pub use timeline::{JobStory, Remark};

use tokio::sync::oneshot;

use super::{
    effect::Effect,
    input::{Handle, Input, LeaderGone},
    state::Leader,
};

type Answer = Box<dyn FnOnce() + Send>;
type Look = Box<dyn FnOnce(&mut Leader) -> Answer + Send>;

/// Somebody who looks at the leader's state, or changes it, in its own loop.
pub(in crate::leader) struct Visit {
    look: Look,
    /// It only reads: no pass follows from it.
    pub reads: bool,
}

impl fmt::Debug for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visit").field("reads", &self.reads).finish()
    }
}

impl Handle {
    /// Runs `look` in the leader's loop; its answer comes after the next commit.
    pub(super) async fn visit<T: Send + 'static>(
        &self,
        reads: bool,
        look: impl FnOnce(&mut Leader) -> T + Send + 'static,
    ) -> Result<T, LeaderGone> {
        let (reply, answer) = oneshot::channel();
        let look: Look = Box::new(move |leader| {
            let found = look(leader);
            // Who hung up does not want to know.
            Box::new(move || drop(reply.send(found)))
        });
        let visit = Visit { look, reads };
        self.inputs()?
            .send(Input::Visit(visit))
            .await
            .map_err(|_| LeaderGone)?;
        answer.await.map_err(|_| LeaderGone)
    }
}

impl Leader {
    pub(super) fn on_visit(&mut self, visit: Visit) {
        let answer = (visit.look)(self);
        self.effects.push(Effect::Answer(answer));
    }
}
