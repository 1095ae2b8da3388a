//! A server of a few lines that answers each request with the next of a list of (mostly bad) answers, and
//! keeps what it was sent. The last answer repeats.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

/// One answer.
#[derive(Clone)]
pub enum Answer {
    /// A whole reply.
    Whole {
        status: u16,
        headers: String,
        body: String,
    },
    /// The connection is closed without a word after the request was read.
    Reset,
    /// A reply that promises more body than it sends.
    Half(String),
    /// No reply ever.
    Silence,
}

impl Answer {
    pub fn json(status: u16, body: &str) -> Self {
        Self::Whole {
            status,
            headers: String::new(),
            body: body.to_owned(),
        }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        if let Self::Whole { headers, .. } = &mut self {
            headers.push_str(&format!("{name}: {value}\r\n"));
        }
        self
    }
}

/// The server; it ends when this is dropped.
pub struct Stub {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
    task: AbortHandle,
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Stub {
    pub async fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = requests.clone();
        #[expect(clippy::disallowed_methods, reason = "the stub's one task, ended with it")]
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // One connection at a time: each answer closes its connection.
                answer(stream, &answers, &seen).await;
            }
        });
        Self {
            address,
            requests,
            task: task.abort_handle(),
        }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}/v3/", self.address)
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("not poisoned").clone()
    }
}

async fn answer(mut stream: TcpStream, answers: &[Answer], seen: &Mutex<Vec<String>>) {
    let Some(request) = read_request(&mut stream).await else {
        return;
    };
    let answer = {
        let mut seen = seen.lock().expect("not poisoned");
        seen.push(request);
        answers.get(seen.len() - 1).or(answers.last()).cloned()
    };
    let text = match answer {
        None | Some(Answer::Reset) => return,
        Some(Answer::Silence) => {
            // Until the client gives up and closes.
            let _ = stream.read(&mut [0; 1]).await;
            return;
        }
        Some(Answer::Half(body)) => format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len() * 2
        ),
        Some(Answer::Whole {
            status,
            headers,
            body,
        }) => format!(
            "HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ),
    };
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 4096];
        let count = stream.read(&mut part).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| {
            line.to_lowercase()
                .strip_prefix("content-length:")
                .map(|n| n.trim().parse::<usize>())
        });
        if body.len() >= length.and_then(Result::ok).unwrap_or(0) {
            return Some(text);
        }
    }
}
