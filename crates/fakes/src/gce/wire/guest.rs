//! What a guest left behind: its console and its attributes.

use serde_json::{Map, Value, json};

use crate::gce::act::At;
use crate::gce::error::ApiError;
use crate::gce::model::{Call, Model};
use crate::gce::read::GuestQuery;
use crate::gce::show;
use crate::wire::Request;

/// `getSerialPortOutput`.
pub(super) fn serial(
    model: &mut Model,
    call: &mut Call<'_>,
    request: &Request,
    at: At<'_>,
) -> Result<Value, ApiError> {
    let number = |name: &str, default: i64| match request.query(name).filter(|text| !text.is_empty()) {
        None => Ok(default),
        Some(text) => text
            .parse()
            .map_err(|_| ApiError::field(name, text, "Must be an integer.")),
    };
    let (port, start) = (number("port", 1)?, number("start", 0)?);
    let port = u32::try_from(port).unwrap_or_default();
    let (contents, start, next) = model.serial_output(call, at, port, start)?;
    Ok(json!({
        "kind": "compute#serialPortOutput",
        "selfLink": format!("{}/instances/{}/serialPort", show::zone_url(at.project, at.zone), at.name),
        "contents": contents,
        "start": start.to_string(),
        "next": next.to_string(),
    }))
}

/// `getGuestAttributes`.
pub(super) fn guest_attributes(
    model: &mut Model,
    call: &mut Call<'_>,
    request: &Request,
    at: At<'_>,
) -> Result<Value, ApiError> {
    let path = request.query("queryPath").filter(|path| !path.is_empty());
    let key = request.query("variableKey").filter(|key| !key.is_empty());
    let query = match (path, key) {
        (_, Some(key)) => GuestQuery::Variable(key),
        (path, None) => GuestQuery::Path(path.unwrap_or_default()),
    };
    let found = model.guest_attributes(call, at, query)?;
    let mut out = Map::new();
    out.insert("kind".into(), json!("compute#guestAttributes"));
    let link = format!(
        "{}/instances/{}/getGuestAttributes",
        show::zone_url(at.project, at.zone),
        at.name
    );
    out.insert("selfLink".into(), json!(link));
    match query {
        GuestQuery::Variable(key) => {
            out.insert("variableKey".into(), json!(key));
            out.insert(
                "variableValue".into(),
                json!(found.first().map(|(.., value)| value)),
            );
        }
        GuestQuery::Path(path) => {
            let items: Vec<Value> = found
                .iter()
                .map(|(space, key, value)| json!({ "namespace": space, "key": key, "value": value }))
                .collect();
            out.insert("queryPath".into(), json!(path));
            out.insert("queryValue".into(), json!({ "items": items }));
        }
    }
    Ok(Value::Object(out))
}
