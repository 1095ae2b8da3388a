//! The members of a cluster, and which of them is asked.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::{Endpoints, Tls};

/// Between two signs of life on an idle connection, and how long one is waited for.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// One member. Cheap to clone.
#[derive(Clone)]
pub(super) struct Member(Arc<Inner>);

struct Inner {
    number: usize,
    url: String,
    options: ConnectOptions,
    /// Made at the first call: with a user it is a call itself, and may fail.
    client: Mutex<Option<Client>>,
}

impl Member {
    /// Its place in the configuration.
    pub fn number(&self) -> usize {
        self.0.number
    }

    /// Its connection, which is made anew by itself when it breaks.
    pub async fn client(&self) -> Result<Client, etcd_client::Error> {
        let mut slot = self.0.client.lock().await;
        if let Some(client) = &*slot {
            return Ok(client.clone());
        }
        let client = Client::connect([&self.0.url], Some(self.0.options.clone())).await?;
        Ok(slot.insert(client).clone())
    }
}

/// All members.
pub(super) struct Members {
    all: Vec<Member>,
    at: AtomicUsize,
    /// The member that answered last, plus one; 0 before the first answer.
    good: AtomicUsize,
    deadline: Duration,
}

impl Members {
    pub fn new(endpoints: Endpoints) -> Result<Self, String> {
        if endpoints.urls.is_empty() {
            return Err("no member of etcd is named".to_owned());
        }
        let mut options = ConnectOptions::new()
            .with_connect_timeout(endpoints.deadline)
            .with_keep_alive(KEEP_ALIVE, KEEP_ALIVE)
            .with_keep_alive_while_idle(true)
            // A member that is cut off from the others ends its streams, and answers nothing from memory.
            .with_require_leader(true);
        if let Some((name, password)) = &endpoints.user {
            options = options
                .with_user(name, password.reveal())
                .with_auto_token_refresh(true);
        }
        let member = |(number, url): (usize, String)| {
            let options = match &endpoints.tls {
                Some(tls) if url.starts_with("https://") => options.clone().with_tls(trust(tls)),
                Some(_) => return Err(format!("{url} is not encrypted, although TLS is set up")),
                None => options.clone(),
            };
            Ok(Member(Arc::new(Inner {
                number,
                url,
                options,
                client: Mutex::default(),
            })))
        };
        let all = endpoints.urls.into_iter().enumerate().map(member);
        Ok(Self {
            all: all.collect::<Result<_, _>>()?,
            at: AtomicUsize::new(0),
            good: AtomicUsize::new(0),
            deadline: endpoints.deadline,
        })
    }

    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// The member that is asked at present.
    pub fn at_hand(&self) -> Member {
        self.all[self.at.load(Ordering::Relaxed) % self.all.len()].clone()
    }

    /// A member answered.
    pub fn answered(&self, member: &Member) {
        let now = member.number() + 1;
        let before = self.good.swap(now, Ordering::Relaxed);
        if before != now {
            info!(member = member.0.url, "etcd answers");
        }
    }

    /// A member gave no clear answer: the next one is asked from now on, unless somebody has turned to another already.
    pub fn leave(&self, member: &Member, problem: &str) {
        let (from, to) = (member.number(), (member.number() + 1) % self.all.len());
        let moved = self
            .at
            .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
        let was_good = self
            .good
            .compare_exchange(from + 1, 0, Ordering::Relaxed, Ordering::Relaxed);
        if moved.is_ok() && was_good.is_ok() {
            warn!(
                member = member.0.url,
                next = self.all[to].0.url,
                problem,
                "a member of etcd does not answer; the next is asked"
            );
        }
    }
}

fn trust(tls: &Tls) -> TlsOptions {
    let options = TlsOptions::new().ca_certificate(Certificate::from_pem(&tls.authority));
    match &tls.identity {
        Some((certificate, key)) => options.identity(Identity::from_pem(certificate, key.reveal())),
        None => options,
    }
}
