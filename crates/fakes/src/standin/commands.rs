//! Commands that a job runs: `annotate` and `meta-data`.

use std::{io::Read as _, time::Duration};

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    api::{Api, Failure, Reply, Send, repeat},
    chain,
    cli::{AnnotateOptions, JobOptions, MetaDataCommand},
    say,
};

/// What `meta-data exists` ends with where the key is not set.
const NOT_SET: u8 = 100;

/// A job's own calls.
pub struct Job {
    pub api: Api,
    pub id: String,
}

impl Job {
    /// # Errors
    /// What is missing, in words.
    pub fn new(of: &JobOptions) -> Result<Self, String> {
        for (value, flag) in [
            (&of.job, "--job"),
            (&of.agent_access_token, "--agent-access-token"),
            (&of.endpoint, "--endpoint"),
        ] {
            if value.is_empty() {
                return Err(format!("{flag} is missing: this command runs inside a job"));
            }
        }
        let api = Api::new(&of.endpoint, &of.agent_access_token).map_err(|failure| chain(&failure))?;
        Ok(Self {
            api,
            id: of.job.clone(),
        })
    }

    /// Five tries about 1.5 s apart, as the real agent's commands make them.
    pub async fn call(&self, method: Method, below: &str, body: Option<&Value>) -> Result<Reply, Failure> {
        let path = format!("jobs/{}/{below}", self.id);
        let send = async || {
            let send = match body {
                Some(body) => Send::json(method.clone(), &path, body),
                None => Send::bare(method.clone(), &path),
            };
            self.api.send(send).await
        };
        repeat(
            below,
            5,
            |_| Duration::from_millis(1500),
            Failure::is_retryable,
            send,
        )
        .await
    }
}

/// Turns an outcome into an exit code.
pub fn code(outcome: Result<u8, String>) -> u8 {
    outcome.unwrap_or_else(|problem| {
        say(&problem);
        1
    })
}

fn words(what: &str) -> impl FnOnce(Failure) -> String {
    let what = what.to_owned();
    move |failure| format!("{what}: {}", chain(&failure))
}

/// Data goes to stdout; a reader that has gone away does not matter.
fn print(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn or_stdin(given: Option<String>) -> Result<String, String> {
    given.map_or_else(
        || {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| format!("cannot read stdin: {error}"))?;
            Ok(text)
        },
        Ok,
    )
}

/// `annotate`.
pub async fn annotate(options: AnnotateOptions) -> u8 {
    code(try_annotate(options).await)
}

async fn try_annotate(options: AnnotateOptions) -> Result<u8, String> {
    let job = Job::new(&options.of)?;
    let text = or_stdin(options.body)?;
    let mut body =
        json!({ "context": options.context, "priority": options.priority, "scope": options.scope });
    if !text.is_empty() {
        body["body"] = json!(text);
    }
    if let Some(style) = options.style {
        body["style"] = json!(style);
    }
    if options.append {
        body["append"] = json!(true);
    }
    job.call(Method::POST, "annotations", Some(&body))
        .await
        .map_err(words("cannot annotate"))?;
    Ok(0)
}

/// `meta-data …`.
pub async fn meta_data(command: MetaDataCommand) -> u8 {
    code(try_meta_data(command).await)
}

async fn try_meta_data(command: MetaDataCommand) -> Result<u8, String> {
    match command {
        MetaDataCommand::Set { key, value, of } => {
            let value = or_stdin(value)?;
            if key.trim().is_empty() || value.trim().is_empty() {
                return Err("key and value must not be empty".to_owned());
            }
            let body = json!({ "key": key, "value": value });
            Job::new(&of)?
                .call(Method::POST, "data/set", Some(&body))
                .await
                .map_err(words("cannot set meta-data"))?;
            Ok(0)
        }
        MetaDataCommand::Get { key, default, of } => get(&Job::new(&of)?, &key, default).await,
        MetaDataCommand::Exists { key, of } => {
            #[derive(Deserialize)]
            struct Found {
                exists: bool,
            }
            let body = json!({ "key": key });
            let reply = Job::new(&of)?
                .call(Method::POST, "data/exists", Some(&body))
                .await;
            let found = reply
                .and_then(|reply| reply.json::<Found>())
                .map_err(words("cannot look up meta-data"))?;
            Ok(if found.exists { 0 } else { NOT_SET })
        }
        MetaDataCommand::Keys { of } => {
            let reply = Job::new(&of)?.call(Method::POST, "data/keys", None).await;
            let keys = reply
                .and_then(|reply| reply.json::<Vec<String>>())
                .map_err(words("cannot list meta-data"))?;
            for key in keys {
                print(&format!("{key}\n"));
            }
            Ok(0)
        }
    }
}

async fn get(job: &Job, key: &str, default: Option<String>) -> Result<u8, String> {
    #[derive(Deserialize)]
    struct Item {
        value: String,
    }
    let reply = job
        .call(Method::POST, "data/get", Some(&json!({ "key": key })))
        .await;
    match (reply.and_then(|reply| reply.json::<Item>()), default) {
        (Ok(item), _) => print(&item.value),
        (Err(failure), Some(default)) if failure.status() == Some(404) => print(&default),
        (Err(failure), _) => return Err(words("cannot get meta-data")(failure)),
    }
    Ok(0)
}
