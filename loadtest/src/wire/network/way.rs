//! One direction of a connection: what comes is held, late, or passed on.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::tcp,
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use super::{PARCEL, Parcel, Party, Rules};

/// One direction of a connection.
#[derive(Clone)]
pub(super) struct Way {
    pub rules: watch::Receiver<Rules>,
    /// Who dialled, once it is told.
    pub who: watch::Receiver<Option<Party>>,
    pub to: Party,
    /// From who was dialled to who dialled.
    pub back: bool,
}

impl Way {
    /// From whom to whom. Nobody knows if who dialled hung up at once.
    async fn ends(&mut self) -> Option<(Party, Party)> {
        let who = *self.who.wait_for(Option::is_some).await.ok()?;
        let who = who?;
        Some(if self.back { (self.to, who) } else { (who, self.to) })
    }

    /// Returns as soon as it is open; false if the connection is to end.
    async fn is_open(&mut self) -> bool {
        while !self.rules.borrow_and_update().held.is_empty() {
            let Some(ends) = self.ends().await else {
                return false;
            };
            if !self.rules.borrow().held.contains(&ends) {
                return true;
            }
            if self.rules.changed().await.is_err() {
                return false;
            }
        }
        true
    }

    /// How much later what is sent now arrives.
    async fn late(&mut self) -> Duration {
        if self.rules.borrow().late.is_empty() {
            return Duration::ZERO;
        }
        let Some(ends) = self.ends().await else {
            return Duration::ZERO;
        };
        self.rules.borrow().late.get(&ends).copied().unwrap_or_default()
    }
}

/// Takes what comes, to be delivered in due time.
pub(super) async fn take(mut reader: tcp::OwnedReadHalf, parcels: mpsc::Sender<Parcel>, mut way: Way) {
    loop {
        let mut bytes = Vec::with_capacity(PARCEL);
        match reader.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let arrives = Instant::now() + way.late().await;
        if parcels.send((arrives, bytes)).await.is_err() {
            return;
        }
    }
}

/// Delivers what was taken, once the way is open.
pub(super) async fn deliver(
    mut writer: tcp::OwnedWriteHalf,
    mut parcels: mpsc::Receiver<Parcel>,
    mut way: Way,
) {
    loop {
        let parcel = parcels.recv().await;
        if let Some((at, _)) = &parcel {
            sleep_until(*at).await;
        }
        if !way.is_open().await {
            return;
        }
        // The end of a connection takes the same way.
        let Some((_, bytes)) = parcel else {
            return;
        };
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
