//! Where gust answers.

use std::{fmt, net::IpAddr};

use tonic::transport::Uri;

/// One replica's address. Off loopback it is always https.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    uri: Uri,
    tls: bool,
}

/// A text that is no address the guest may talk to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// There is none at all.
    #[error(
        "attribute `gust-addresses` names no address; set it to `host:port`, several separated by commas"
    )]
    None,
    /// It cannot be read.
    #[error("address `{0}` in attribute `gust-addresses` is neither `host:port` nor a URL of it")]
    Malformed(String),
    /// It would carry a job's token in the clear.
    #[error("address `{0}` in attribute `gust-addresses` is not on loopback: there it must be https")]
    Plain(String),
}

impl Address {
    /// Reads a list separated by commas. `host:port` means https, on loopback http.
    ///
    /// # Errors
    /// [`BadAddress`] names the first bad one; a list with nothing in it is bad, too.
    pub fn list(text: &str) -> Result<Vec<Self>, BadAddress> {
        let list: Vec<_> = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(Self::read)
            .collect::<Result<_, _>>()?;
        if list.is_empty() {
            Err(BadAddress::None)
        } else {
            Ok(list)
        }
    }

    fn read(text: &str) -> Result<Self, BadAddress> {
        let malformed = || BadAddress::Malformed(text.to_owned());
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest.trim_end_matches('/')),
            None => (None, text),
        };
        let authority: tonic::codegen::http::uri::Authority = rest.parse().map_err(|_| malformed())?;
        if authority.port().is_none() || authority.host().is_empty() || rest.contains('@') {
            return Err(malformed());
        }
        let loopback = is_loopback(authority.host());
        let scheme = match scheme {
            Some("https") => "https",
            Some("http") if loopback => "http",
            Some("http") => return Err(BadAddress::Plain(text.to_owned())),
            Some(_) => return Err(malformed()),
            None if loopback => "http",
            None => "https",
        };
        let uri = format!("{scheme}://{authority}")
            .parse()
            .map_err(|_| malformed())?;
        Ok(Self {
            uri,
            tls: scheme == "https",
        })
    }

    /// The URL to connect to.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Whether the connection must be encrypted.
    pub fn tls(&self) -> bool {
        self.tls
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uri.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    fn shown(text: &str) -> Result<Vec<String>, BadAddress> {
        Address::list(text).map(|list| list.iter().map(|a| a.uri().to_string()).collect())
    }

    #[test]
    fn bare_addresses_are_encrypted_off_loopback() {
        assert_eq!(
            shown("10.0.0.5:7000, gust-0.example:7000,127.0.0.1:7000,[::1]:7000,localhost:7000,"),
            Ok([
                "https://10.0.0.5:7000/",
                "https://gust-0.example:7000/",
                "http://127.0.0.1:7000/",
                "http://[::1]:7000/",
                "http://localhost:7000/"
            ]
            .map(str::to_owned)
            .into())
        );
        assert_eq!(
            shown("https://127.0.0.1:1/"),
            Ok(vec!["https://127.0.0.1:1/".to_owned()])
        );
    }

    #[test]
    fn plain_http_off_loopback_is_refused() {
        for text in [
            "http://10.0.0.5:7000",
            "http://localhost.evil.example:1",
            "http://127.0.0.1.evil:1",
        ] {
            assert_eq!(shown(text), Err(BadAddress::Plain(text.to_owned())));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_by_name() {
        for text in ["gust", "ftp://a:1", "a:b:c", "user@host:1", "https://host:1/path"] {
            assert_eq!(shown(text), Err(BadAddress::Malformed(text.to_owned())));
        }
        assert_eq!(shown(" , "), Err(BadAddress::None));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_never_plain_off_loopback(text in "\\PC{0,40}") {
            for address in Address::list(&text).unwrap_or_default() {
                prop_assert!(address.tls() || is_loopback(address.uri().host().unwrap_or_default()));
            }
        }
    }
}
