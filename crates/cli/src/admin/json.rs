//! Answers as JSON, as protobuf maps it: programs read the same names in every language.

use std::sync::OnceLock;

use anyhow::Context as _;
use gust_core::time::Timestamp;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};

use crate::failure::Failure;

/// The present, by this computer's clock: ages are shown by it.
pub(super) fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the command line has no other clock")]
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn value<T: prost::Message>(name: &str, message: &T) -> anyhow::Result<serde_json::Value> {
    static POOL: OnceLock<Option<DescriptorPool>> = OnceLock::new();
    let pool = POOL.get_or_init(|| DescriptorPool::decode(gust_proto::DESCRIPTORS).ok());
    let descriptor = pool
        .as_ref()
        .and_then(|pool| pool.get_message_by_name(&format!("gust.v1.{name}")))
        .with_context(|| format!("the message {name} is not described"))?;
    let dynamic = DynamicMessage::decode(descriptor, &*message.encode_to_vec())?;
    // Zeros and empty lists are said too: a script should not have to know the defaults.
    let options = SerializeOptions::new().skip_default_fields(false);
    Ok(dynamic.serialize_with_options(serde_json::value::Serializer, &options)?)
}

pub(super) fn pretty<T: prost::Message>(name: &str, message: &T) -> Result<String, Failure> {
    let value = value(name, message)?;
    Ok(serde_json::to_string_pretty(&value).context("cannot be written as JSON")? + "\n")
}

/// On one line, for streams.
pub(super) fn line<T: prost::Message>(name: &str, message: &T) -> Result<String, Failure> {
    Ok(value(name, message)?.to_string() + "\n")
}
