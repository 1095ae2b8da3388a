//! Sends webhook deliveries when they are due. Those of one webhook go one after the other, in the order of the
//! outbox; webhooks do not wait for each other.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::{Client, redirect};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::http::shared::Shared;
use crate::http::task;
use crate::outbox::{Parcel, Sent};

/// Sends until cancelled.
pub(super) async fn run(shared: Shared, cancel: CancellationToken) {
    let client = match Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .build()
    {
        Ok(client) => client,
        Err(error) => {
            warn!(%error, "webhooks cannot be sent");
            return;
        }
    };
    let mut lines: BTreeMap<String, mpsc::UnboundedSender<Parcel>> = BTreeMap::new();
    let mut posted = shared.posted();
    loop {
        posted.mark_unchanged();
        let (due, next) = shared.with(None, |world, now, _| {
            (world.outbox.due(now), world.outbox.next_due())
        });
        for parcel in due {
            let line = lines.entry(parcel.delivery.webhook.clone()).or_insert_with(|| {
                let (sender, receiver) = mpsc::unbounded_channel();
                task::spawn(
                    "webhook",
                    send(client.clone(), shared.clone(), receiver, cancel.clone()),
                );
                sender
            });
            // A line ends with the process only.
            let _ = line.send(parcel);
        }
        let sleep = async {
            match next {
                Some(due) => shared.clock().sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            changed = posted.changed() => if changed.is_err() { return },
            () = sleep => {}
        }
    }
}

/// The deliveries of one webhook.
async fn send(
    client: Client,
    shared: Shared,
    mut line: mpsc::UnboundedReceiver<Parcel>,
    cancel: CancellationToken,
) {
    loop {
        let parcel = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            parcel = line.recv() => parcel,
        };
        let Some(parcel) = parcel else { return };
        let now = shared.clock().now();
        let limits = shared.with(None, |world, _, _| world.limits().buildkite.webhooks);
        let mut request = client
            .post(&parcel.delivery.url)
            .timeout(Duration::from_secs(limits.timeout_s.into()))
            .body(parcel.delivery.body.clone());
        for (name, value) in parcel.headers(now) {
            request = request.header(name, value);
        }
        let sent = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            sent = request.send() => match sent {
                Ok(response) => Sent::Status(response.status().as_u16()),
                Err(error) => Sent::Failed(chain(&error)),
            },
        };
        shared.with(None, |world, now, out| {
            world.outbox.sent(now, parcel, &sent, limits.attempts, out)
        });
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
