//! The ways to Buildkite that a configuration names.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use gust_buildkite::{
    Client, Config as ClientConfig, GraphqlSource, RestRetrier, StacksSource,
    client::{ConfigError, Scheme, TokenOf},
};
use gust_core::{
    ids::SourceName,
    ports::{Retrier, Source},
    secret::Secret,
};
use url::Url;

use super::{ServeError, VERSION, user_agent};
use crate::{
    config::{self, Config, SourceKind},
    leader::SourcePart,
    task::Dice,
};

/// One part for each source; nothing is sent yet.
pub(super) fn connect(config: &Config, dice: &Dice) -> Result<BTreeMap<SourceName, SourcePart>, ServeError> {
    let mut parts = BTreeMap::new();
    for source in &config.sources {
        let refused = |error| ServeError::Source {
            name: source.name.clone(),
            source: error,
        };
        let part = SourcePart {
            name: source.name.clone(),
            source: way(config, source, dice).map_err(refused)?,
            queues: source.queues.clone(),
            agent_endpoint: source.agent_endpoint.as_str().trim_end_matches('/').to_owned(),
            agent_token: source.agent_token_fallback.then(|| source.token.clone()),
            poll: (source.poll.min, source.poll.max),
            retrier: source
                .api
                .as_ref()
                .map(|api| retrier(config, api).map_err(refused))
                .transpose()?,
        };
        parts.insert(source.name.clone(), part);
    }
    Ok(parts)
}

/// The way to list a source's jobs.
fn way(config: &Config, source: &config::Source, dice: &Dice) -> Result<Arc<dyn Source>, ConfigError> {
    let client = |endpoint: &Url, token: &Secret, file: &Option<PathBuf>, scheme| {
        Client::new(ClientConfig {
            scheme,
            renew: file.clone().map(read_again),
            replica: config.replica.to_string(),
            seed: dice.seed(),
            ..ClientConfig::new(endpoint.clone(), token.clone(), source.stack_key.as_str())
        })
    };
    let graphql = |api: &config::Api| api.graphql.clone().map(|graphql| (graphql, api.clone()));
    match (source.kind, source.api.as_ref().and_then(graphql)) {
        (SourceKind::Graphql, Some((graphql, api))) => {
            let queries = client(&graphql.endpoint, &api.token, &api.token_file, Scheme::Bearer)?;
            let rest = client(&api.endpoint, &api.token, &api.token_file, Scheme::Bearer)?;
            let source = GraphqlSource::new(queries, rest, api.organization, graphql.cluster);
            Ok(Arc::new(source))
        }
        // A source by GraphQL without its API is refused where the configuration is read.
        _ => {
            let client = client(&source.endpoint, &source.token, &source.token_file, Scheme::Token)?;
            let metadata = [("gust".to_owned(), VERSION.to_owned())].into();
            let first = source.queues.first().cloned().unwrap_or_else(|| "default".into());
            Ok(Arc::new(StacksSource::new(client, first, metadata)))
        }
    }
}

/// The way to have preempted jobs run again.
fn retrier(config: &Config, api: &config::Api) -> Result<Arc<dyn Retrier>, ConfigError> {
    let token = api.token.clone();
    let current: TokenOf = match api.token_file.clone() {
        // It may have been replaced since.
        Some(file) => read_again(file),
        None => Arc::new(move || Ok(token.clone())),
    };
    let (endpoint, organization) = (api.endpoint.clone(), api.organization.clone());
    let user_agent = user_agent(&config.replica);
    let made = RestRetrier::new(endpoint, organization, current, &user_agent);
    Ok(Arc::new(made.map_err(ConfigError::Http)?))
}

/// The token that a file holds now.
fn read_again(file: PathBuf) -> TokenOf {
    Arc::new(move || std::fs::read_to_string(&file).map(|text| Secret::new(text.trim())))
}
