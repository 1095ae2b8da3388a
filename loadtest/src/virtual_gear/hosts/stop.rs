//! Replicas that are asked to end, and do.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{HostEvent, Hosts};

/// Who has not ended so long after it was asked to is killed, as Kubernetes does it.
const PATIENCE: Duration = Duration::from_secs(30);

impl Hosts {
    /// `ask` asks the replica that was just begun to end.
    pub fn ends_by(&self, replica: usize, ask: CancellationToken) {
        if let Some(host) = self.host(replica) {
            host.state().ask = Some(ask);
        }
    }

    /// Asks a replica to end; it is begun again `down` after it has, with a build so many versions later. False if it was
    /// down, or was asked before.
    pub fn stop(&self, replica: usize, down: Duration, versions: u32) -> bool {
        let Some(host) = self.host(replica) else {
            return false;
        };
        let (ask, life) = {
            let mut state = host.state();
            let Some(ask) = state.ask.take() else {
                return false;
            };
            state.ending = Some((down, versions));
            (ask, state.life)
        };
        ask.cancel();
        let hosts = self.clone();
        self.inner.world.spawn("grace", async move {
            tokio::time::sleep(PATIENCE).await;
            let lives_on = hosts.host(replica).is_some_and(|host| host.state().life == life);
            if lives_on {
                hosts.has_ended(replica);
            }
        });
        true
    }

    /// A replica has ended. If it was asked to it begins again in due time; if not it stays.
    pub fn has_ended(&self, replica: usize) {
        let Some(host) = self.host(replica) else { return };
        let Some((down, versions)) = host.state().ending else {
            return;
        };
        if self.crash(replica, down, false) && versions > 0 {
            let build = {
                let mut state = host.state();
                state.build += versions;
                state.build
            };
            (self.inner.told)(replica, HostEvent::Upgraded(build));
        }
    }

    /// By how many versions the build of a replica is later than the first.
    pub fn build(&self, replica: usize) -> u32 {
        self.host(replica).map_or(0, |host| host.state().build)
    }
}
