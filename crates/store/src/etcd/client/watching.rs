//! Watches.

use async_trait::async_trait;
use etcd_client::{Client, EventType, WatchOptions, WatchResponse, WatchStream};

use super::{
    super::wire::{EtcdError, Event, Keys, Value, Watch},
    LARGEST_ANSWER,
    convert::{positive, text},
    error::classed,
};

/// A stream that watches several intervals.
pub(super) struct Watching {
    stream: WatchStream,
    /// Changes that came before all watches were accepted.
    early: Vec<Event>,
}

/// Opens one stream for all `keys`, and waits until each watch is accepted. The inner result is etcd's verdict on a
/// watch, which is no fault of the connection.
pub(super) async fn open(
    client: Client,
    keys: Vec<Keys>,
    from: u64,
) -> Result<Result<Watching, EtcdError>, etcd_client::Error> {
    let options = |keys: &Keys| {
        let options = WatchOptions::new().with_start_revision(i64::try_from(from).unwrap_or(i64::MAX));
        match &keys.end {
            Some(end) => options.with_range(end.as_str()),
            None => options,
        }
    };
    let mut rest = keys.iter();
    let Some(first) = rest.next() else {
        let nothing = etcd_client::Error::InvalidArgs("nothing to watch".to_owned());
        return Err(nothing);
    };
    let mut stream = client
        .watch_client()
        .max_decoding_message_size(LARGEST_ANSWER)
        .watch(first.from.as_str(), Some(options(first)))
        .await?;
    for keys in rest {
        stream.watch(keys.from.as_str(), Some(options(keys))).await?;
    }
    let mut early = Vec::new();
    let mut accepted = 0;
    while accepted < keys.len() {
        let ended = || etcd_client::Error::WatchError("the stream ended".to_owned());
        let response = stream.message().await?.ok_or_else(ended)?;
        accepted += usize::from(response.created());
        match read(&response) {
            Ok(events) => early.extend(events),
            Err(verdict) => return Ok(Err(verdict)),
        }
    }
    Ok(Ok(Watching { stream, early }))
}

#[async_trait]
impl Watch for Watching {
    async fn next(&mut self) -> Result<Vec<Event>, EtcdError> {
        if !self.early.is_empty() {
            return Ok(std::mem::take(&mut self.early));
        }
        match self.stream.message().await {
            Ok(Some(response)) => read(&response),
            Ok(None) => Err(EtcdError::Unclear("the watch ended".to_owned())),
            Err(error) => Err(classed(error)),
        }
    }
}

fn read(response: &WatchResponse) -> Result<Vec<Event>, EtcdError> {
    if response.canceled() {
        return Err(match positive(response.compact_revision()) {
            0 => EtcdError::Unclear(format!("the watch was refused: {}", response.cancel_reason())),
            revision => EtcdError::Compacted { revision },
        });
    }
    let event = |event: &etcd_client::Event| {
        let kv = event.kv()?;
        let value = match event.event_type() {
            EventType::Put => Some(Value::from(kv.value())),
            EventType::Delete => None,
        };
        Some(text(kv.key()).map(|key| Event {
            revision: positive(kv.mod_revision()),
            key,
            value,
        }))
    };
    response.events().iter().filter_map(event).collect()
}
