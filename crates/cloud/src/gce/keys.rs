//! The public keys that sign identity tokens.

use std::time::Duration;

use gust_core::ports::{CloudError, RefusalClass};
use url::Url;

use super::config::{ConfigError, is_loopback};

const CALL: &str = "identity.keys";

/// Google's document has a few kilobytes; more than this is not it.
const MOST_BYTES: usize = 256 * 1024;

/// Fetches the key document.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    http: reqwest::Client,
    url: Url,
}

impl Keys {
    pub fn new(url: &Url, user_agent: &str, within: Duration) -> Result<Self, ConfigError> {
        let mut builder = reqwest::Client::builder()
            .user_agent(user_agent)
            .timeout(within)
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(url) {
            builder = builder.no_proxy();
        }
        Ok(Self {
            http: builder.build().map_err(ConfigError::Http)?,
            url: url.clone(),
        })
    }

    /// The document, checked to be a set of keys and nothing huge.
    pub async fn fetch(&self) -> Result<String, CloudError> {
        let mut reply = self.http.get(self.url.clone()).send().await.map_err(broken)?;
        let status = reply.status();
        if !status.is_success() {
            let message = format!("{} answered {status}", self.url);
            // A key document that is not there will not appear by asking again; a failing server may recover.
            return Err(if status.is_client_error() && status.as_u16() != 429 {
                CloudError::Refused {
                    call: CALL,
                    class: RefusalClass::Broken,
                    message,
                }
            } else {
                CloudError::Unclear {
                    call: CALL,
                    message,
                    source: None,
                }
            });
        }
        let mut body = Vec::new();
        while let Some(chunk) = reply.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > MOST_BYTES {
                return Err(self.not_keys(&format!("is larger than {MOST_BYTES} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        let text = String::from_utf8(body).map_err(|_| self.not_keys("is no text"))?;
        let keys: serde_json::Value = serde_json::from_str(&text).map_err(|_| self.not_keys("is no JSON"))?;
        match keys.get("keys").and_then(serde_json::Value::as_array) {
            Some(keys) if !keys.is_empty() => Ok(text),
            _ => Err(self.not_keys("holds no `keys`")),
        }
    }

    fn not_keys(&self, what: &str) -> CloudError {
        CloudError::Unclear {
            call: CALL,
            message: format!("{} {what}", self.url),
            source: None,
        }
    }
}

fn broken(error: reqwest::Error) -> CloudError {
    let message = if error.is_timeout() {
        "no reply in time"
    } else {
        "the connection broke"
    };
    CloudError::Unclear {
        call: CALL,
        message: message.to_owned(),
        source: Some(Box::new(error)),
    }
}
