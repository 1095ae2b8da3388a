//! The fake GCE as a plain client meets it.

use gust_fakes::config::Settings;
use gust_fakes::limits::Limits;
use serde_json::Value;

use super::{Fakes, Reply};

/// Where everything of the project is.
pub const PROJECT: &str = "/compute/v1/projects/gust-demo";

/// Fakes whose machines come and go so much faster.
pub async fn cloud(speed: f64) -> Fakes {
    let mut limits = Limits::demo();
    limits.speed = speed;
    Fakes::with(Settings {
        limits,
        ..Settings::default()
    })
    .await
}

/// A call below the project; null is no body.
pub async fn call(fakes: &Fakes, method: &str, path: &str, body: &Value) -> Reply {
    let url = format!("{}{PROJECT}{path}", fakes.handle.addresses.gce);
    let body = if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    fakes.raw(method, &url, "application/json", body).await
}
