//! Connections on which nothing is said: they last until a host or the way to it ends them.

use std::time::Duration;

use gust_core::ports::Parting;
use tokio::time::{Instant, sleep, sleep_until};

use super::Hosts;
use crate::virtual_gear::link::{CONNECT, KEEPALIVE};

/// How a host answers on a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Its process does.
    There,
    /// The host itself does: nobody listens.
    Refused,
    /// The host takes connections for a process that stands still.
    Frozen,
    /// Nobody.
    Mute,
}

impl Hosts {
    /// How `b` answers `a` now.
    pub fn answer(&self, a: usize, b: usize) -> Answer {
        let ways = [(a, b), (b, a)].map(|(a, b)| self.hindered(a, b));
        let Some(host) = self.host(b) else {
            return Answer::Mute;
        };
        if ways.iter().any(Option::is_some) {
            return Answer::Mute;
        }
        let (up, dark, frozen) = {
            let state = host.state();
            (state.up, state.dark, state.frozen)
        };
        match up {
            false if dark => Answer::Mute,
            false => Answer::Refused,
            true if self.is_closed(b) => Answer::Refused,
            true if frozen => Answer::Frozen,
            true => Answer::There,
        }
    }

    /// Connects `a` to `b`, for as long as that lasts.
    pub async fn attend(&self, a: usize, b: usize) -> Parting {
        sleep(Duration::from_millis(1)).await;
        let life = self.life_of(b);
        match self.answer(a, b) {
            Answer::There => {}
            Answer::Refused => return Parting::Refused,
            Answer::Mute | Answer::Frozen => {
                sleep(CONNECT).await;
                return Parting::Silent("no connection within 2 s".to_owned());
            }
        }
        let mut given_up = None;
        loop {
            let changed = self.inner.changed.notified();
            match self.answer(a, b) {
                Answer::There if self.life_of(b) == life => {
                    given_up = None;
                    changed.await;
                }
                Answer::There | Answer::Refused => return Parting::Broke,
                // Nothing is heard of it: HTTP/2 keepalive ends the connection.
                Answer::Mute | Answer::Frozen => {
                    let at = *given_up.get_or_insert(Instant::now() + KEEPALIVE);
                    tokio::select! {
                        biased;
                        () = sleep_until(at) => return Parting::Broke,
                        () = changed => {}
                    }
                }
            }
        }
    }

    fn life_of(&self, replica: usize) -> u64 {
        self.host(replica).map_or(0, |host| host.state().life)
    }
}
