//! Connections to gust, a few for each of its addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use gust_proto::v1::machine_service_client::MachineServiceClient;
use thiserror::Error;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

/// Connections to one address: each carries some hundred calls at a time.
const WAYS: u64 = 16;
const CONNECT: Duration = Duration::from_secs(3);

/// A machine cannot talk to gust.
#[derive(Debug, Error)]
pub(super) enum NoWay {
    /// Nothing was said of it, or nothing that makes sense.
    #[error(
        "attribute `gust-addresses` names no `host:port`, or one beyond loopback without encryption: `{0}`"
    )]
    Address(String),
    /// The authority is none.
    #[error("no connection to {address}")]
    Endpoint {
        address: String,
        #[source]
        source: tonic::transport::Error,
    },
}

/// Where gust answers, as machines are told.
#[derive(Clone, Debug)]
pub(super) struct Door {
    url: String,
    authority: Option<String>,
}

impl Door {
    /// Reads `gust-addresses` as the guest does: `host:port` or a URL, https unless on loopback.
    pub fn list(addresses: &str, authority: Option<&str>) -> Result<Vec<Self>, NoWay> {
        let parts = addresses
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        let doors: Vec<Self> = parts
            .map(|part| {
                let url = url_of(part).ok_or_else(|| NoWay::Address(part.to_owned()))?;
                let authority = authority.filter(|_| url.starts_with("https")).map(str::to_owned);
                Ok(Self { url, authority })
            })
            .collect::<Result<_, NoWay>>()?;
        match doors.is_empty() {
            true => Err(NoWay::Address(addresses.to_owned())),
            false => Ok(doors),
        }
    }
}

fn url_of(address: &str) -> Option<String> {
    let (scheme, authority) = match address.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest.trim_end_matches('/')),
        None => (None, address),
    };
    let (host, port) = authority.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match scheme {
        Some("http") | None if loopback => Some(format!("http://{authority}")),
        Some("https") | None => Some(format!("https://{authority}")),
        _ => None,
    }
}

/// Address and authority.
type Key = (String, Option<String>);

/// All connections to gust.
#[derive(Default)]
pub(super) struct Ways(Mutex<BTreeMap<Key, Vec<Channel>>>);

impl Ways {
    /// A client that shares a connection with others; which one is the machine's number's to say.
    pub fn to(&self, door: &Door, machine: u64) -> Result<MachineServiceClient<Channel>, NoWay> {
        let mut ways = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (door.url.clone(), door.authority.clone());
        let known = match ways.get(&key) {
            Some(known) => known,
            None => {
                let channels: Vec<Channel> = (0..WAYS).map(|_| open(door)).collect::<Result<_, _>>()?;
                ways.entry(key).or_insert(channels)
            }
        };
        let channel = known[(machine % WAYS) as usize].clone();
        Ok(MachineServiceClient::new(channel))
    }
}

/// Connects when it is first needed.
fn open(door: &Door) -> Result<Channel, NoWay> {
    let failed = |source| NoWay::Endpoint {
        address: door.url.clone(),
        source,
    };
    let mut endpoint = Endpoint::from_shared(door.url.clone())
        .map_err(failed)?
        .connect_timeout(CONNECT);
    if door.url.starts_with("https") {
        let tls = match &door.authority {
            Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        endpoint = endpoint.tls_config(tls).map_err(failed)?;
    }
    Ok(endpoint.connect_lazy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_guest_reads_them() {
        let urls = |text: &str| -> Option<Vec<String>> {
            let doors = Door::list(text, None).ok()?;
            Some(doors.into_iter().map(|door| door.url).collect())
        };
        assert_eq!(
            urls("10.0.0.5:7000, 127.0.0.1:7000,[::1]:7000,https://gust.example:1/,http://localhost:2"),
            Some(
                [
                    "https://10.0.0.5:7000",
                    "http://127.0.0.1:7000",
                    "http://[::1]:7000",
                    "https://gust.example:1",
                    "http://localhost:2",
                ]
                .map(str::to_owned)
                .into()
            )
        );
        for bad in [
            "",
            " , ",
            "gust",
            "gust:",
            "http://10.0.0.5:7000",
            "ftp://127.0.0.1:1",
        ] {
            assert_eq!(urls(bad), None, "{bad}");
        }
    }
}
