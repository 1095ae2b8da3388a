//! The guest's talk with gust: it claims at one replica after the other, and says when it is done.

use std::{sync::Arc, time::Duration};

use gust_core::{claim::Proof, ids::JobId};
use gust_server::{
    leader::{Assignment, ClaimReply, Handle, LeaderGone},
    task::Dice,
};
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use super::{
    super::{
        net::{Net, Point},
        world::Shared,
    },
    Doors, proof_of,
};

/// One try to claim takes at most so long.
const TRY: Duration = Duration::from_secs(10);
/// One try to say that it is done.
const DONE: Duration = Duration::from_secs(3);
/// It claims for so long, then it powers off.
const PATIENCE: Duration = Duration::from_secs(600);
/// Waits between rounds grow from the first to the second.
const WAITS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// The guest of one machine, from one boot to its end.
pub(super) struct Guest {
    pub world: Shared,
    pub net: Net,
    pub doors: Doors,
    pub dice: Dice,
    pub stop: Arc<Notify>,
    pub instance: u64,
    pub turn: u32,
}

impl Guest {
    pub async fn live(self) {
        if let Some(proof) = self.prove() {
            let assignment = tokio::select! {
                biased;
                () = self.stop.notified() => None,
                assignment = self.claim(&proof) => assignment,
            };
            if let Some(assignment) = assignment {
                self.work(&proof, &assignment).await;
                self.done(&proof, assignment.job.id).await;
            }
        }
        self.world
            .call(|world, now, out| world.gce.guest_ended(now, self.instance, self.turn, true, out));
    }

    // A key of its own for each boot: it is kept in memory only.
    fn prove(&self) -> Option<Proof> {
        self.world.read(|world| {
            let instance = world.gce.instance(self.instance)?;
            let key = format!("key-of-{}-{}", instance.id, self.turn);
            proof_of(&world.gce, instance, key)
        })
    }

    /// The replicas in the order in which this machine asks them.
    fn in_turn(&self) -> impl Iterator<Item = usize> + use<> {
        let count = self.doors.count();
        // Machines that boot together begin with different replicas.
        let first = usize::try_from(self.instance % count.max(1) as u64).unwrap_or_default();
        (0..count).map(move |n| (first + n) % count)
    }

    async fn claim(&self, proof: &Proof) -> Option<Assignment> {
        let deadline = Instant::now() + PATIENCE;
        let mut wait = WAITS.0;
        loop {
            for replica in self.in_turn() {
                let answer = ask(&self.net, &self.doors, replica, proof).await;
                match answer {
                    Some(Ok(ClaimReply::Assigned(assignment))) => return Some(assignment),
                    Some(Ok(ClaimReply::NoJob(_) | ClaimReply::Refused(_))) => return None,
                    Some(Ok(ClaimReply::NotYet(_)) | Err(LeaderGone)) | None => {}
                }
            }
            if Instant::now() + wait >= deadline {
                return None;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(WAITS.1);
        }
    }

    /// Tells gust that Google takes the machine back, if that is why it is to stop: beside the agent's end.
    pub(super) fn reclaimed(&self, proof: &Proof) -> Option<oneshot::Receiver<()>> {
        let preempted = self.world.read(|world| {
            let instance = world.gce.instance(self.instance);
            instance.is_some_and(|instance| instance.is_preempted)
        });
        if !preempted {
            return None;
        }
        let (over, told) = oneshot::channel();
        let (net, doors, turns) = (self.net.clone(), self.doors.clone(), self.in_turn());
        let proof = proof.clone();
        self.net.tasks.detach("guest reclaimed", async move {
            for replica in turns {
                let proof = proof.clone();
                let told = exchange(&net, &doors, (replica, Point::GuestDone, DONE), move |handle| {
                    let proof = proof.clone();
                    async move { handle.reclaimed(proof.machine, proof.key).await }
                });
                if let Some(Ok(())) = told.await {
                    break;
                }
            }
            // Who waited has gone if its machine is off.
            let _ = over.send(());
        });
        Some(told)
    }

    // Gust sees the machine go in its lists, too: this is only faster.
    async fn done(&self, proof: &Proof, job: JobId) {
        for replica in self.in_turn() {
            let proof = proof.clone();
            let said = exchange(
                &self.net,
                &self.doors,
                (replica, Point::GuestDone, DONE),
                move |handle| {
                    let proof = proof.clone();
                    async move { handle.done(proof.machine, job, proof.key).await }
                },
            );
            if let Some(Ok(())) = said.await {
                return;
            }
        }
    }
}

/// Claims at one replica. `None` without an answer in time.
pub(super) async fn ask(
    net: &Net,
    doors: &Doors,
    replica: usize,
    proof: &Proof,
) -> Option<Result<ClaimReply, LeaderGone>> {
    let proof = proof.clone();
    exchange(net, doors, (replica, Point::GuestClaim, TRY), move |handle| {
        let proof = proof.clone();
        async move { handle.claim(proof).await }
    })
    .await
}

/// A call to a replica: it is out of the caller's hands once it has left, and may come twice.
async fn exchange<T, F>(
    net: &Net,
    doors: &Doors,
    (replica, point, deadline): (usize, Point, Duration),
    call: impl Fn(Handle) -> F + Send + 'static,
) -> Option<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let (doors, tasks) = (doors.clone(), net.tasks.clone());
    let effect = move || {
        let (reply, answer) = oneshot::channel();
        // A replica that is down refuses the connection.
        if let Some(handle) = doors.get(replica) {
            let call = call(handle);
            tasks.detach("guest call", async move {
                // The caller may have given up.
                let _ = reply.send(call.await);
            });
        }
        answer
    };
    let whole = async {
        net.deliver(replica, point, deadline, effect)
            .await
            .ok()?
            .await
            .ok()
    };
    tokio::time::timeout(deadline, whole).await.ok().flatten()
}
