//! A server that answers as it is told, byte by byte if need be: for the replies no honest fake gives.

#![allow(dead_code, reason = "each test file uses its own part of it")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use gust_cloud::gce::{Credentials, GceCloud, GceConfig, Timeouts};
use gust_core::{
    ids::{BatchId, MachineName, MachineTypeName, ProjectId, Region, Shard, StackName, Zone},
    ports::Creation,
    records::Call,
    shape::{Arch, BootDisk, Network, ProvisioningModel, Shape},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use url::Url;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub query: Vec<(String, String)>,
    pub user_agent: Option<String>,
    pub body: Value,
}

impl Seen {
    pub fn query(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// The last part of the path.
    pub fn last(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// What to answer.
pub enum Reply {
    Json(u16, Value),
    Html(u16),
    /// Headers that promise more body than comes.
    Half,
    /// The connection ends without a byte.
    Reset,
    /// No answer at all.
    Never,
}

/// An error in Google's form, as GCE sends it: without `status` and `details`.
pub fn refusal(status: u16, reason: &str, message: &str) -> Reply {
    let item = json!({"message": message, "domain": "global", "reason": reason});
    Reply::Json(
        status,
        json!({"error": {"code": status, "message": message, "errors": [item]}}),
    )
}

type Handler = dyn Fn(&Seen) -> Reply + Send + Sync;

/// The server; it ends when dropped.
pub struct Stub {
    pub url: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
    _tasks: JoinSet<()>,
}

impl Stub {
    pub async fn start(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let handler: Arc<Handler> = Arc::new(handler);
        let mut tasks = JoinSet::new();
        let noted = seen.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, handler.clone(), noted.clone()));
            }
        });
        let url = Url::parse(&format!("http://{address}")).expect("an address is a URL");
        Self {
            url,
            seen,
            _tasks: tasks,
        }
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen
            .lock()
            .expect("no test panics while it holds this")
            .clone()
    }

    /// A backend that talks to this server.
    pub async fn cloud(&self) -> GceCloud {
        self.cloud_with(ATTEMPT).await
    }

    /// The same with another limit of each attempt.
    pub async fn cloud_with(&self, attempt: Duration) -> GceCloud {
        let mut config = config(&self.url);
        config.timeouts.attempt = attempt;
        GceCloud::connect(config)
            .await
            .expect("the configuration is good")
    }
}

/// How long an attempt waits for an answer that does come, however slow the machine is.
pub const ATTEMPT: Duration = Duration::from_secs(20);

pub fn config(url: &Url) -> GceConfig {
    let mut config = GceConfig::new(stack(), "gust/0.1.0 (test-1)");
    config.endpoint = Some(url.clone());
    config.jwks_url = url.join("/oauth2/v3/certs").expect("a path");
    config.credentials = Credentials::Anonymous;
    config.timeouts = Timeouts {
        attempt: ATTEMPT,
        call: 3 * ATTEMPT,
        wait: 3 * ATTEMPT,
    };
    config
}

async fn serve(mut stream: TcpStream, handler: Arc<Handler>, seen: Arc<Mutex<Vec<Seen>>>) {
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer).await {
        let reply = handler(&request);
        seen.lock()
            .expect("no test panics while it holds this")
            .push(request);
        let whole = |status: u16, kind: &str, body: &str| {
            format!(
                "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        let (bytes, more) = match reply {
            Reply::Json(status, value) => (whole(status, "application/json", &value.to_string()), true),
            Reply::Html(status) => (whole(status, "text/html", "<html>proxy</html>"), true),
            Reply::Half => (
                "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"name\":".to_owned(),
                false,
            ),
            Reply::Reset => (String::new(), false),
            Reply::Never => std::future::pending().await,
        };
        if stream.write_all(bytes.as_bytes()).await.is_err() || !more {
            return;
        }
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    let mut chunk = vec![0; 16 * 1024];
    loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let header = |name: &str| {
                head.lines().skip(1).find_map(|line| {
                    let (key, value) = line.split_once(':')?;
                    key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
                })
            };
            let length: usize = header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
            if buffer.len() >= end + 4 + length {
                let body: Vec<u8> = buffer.drain(..end + 4 + length).skip(end + 4).collect();
                let mut words = head.lines().next()?.split(' ');
                let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
                let url = Url::parse(&format!("http://stub{target}")).ok()?;
                return Some(Seen {
                    method,
                    path: url.path().to_owned(),
                    query: url.query_pairs().into_owned().collect(),
                    user_agent: header("user-agent"),
                    body: serde_json::from_slice(&body).unwrap_or(Value::Null),
                });
            }
        }
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => buffer.extend_from_slice(&chunk[..n]),
        }
    }
}

pub fn stack() -> StackName {
    StackName::new("gust").expect("a good name")
}

pub fn shard() -> Shard {
    Shard {
        project: ProjectId::new("gust-demo"),
        region: Region::new("us-central1"),
    }
}

/// A creation of machines with these names, in two zones.
pub fn creation(names: &[&str]) -> Creation {
    let names: Vec<_> = names.iter().map(|n| MachineName::new(*n)).collect();
    Creation {
        request_id: BatchId::of(&names[0]),
        call: Call::Bulk,
        names,
        shape: Shape {
            project: shard().project,
            region: shard().region,
            zones: vec![Zone::new("us-central1-a"), Zone::new("us-central1-b")],
            machine_type: MachineTypeName::new("e2-standard-4"),
            family: "e2".into(),
            alternatives: Vec::new(),
            cpus: 4,
            memory_mib: 16_384,
            arch: Arch::Amd64,
            model: ProvisioningModel::Standard,
            boot_disk: BootDisk {
                disk_type: "pd-balanced".into(),
                gib: 20,
                image: "projects/debian-cloud/global/images/family/debian-12".into(),
            },
            local_ssds: 0,
            gpus: None,
            network: Network {
                network: "global/networks/default".into(),
                subnetwork: None,
                external_address: false,
            },
            service_account: "ci@gust-demo.iam.gserviceaccount.com".into(),
            labels: [("gust-stack".to_owned(), "gust".to_owned())].into(),
            metadata: [("gust-stack".to_owned(), "gust".to_owned())].into(),
            max_run_seconds: 3600,
        },
    }
}
