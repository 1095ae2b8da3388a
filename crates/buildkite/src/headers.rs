//! The rate-limit headers of a reply.

use std::time::Duration;

use reqwest::header::HeaderMap;

/// No reply makes us wait longer than this, whatever it says: a broken proxy must not stop the queue for a day.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);

/// What the headers of one reply say about the rate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RateHeaders {
    /// `RateLimit-Limit`: calls a window.
    pub limit: Option<u32>,
    /// `RateLimit-Remaining`: calls left in it.
    pub remaining: Option<u32>,
    /// `RateLimit-Reset`: seconds until it has room again.
    pub reset: Option<Duration>,
    /// `Retry-After` in seconds; fractions are read, dates are not (neither do Buildkite's own clients).
    pub retry_after: Option<Duration>,
    /// The same of the `RateLimit-User-…` headers: what the token's user has left.
    pub user: Option<Allowance>,
}

/// What is left of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Allowance {
    /// All of it.
    pub limit: u32,
    /// What is left.
    pub remaining: u32,
    /// Until it begins anew.
    pub reset: Duration,
}

impl Allowance {
    fn share(&self) -> f64 {
        f64::from(self.remaining) / f64::from(self.limit)
    }
}

impl RateHeaders {
    /// Reads the headers; what cannot be read counts as absent.
    pub fn read(headers: &HeaderMap) -> Self {
        let text = |name: &str| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::trim)
        };
        let seconds = |name: &str| text(name).and_then(parse_seconds);
        let count = |name: &str| text(name).and_then(|value| value.parse().ok());
        Self {
            limit: count("ratelimit-limit").filter(|limit| *limit > 0),
            remaining: count("ratelimit-remaining"),
            reset: seconds("ratelimit-reset"),
            retry_after: seconds("retry-after"),
            user: allowance(
                count("ratelimit-user-limit"),
                count("ratelimit-user-remaining"),
                seconds("ratelimit-user-reset"),
            ),
        }
    }

    /// What is left of the window of which less is left: the organization's or the user's.
    pub fn scarcer(&self) -> Option<Allowance> {
        let own = allowance(self.limit, self.remaining, self.reset);
        let both = own.into_iter().chain(self.user);
        both.min_by(|a, b| a.share().total_cmp(&b.share()))
    }

    /// When the service wants to be called again: `Retry-After` first, else the window's reset.
    pub fn come_back(&self) -> Option<Duration> {
        self.retry_after.or(self.reset)
    }
}

fn allowance(limit: Option<u32>, remaining: Option<u32>, reset: Option<Duration>) -> Option<Allowance> {
    Some(Allowance {
        limit: limit.filter(|limit| *limit > 0)?,
        remaining: remaining?,
        reset: reset?,
    })
}

fn parse_seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.parse().ok()?;
    let wait = Duration::try_from_secs_f64(seconds).ok()?;
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_read_with_fractions_and_junk_counts_as_absent() {
        assert_eq!(parse_seconds("0.4"), Some(Duration::from_millis(400)));
        assert_eq!(parse_seconds("0"), Some(Duration::ZERO));
        assert_eq!(parse_seconds("99999999"), Some(LONGEST_WAIT));
        for junk in [
            "",
            "-1",
            "NaN",
            "inf",
            "1e999",
            "Wed, 21 Oct 2026 07:28:00 GMT",
            "soon",
        ] {
            assert_eq!(parse_seconds(junk), None, "{junk}");
        }
    }

    #[test]
    fn retry_after_goes_before_the_reset() {
        let mut headers = HeaderMap::new();
        headers.insert("ratelimit-reset", "1".parse().expect("a header value"));
        assert_eq!(
            RateHeaders::read(&headers).come_back(),
            Some(Duration::from_secs(1))
        );
        headers.insert("retry-after", "2.5".parse().expect("a header value"));
        assert_eq!(
            RateHeaders::read(&headers).come_back(),
            Some(Duration::from_millis(2500))
        );
    }
}
