//! A job's own code that claims in its machine's name with a key of its own. Whatever it is given, it uses.

use gust_core::ids::MachineName;
use gust_fakes::{buildkite::Registration, gce};
use gust_server::leader::ClaimReply;

use super::{
    super::{net::Net, witness::Witness, world::Shared},
    Doors,
    guest::ask,
    proof_of,
};

/// Attacks in the name of machines. Cheap to clone.
#[derive(Clone)]
pub(in super::super) struct Attackers {
    pub world: Shared,
    pub net: Net,
    pub doors: Doors,
    pub witness: Witness,
}

impl Attackers {
    /// Claims in the name of a machine, at every replica. False if there is no such machine.
    pub fn strike(&self, machine: &MachineName) -> bool {
        let proof = self.world.read(|world| {
            let instance = world.gce.instance_named(machine.as_str())?;
            let is_up = instance.status == gce::Status::Running;
            is_up.then(|| {
                proof_of(
                    &world.gce,
                    instance,
                    format!("key-of-an-attacker-on-{}", instance.id),
                )
            })?
        });
        let Some(proof) = proof else { return false };
        let attack = self.clone();
        self.net.tasks.spawn("attack", async move {
            for replica in 0..attack.doors.count() {
                let answer = ask(&attack.net, &attack.doors, replica, &proof).await;
                if let Some(Ok(answer)) = &answer {
                    let (at, has_token) = (attack.world.elapsed(), matches!(answer, ClaimReply::Assigned(_)));
                    let name = proof.machine.as_str();
                    attack
                        .witness
                        .tell(|checker| checker.stranger(at, name, has_token));
                }
                if let Some(Ok(ClaimReply::Assigned(assignment))) = answer {
                    let registration = Registration {
                        name: format!("attacker-on-{}", proof.machine),
                        hostname: proof.machine.to_string(),
                        tags: assignment.tags.clone(),
                        version: "attacker".to_owned(),
                        ..Registration::default()
                    };
                    // Everybody can see it in Buildkite's log if that works.
                    let _ = attack.world.call(|world, now, out| {
                        let token = assignment.token.reveal();
                        world.buildkite.register_agent(now, token, registration, out)
                    });
                }
            }
        });
        true
    }
}
