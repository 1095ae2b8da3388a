//! Identity tokens: the claims of wire reference section 7, and how faults bend them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::Model;
use super::keys::Keys;
use crate::event::{Effects, Event, Host};
use crate::fault::Faults;
use crate::gce;
use crate::now::Now;

/// How long a token is good.
const LIFE_S: i64 = 3600;

/// Claims of an identity token.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Claims {
    /// Audience that was asked for.
    pub aud: String,
    /// Authorized party: the account's number.
    pub azp: String,
    /// The account; only with `format=full`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// True with an e-mail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_verified: Option<bool>,
    /// End of life, seconds since the Unix epoch.
    pub exp: i64,
    /// The machine; only with `format=full`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub google: Option<GoogleClaims>,
    /// Time of issue, seconds since the Unix epoch.
    pub iat: i64,
    /// `https://accounts.google.com`.
    pub iss: &'static str,
    /// The account's number.
    pub sub: String,
}

/// `google`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GoogleClaims {
    /// The machine.
    pub compute_engine: ComputeEngine,
}

/// `google.compute_engine`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComputeEngine {
    /// Seconds since the Unix epoch.
    pub instance_creation_timestamp: i64,
    /// Its id, as text.
    pub instance_id: String,
    /// Its name.
    pub instance_name: String,
    /// Its project.
    pub project_id: String,
    /// The project's number.
    pub project_number: u64,
    /// Its zone, by name.
    pub zone: String,
    /// Licences; only when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license_id: Option<Vec<String>>,
}

/// What a machine asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub audience: &'a str,
    pub is_full: bool,
    pub licenses: bool,
}

/// The account of an instance: its e-mail, `None` if it has none.
pub(crate) fn account(gce: &gce::Model, instance: &gce::Instance) -> Option<String> {
    let (email, _) = instance.shape.template.service_account.as_ref()?;
    Some(match email.as_str() {
        "default" => format!(
            "{}-compute@developer.gserviceaccount.com",
            gce.project_of(instance).1
        ),
        email => email.to_owned(),
    })
}

/// A number of 21 digits that always goes with the same e-mail.
fn number_of(email: &str) -> String {
    let hash = email.bytes().fold(14_695_981_039_346_656_037_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(1_099_511_628_211)
    });
    format!("1{hash:020}")
}

/// A token that is granted and told in the log, and not signed yet: signing takes the most time of all, and needs
/// nothing of the world.
pub struct Granted {
    claims: Claims,
    with_wrong_key: bool,
    keys: Arc<Keys>,
    /// How long a fault delays it.
    pub delay: Duration,
}

impl Granted {
    /// The token, signed.
    pub fn sign(&self) -> String {
        self.keys.sign(&self.claims, self.with_wrong_key)
    }
}

impl Model {
    /// A token for the instance. `None` without a service account.
    pub(crate) fn grant(
        &self,
        gce: &gce::Model,
        faults: &mut Faults,
        now: Now,
        instance: &gce::Instance,
        ask: Ask<'_>,
        out: &mut Effects,
    ) -> Option<Granted> {
        let email = account(gce, instance)?;
        let (project, project_number) = gce.project_of(instance);
        let id = instance.id.to_string();
        let subject = BTreeMap::from([
            ("instance", &*instance.name),
            ("name", &*instance.name),
            ("zone", &*instance.zone),
            ("project", project),
        ]);
        let mut met = |kind: &str| faults.check(now, kind, &subject, out).cloned();
        let stale = met("identity.stale").map(|fault| fault.number("age_s").unwrap_or(7200.0));
        let with_wrong_key = met("identity.wrong-key").is_some();
        let slow = met("identity.slow").map(|fault| fault.number("delay_s").unwrap_or(10.0));
        let iat = (now.unix_ns.div_euclid(1_000_000_000)) as i64 - stale.unwrap_or_default() as i64;
        let created = instance.created_ns.div_euclid(1_000_000_000) as i64;
        let google = GoogleClaims {
            compute_engine: ComputeEngine {
                instance_creation_timestamp: created,
                instance_id: id,
                instance_name: instance.name.to_string(),
                project_id: project.to_owned(),
                project_number,
                zone: instance.zone.to_string(),
                license_id: ask.licenses.then(Vec::new),
            },
        };
        let claims = Claims {
            aud: ask.audience.to_owned(),
            azp: number_of(&email),
            sub: number_of(&email),
            email: ask.is_full.then_some(email),
            email_verified: ask.is_full.then_some(true),
            exp: iat + LIFE_S,
            google: ask.is_full.then_some(google),
            iat,
            iss: "https://accounts.google.com",
        };
        out.push(
            Event::new(Host::Metadata, "identity.minted")
                .with("instance", &*instance.name)
                .with("audience", ask.audience)
                .with("format", if ask.is_full { "full" } else { "standard" }),
        );
        let delay = slow
            .and_then(|slow| Duration::try_from_secs_f64(slow).ok())
            .unwrap_or_default();
        Some(Granted {
            claims,
            with_wrong_key,
            keys: self.keys.clone(),
            delay,
        })
    }

    /// A token for the instance of that id, for machines that need no wire to ask for it; `None` if there is no such
    /// instance or it has no service account.
    pub fn identity(
        &self,
        call: &mut gce::Call<'_>,
        gce: &gce::Model,
        instance: u64,
        audience: &str,
    ) -> Option<Granted> {
        let instance = gce.instance(instance)?;
        let ask = Ask {
            audience,
            is_full: true,
            licenses: false,
        };
        self.grant(gce, call.faults, call.now, instance, ask, call.out)
    }
}
