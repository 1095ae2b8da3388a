//! A way to a member of etcd on which everything can be made slow.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// A proxy; it ends with the test's runtime.
pub struct SlowWay {
    pub url: String,
    delay: Arc<AtomicU64>,
}

impl SlowWay {
    /// In front of the member at `url`.
    pub async fn before(url: &str) -> Self {
        let member = url.strip_prefix("http://").expect("a plain URL").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let delay = Arc::new(AtomicU64::new(0));
        let shared = Arc::clone(&delay);
        spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&member).await else {
                    continue;
                };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                spawn(pass(from_client, to_server, Arc::default()));
                spawn(pass(from_server, to_client, Arc::clone(&shared)));
            }
        });
        Self {
            url: format!("http://{address}"),
            delay,
        }
    }

    /// Whatever the member says takes so much longer from now on.
    pub fn delay(&self, delay: Duration) {
        let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.delay.store(millis, Ordering::Relaxed);
    }
}

#[expect(clippy::disallowed_methods, reason = "tasks of a test end with its runtime")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, delay: Arc<AtomicU64>) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        tokio::time::sleep(Duration::from_millis(delay.load(Ordering::Relaxed))).await;
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
