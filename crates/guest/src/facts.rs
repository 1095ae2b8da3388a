//! What the machine is told about itself.

use std::time::Duration;

use gust_core::ids::{BadStackName, MachineName, StackName};

use crate::{
    address::{Address, BadAddress},
    metadata::{Metadata, MetadataError},
    user::{BadUser, UserName},
};

/// All that the metadata server says and the guest needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The instance's name.
    pub machine: MachineName,
    /// Attribute `gust-stack`.
    pub stack: StackName,
    /// Attribute `gust-addresses`.
    pub addresses: Vec<Address>,
    /// Attribute `gust-ca`: the authority that signs gust's certificates, PEM. Without it those of the system count.
    pub ca: Option<String>,
    /// Attribute `gust-job-user`: who runs the job, where the guest is root.
    pub job_user: Option<UserName>,
}

/// Metadata that no guest can work with.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// The metadata server does not answer; it may later.
    #[error("the machine's metadata cannot be read")]
    Metadata(#[source] MetadataError),
    /// Something is not there.
    #[error("the machine has no {0}; gust sets it when it makes a machine")]
    Missing(&'static str),
    /// The stack's name is none.
    #[error("attribute `gust-stack` is wrong")]
    Stack(#[source] BadStackName),
    /// The addresses are none.
    #[error("attribute `gust-addresses` is wrong")]
    Addresses(#[source] BadAddress),
    /// The user's name is none.
    #[error("attribute `gust-job-user` is wrong")]
    JobUser(#[source] BadUser),
}

impl FactsError {
    /// True if asking again can help.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Metadata(_))
    }
}

impl Facts {
    /// Asks for all of them once.
    ///
    /// # Errors
    /// [`FactsError`] names what is missing or wrong.
    pub async fn read(metadata: &Metadata) -> Result<Self, FactsError> {
        let name = metadata
            .get("instance/name", Duration::from_secs(5))
            .await
            .map_err(FactsError::Metadata)?
            .map(|value| value.text.trim().to_owned())
            .filter(|name| !name.is_empty())
            .ok_or(FactsError::Missing("name"))?;
        let stack = required(metadata, "gust-stack", "attribute `gust-stack`").await?;
        let addresses = required(metadata, "gust-addresses", "attribute `gust-addresses`").await?;
        let job_user = optional(metadata, "gust-job-user").await?;
        Ok(Self {
            machine: MachineName::new(name),
            stack: StackName::new(&stack).map_err(FactsError::Stack)?,
            addresses: Address::list(&addresses).map_err(FactsError::Addresses)?,
            ca: optional(metadata, "gust-ca").await?,
            job_user: job_user
                .map(|name| name.parse())
                .transpose()
                .map_err(FactsError::JobUser)?,
        })
    }
}

async fn optional(metadata: &Metadata, name: &str) -> Result<Option<String>, FactsError> {
    let text = metadata.attribute(name).await.map_err(FactsError::Metadata)?;
    Ok(text
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty()))
}

async fn required(metadata: &Metadata, name: &str, what: &'static str) -> Result<String, FactsError> {
    optional(metadata, name).await?.ok_or(FactsError::Missing(what))
}
