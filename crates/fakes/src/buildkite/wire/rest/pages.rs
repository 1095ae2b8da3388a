//! Pages: `page` and `per_page`, and the `Link` header (docs: `apis/rest_api`, "Pagination").

use serde_json::Value;

use super::Context;
use crate::buildkite::ids::Refusal;
use crate::wire::Response;

const DEFAULT: usize = 30;
const MOST: usize = 100;

/// The page of a list that the request asks for.
pub(super) fn page<T>(
    context: &Context<'_>,
    all: &[T],
    show: impl Fn(&T) -> Value,
) -> Result<Response, Refusal> {
    let number = |name: &str, default: usize| match context.request.query(name) {
        None => Ok(default),
        // Clients begin to count at 0 (pybuildkite does), and get the first page.
        Some("0") if name == "page" => Ok(1),
        Some(text) => match text.parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(Refusal::bad(format!("{name} must be a positive integer"))),
        },
    };
    let (at, per_page) = (number("page", 1)?, number("per_page", DEFAULT)?.min(MOST));
    let last = all.len().div_ceil(per_page).max(1);
    let shown = all.iter().skip((at - 1).saturating_mul(per_page)).take(per_page);
    let body: Vec<Value> = shown.map(show).collect();
    let mut links = Vec::new();
    if at > 1 {
        links.push((1, "first"));
        links.push((at - 1, "prev"));
    }
    if at < last {
        links.push((at + 1, "next"));
        links.push((last, "last"));
    }
    let response = Response::json(200, &body);
    if links.is_empty() {
        return Ok(response);
    }
    let links: Vec<String> = links
        .into_iter()
        .map(|(page, rel)| {
            let url = url(context, &["page"], &[("page", page.to_string())]);
            format!("<{url}>; rel=\"{rel}\"")
        })
        .collect();
    Ok(response.with("Link", links.join(", ")))
}

/// The request's address without some of its query, and with something else.
pub(super) fn url(context: &Context<'_>, without: &[&str], with: &[(&str, String)]) -> String {
    let query = context.request.query.iter();
    let kept = query.filter(|(name, _)| !without.contains(&name.as_str()));
    let kept = kept.map(|(name, value)| (name.as_str(), value));
    let query: Vec<String> = kept
        .chain(with.iter().map(|(name, value)| (*name, value)))
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    format!(
        "{}{}?{}",
        context.model.config.base_url,
        context.request.path,
        query.join("&")
    )
}

/// Percent-encodes what is not plain in a query.
fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'[' | b']' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
